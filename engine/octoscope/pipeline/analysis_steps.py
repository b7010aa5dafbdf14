"""Phase 2 and overlap as Dask graphs: layers against each other, top pairs against the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from dask.delayed import Delayed, delayed

from octoscope.analysis import statistics
from octoscope.analysis.auroc import separation_test
from octoscope.analysis.layers import compare_layers
from octoscope.analysis.overlap import overlap_test
from octoscope.analysis.pairings import (
    LazyLayers,
    labelled,
    name_genes,
    of_all_cells,
    top_table,
)
from octoscope.analysis.summaries import mass_by_layer, over_categories, side_by_side
from octoscope.analysis.tables.agreement_tables import TABLES, compare
from octoscope.analysis.tables.consensus_tables import agree, consensus_tables
from octoscope.analysis.tables.geometry_tables import (
    GEOMETRY,
    GEOMETRY_CATEGORIES,
    geometry,
    geometry_blocks,
)
from octoscope.analysis.tables.pool_tables import pool, pool_tables
from octoscope.attention.histograms import bins_of
from octoscope.config.analysis_config import NetworkConfig
from octoscope.octopus.network import Network
from octoscope.octopus.network_views import open_view
from octoscope.pipeline.dask_graphs import compute
from octoscope.plan.values import Plan
from octoscope.plan.work_names import matrix_work, pairs_work, residual_work
from octoscope.results.stored_sums import eligible_pairs, read_finished_record
from octoscope.store.parquet import read_table, write_table
from octoscope.store.run_dir import RunRoot


@dataclass(frozen=True)
class Block:
    """A finished (model, category): the unit of phase 2."""

    model: str
    category: int

    def label(self, plan: Plan) -> dict[str, Any]:
        """Return the leading columns of its table rows."""
        return {"model": self.model, "category": plan.categories[self.category].name}


Writer = Callable[[RunRoot, str, pd.DataFrame], object]  # stores a table under a name
_JOINED = ("stats", "genes", "histogram", "mass")  # of all matrices in one table each
_PER_MODEL = ("topk", "edges")
MODELS = "tables/models.parquet"
MASS = "tables/mass_by_layer.parquet"


@dataclass(frozen=True)
class Needs:
    """What a table is made from: the matrices of some blocks, with or without their values.

    ``residuals``: also their mean cells; ``units``: also what the matrices are made from.
    """

    blocks: list[Block]
    dense: bool
    residuals: bool = False
    units: bool = False


def outputs(plan: Plan, blocks: list[Block], network: bool) -> dict[str, Needs]:
    """Return every table of the analysis, in the order in which they are made."""
    found: dict[str, Needs] = {}
    for model in dict.fromkeys(b.model for b in blocks):
        of_model = Needs([b for b in blocks if b.model == model], dense=False)
        found[f"topk/{model}.parquet"] = of_model
        e, m = plan.edges, plan.model(model)
        if e is not None and e.view in m.views and e.gene_set in m.gene_sets:
            found[f"edges/{model}.parquet"] = of_model
    if blocks:
        found |= {f"tables/{name}.parquet": Needs(blocks, dense=False) for name in _JOINED}
    found |= {_union_path(b): Needs([b], dense=True) for b in blocks}
    later = ["layers", "layers_categories", *(["overlap", "separation"] if network else [])]
    found |= {f"tables/{name}.parquet": Needs(blocks, dense=True) for name in later}
    if blocks:
        # these are made from tables
        found |= dict.fromkeys((MODELS, MASS), Needs([], dense=False))
    finished = {(b.model, b.category) for b in blocks}
    leave_donors_out = any(c.groups for c in plan.categories)
    return found | {
        name: Needs(
            blocks, dense=True, residuals=name in (GEOMETRY, GEOMETRY_CATEGORIES),
            units=leave_donors_out,
        )
        for part in comparison_parts(plan, finished)
        for name in part.tables
    }  # fmt: skip


def _union_path(block: Block) -> str:
    return f"union/{block.model}.c{block.category:04d}.parquet"


def finished_blocks(plan: Plan, quarantined: set[str]) -> list[Block]:
    """Return the (model, category) blocks none of whose work was quarantined."""
    blocks = []
    for m in plan.models:
        for c in range(len(plan.categories)):
            works = {u.work for h in (0, 1) for u in plan.units_of(m.name, c, h)}
            works.add(pairs_work(m.base, c))
            if m.estimator == "mean_residual":
                works.add(residual_work(m.base, c))
            works |= {matrix_work(m.name, c, y) for y in m.layers}
            if not works & quarantined:
                blocks.append(Block(m.name, c))
    return blocks


def collect(
    root: RunRoot,
    plan: Plan,
    blocks: list[Block],
    config: NetworkConfig | None,
    wanted: set[str] | None = None,
    write: Writer = write_table,
) -> None:
    """Join phase 1 tables of all matrices, in plan order, under ``tables/`` and ``topk/``.

    Top pairs gain ``in_network`` (null where a gene is not in the network, or there is none).
    ``wanted``: the tables to write; None: all.
    """
    network = None if config is None else _opened(config)
    made = outputs(plan, blocks, network=False)
    for table in (*_JOINED, *_PER_MODEL):
        frames: dict[str, list[pd.DataFrame]] = {}
        for block in blocks:
            m = plan.model(block.model)
            path = f"{table}/{m.name}.parquet" if table in _PER_MODEL else f"tables/{table}.parquet"
            if path not in made or (wanted is not None and path not in wanted):
                continue
            for layer in m.layers:
                record = read_finished_record(
                    root, plan, matrix_work(m.name, block.category, layer)
                )
                frame = read_table(root, f"{record.folder}/{table}.parquet")
                if table in _PER_MODEL and network is not None:
                    frame["in_network"] = _in_network(frame, network.vertex_of(m.axis), network)
                frames.setdefault(path, []).append(name_genes(frame, m))
        for path, parts in frames.items():
            joined = pd.concat(parts, ignore_index=True)
            if table == "stats":
                joined = statistics.with_half_q(joined, ["gene_set", "view"])
            if table == "topk":  # layers that list the pair
                pair = ["category", "gene_set", "view", "part", "query", "key"]
                n_layers = joined.groupby(pair, sort=False)["layer"].transform("size")
                joined["n_layers"] = n_layers.astype(np.int16)
            write(root, path, joined)


def _opened(config: NetworkConfig) -> Network:
    return open_view(config.path, config.sources, config.independent)


def _in_network(frame: pd.DataFrame, vertices: np.ndarray, network: Network) -> pd.Series:
    a, b = vertices[frame["query"].to_numpy()], vertices[frame["key"].to_numpy()]
    return pd.Series(_connected(network, a, b), index=frame.index)


def _connected(network: Network, a: np.ndarray, b: np.ndarray) -> Any:
    """Tell of each pair of vertices whether they are joined; null where a gene has none."""
    found = pd.array(network.connected(a, b), dtype="boolean")
    found[(a < 0) | (b < 0)] = pd.NA
    return found


@dataclass(frozen=True)
class Part:
    """A part of the comparisons, which runs by itself: its tables, and what makes them."""

    name: str
    tables: list[str]
    make: Callable[[str, Plan, set[tuple[str, int]], Any], dict[str, pd.DataFrame]]


def comparison_parts(plan: Plan, finished: set[tuple[str, int]]) -> list[Part]:
    """Return the parts that leave tables, in order; none where comparisons are not asked for."""
    if plan.compare is None or not finished:
        return []
    geometries = [GEOMETRY, GEOMETRY_CATEGORIES] if geometry_blocks(plan, finished) else []
    parts = [
        Part("comparisons", list(TABLES), compare),
        Part("consensus", consensus_tables(plan, finished), agree),
        Part("pools", pool_tables(plan, finished), pool),
        Part("geometry", geometries, geometry),
    ]
    return [p for p in parts if p.tables]


def comparison(
    root: RunRoot,
    plan: Plan,
    blocks: list[Block],
    part: Part,
    config: NetworkConfig | None,
    scheduler: Any,
    write: Writer = write_table,
) -> None:
    """Make one part's tables of models, estimators, heads and categories beside each other.

    The consensus networks gain ``in_network``, as the top pairs do.
    """
    tables = part.make(root.url, plan, {(b.model, b.category) for b in blocks}, scheduler)
    networks = [name for name in part.tables if name.startswith("consensus/")]
    network = _opened(config) if config is not None and networks else None
    for name in part.tables:
        frame = tables[name]
        if name in networks and network is not None:
            a, b = (network.vertex_of(frame[end].to_numpy()) for end in ("query", "key"))
            frame = frame.assign(in_network=_connected(network, a, b))
        write(root, name, frame)


def layers(
    root: RunRoot,
    plan: Plan,
    blocks: list[Block],
    scheduler: Any,
    wanted: set[str] | None = None,
    write: Writer = write_table,
) -> None:
    """Run phase 2 for every block; writes ``union/``, ``tables/layers`` and ``layers_categories``.

    ``wanted``: the tables to write; None: all.
    """
    joined, short = "tables/layers.parquet", "tables/layers_categories.parquet"
    if wanted is not None and not wanted & {joined, short}:
        blocks = [b for b in blocks if _union_path(b) in wanted]
    results = compute([delayed(_layers_of)(root.url, plan, block) for block in blocks], scheduler)
    rows = [compared for _, compared in results if len(compared)]
    for block, (union, _) in zip(blocks, results, strict=True):
        if wanted is None or _union_path(block) in wanted:
            write(root, _union_path(block), union)
    if wanted is not None and not wanted & {joined, short}:
        return
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame({"p": []})
    # one family per gene set and view: all pairs of layers in all models and categories
    table["q"] = statistics.adjust_by(table, ["gene_set", "view"])
    for name, made in ((joined, table), (short, over_categories("layers", table))):
        if wanted is None or name in wanted:
            write(root, name, made)


def _layers_of(run: str, plan: Plan, block: Block) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the union's pairs and the comparison of layers, for all gene sets and views."""
    root, m = RunRoot(run), plan.model(block.model)
    matrices = LazyLayers(root, plan, block.category, block.model)
    tops = _tops_of(root, plan, block)
    unions, tables = [], []
    for name, members in m.gene_sets.items():
        genes = np.array(members)
        for view in m.views:
            top = {y: of_all_cells(frame, name, view) for y, frame in tops.items()}
            union, compared = compare_layers(
                matrices, genes, view, top, permutations=plan.permutations,
                max_permutation_factor=plan.max_permutation_factor, seed=plan.seed,
            )  # fmt: skip
            label = block.label(plan) | {"gene_set": name, "view": view}
            unions.append(labelled(name_genes(union, m), label))
            tables.append(labelled(compared, label))
    return pd.concat(unions, ignore_index=True), pd.concat(tables, ignore_index=True)


def _tops_of(root: RunRoot, plan: Plan, block: Block) -> dict[int, pd.DataFrame]:
    return {
        y: top_table(root, plan, block.model, block.category, y)
        for y in plan.model(block.model).layers
    }


def overlap(
    root: RunRoot,
    plan: Plan,
    blocks: list[Block],
    config: NetworkConfig,
    scheduler: Any,
    write: Writer = write_table,
) -> None:
    """Test every top-K list and every whole matrix against the network.

    Writes ``tables/overlap.parquet`` and ``tables/separation.parquet``.
    One task per (model, category), with its network block built once; q-values are adjusted over
    the family of all tests of one gene set and view.
    """
    network = delayed(_opened)(config)
    tasks: list[Delayed] = [
        delayed(_overlap_of)(root.url, plan, block, network, config.permutations)
        for block in blocks
    ]
    found = compute(tasks, scheduler)
    for i, name in enumerate(("overlap", "separation")):
        rows = [row for tables in found for row in tables[i]]
        table = pd.DataFrame(rows) if rows else pd.DataFrame({"p": []})
        table["q"] = statistics.adjust_by(table, ["gene_set", "view"])
        write(root, f"tables/{name}.parquet", table)


def models(root: RunRoot, blocks: list[Block], network: bool, write: Writer = write_table) -> None:
    """Put models side by side, from tables that are there.

    Writes ``tables/models`` and ``tables/mass_by_layer``.
    """
    if blocks:
        names = ["stats", "mass", *(["overlap"] if network else [])]
        tables = {n: read_table(root, f"tables/{n}.parquet") for n in names}
        write(root, MODELS, side_by_side(*tables.values()))
        write(root, MASS, mass_by_layer(tables["mass"]))


def _overlap_of(
    run: str, plan: Plan, block: Block, network: Network, permutations: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    root, m = RunRoot(run), plan.model(block.model)
    vertices = network.vertex_of(m.axis)
    eligible = eligible_pairs(root, plan, m.name, block.category)
    rows: list[dict[str, Any]] = []
    separated: list[dict[str, Any]] = []
    sources = LazyLayers(root, plan, block.category, block.model)
    tops = _tops_of(root, plan, block)
    for name, members in m.gene_sets.items():
        genes = np.array(members)
        adjacency = network.adjacency(vertices[genes])
        grid = np.ix_(genes, genes)
        for layer in m.layers:
            source = sources[layer]
            for view in m.views:
                top = of_all_cells(tops[layer], name, view)
                tested = overlap_test(
                    np.searchsorted(genes, top["query"].to_numpy()),
                    np.searchsorted(genes, top["key"].to_numpy()),
                    vertices[genes],
                    adjacency,
                    eligible[grid],
                    permutations=permutations,
                    max_permutation_factor=plan.max_permutation_factor,
                    seed=plan.seed,
                )
                label = {"layer": layer, "gene_set": name, "view": view}
                rows.append(block.label(plan) | label | tested)
                tiles = source.values(genes, view)
                whole = separation_test(
                    np.concatenate([bins_of(values) for _, values, _ in tiles]),
                    eligible[grid],
                    vertices[genes],
                    adjacency,
                    permutations=plan.permutations,
                    max_permutation_factor=plan.max_permutation_factor,
                    seed=plan.seed,
                )
                separated.append(block.label(plan) | label | whole)
    return rows, separated
