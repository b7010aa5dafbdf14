"""Which matrices of a run can be put beside each other, and how they are read then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pandas as pd

from octoscope.analysis.agreement import strongest_of
from octoscope.analysis.derived_views import DerivedViews
from octoscope.analysis.layer_consensus import CachedMatrix, LayerConsensus
from octoscope.attention.views import CORRELATION, plain_view
from octoscope.plan.values import COEXPRESSION, ComparePlan, ModelPlan, Plan
from octoscope.plan.work_names import matrix_work
from octoscope.results.open_matrix import stored_matrix
from octoscope.results.stored_sums import read_finished_record
from octoscope.store.parquet import read_table
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot

_LAST = 4  # matrices that a worker read last and keeps
Tiles = Iterable[tuple[int, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class MatrixRef:
    """A matrix of a comparison: one layer of one reading, over the comparison's genes."""

    model: str
    layer: int
    view: str


@dataclass(frozen=True)
class Comparison:
    """Matrices of one category over one set of genes.

    Attributes
    ----------
    kind
        ``models`` (all layers of all models, and co-expression), ``layers`` (of one model over all
        of its own genes, where the models do not share them all), ``estimators`` or ``heads`` (of
        one layer).
    genes
        Ensembl ids that all members have, ascending.
    """

    kind: str
    category: int
    gene_set: str
    view: str
    genes: tuple[str, ...]
    members: tuple[MatrixRef, ...]


@lru_cache(maxsize=4)
def plan_of(run: str) -> Plan:
    """Return a run's plan; a worker loads it once, it never changes."""
    return load_plan(RunRoot(run))


def comparison_settings(plan: Plan) -> ComparePlan:
    """Return how a run compares; nothing in here is asked of a run that does not."""
    if plan.compare is None:
        raise ValueError("a plan without comparisons")
    return plan.compare


def shared_genes(plan: Plan, models: Iterable[str], gene_set: str | None) -> tuple[str, ...]:
    """Return the Ensembl ids that all of the models have, ascending: of a gene set, or of all."""
    found: set[str] | None = None
    for name in models:
        m = plan.model(name)
        mine = set(m.axis if gene_set is None else (m.axis[i] for i in m.gene_sets[gene_set]))
        found = mine if found is None else found & mine
    return tuple(sorted(found or ()))


def comparisons(plan: Plan, finished: set[tuple[str, int]]) -> list[Comparison]:
    """Return every comparison between matrices of the finished (reading, category) blocks."""
    made: list[Comparison] = []
    for c in range(len(plan.categories)):
        for gene_set, view in compared_sets_and_views(plan):
            together = _of_models(plan, finished, c, gene_set, view)
            made += together
            for base in plan.checkpoints:
                made += _of_layers(plan, finished, c, gene_set, view, base, together[0].genes)
                made += _of_readings(plan, finished, c, gene_set, view, base)
    return [x for x in made if len(x.members) > 1 and len(x.genes) > 2]


def compared_sets_and_views(plan: Plan) -> list[tuple[str, str]]:
    """Return the gene sets and views that are compared."""
    c = comparison_settings(plan)
    return [(s, v) for s in c.gene_sets for v in c.views]


def sets_and_views_of(plan: Plan, m: ModelPlan) -> tuple[list[str], list[str]]:
    """Return the gene sets and the views that are compared and that a model has."""
    c = comparison_settings(plan)
    return [s for s in m.gene_sets if s in c.gene_sets], [v for v in m.views if v in c.views]


def _of_models(
    plan: Plan, finished: set[tuple[str, int]], category: int, gene_set: str, view: str
) -> list[Comparison]:
    models = comparable_models(plan, finished, category, gene_set, view)
    genes = shared_genes(plan, models, gene_set)
    members = [MatrixRef(m, layer, view) for m in models for layer in plan.model(m).layers]
    members += [
        MatrixRef(m.name, 0, v) for m, v in correlations(plan, finished, category, view, genes)
    ]
    return [Comparison("models", category, gene_set, view, genes, tuple(members))]


def _of_layers(
    plan: Plan,
    finished: set[tuple[str, int]],
    category: int,
    gene_set: str,
    view: str,
    m: ModelPlan,
    shared: tuple[str, ...],
) -> list[Comparison]:
    """Layers of a model over its own genes; where all models share these, they are among them."""
    if m.name not in comparable_models(plan, finished, category, gene_set, view):
        return []
    own = shared_genes(plan, [m.name], gene_set)
    members = tuple(MatrixRef(m.name, layer, view) for layer in m.layers)
    return [Comparison("layers", category, gene_set, view, own, members)] if own != shared else []


def comparable_models(
    plan: Plan, finished: set[tuple[str, int]], category: int, gene_set: str, view: str
) -> list[str]:
    """Return the checkpoints with a finished matrix of a set and view, by their first reading."""
    return [
        m.name
        for m in plan.checkpoints
        if (m.name, category) in finished and gene_set in m.gene_sets and view in m.views
    ]


def correlations(
    plan: Plan,
    finished: set[tuple[str, int]],
    category: int,
    view: str,
    genes: tuple[str, ...],
) -> list[tuple[ModelPlan, str]]:
    """Return the finished co-expression entries that have the genes, and the view that matches."""
    wanted = CORRELATION + view[len(plain_view(view)) :]
    return [
        (m, wanted)
        for m in plan.models
        if m.family == COEXPRESSION
        and (m.name, category) in finished
        and wanted in m.views
        and set(genes) <= set(m.axis)
    ]


def _of_readings(
    plan: Plan,
    finished: set[tuple[str, int]],
    category: int,
    gene_set: str,
    view: str,
    base: ModelPlan,
) -> list[Comparison]:
    """Estimators, and heads, of one checkpoint against each other, layer by layer."""
    mine = [
        m
        for m in plan.models
        if m.base == base.name and (m.name, category) in finished and gene_set in m.gene_sets
    ]
    made = []
    for layer in base.layers:
        for m in mine:
            twin = [t for t in mine if t.heads == m.heads and t.estimator == "mean_residual"]
            if m.estimator == "per_cell" and twin:
                made.append(("estimators", [m, *twin], layer))
            elif m in twin[:1] and not any(t.estimator == "per_cell" for t in mine):
                made.append(("estimators", twin, layer))  # projections beside each other
        for way in dict.fromkeys((m.estimator, m.projection) for m in mine):
            heads = [
                m for m in mine
                if isinstance(m.heads, int) and (m.estimator, m.projection) == way
            ]  # fmt: skip
            made.append(("heads", heads, layer))
    return [
        Comparison(
            kind,
            category,
            gene_set,
            view,
            shared_genes(plan, [m.name for m in attention_variants], gene_set),
            tuple(MatrixRef(m.name, layer, view) for m in attention_variants if view in m.views),
        )
        for kind, attention_variants, layer in made
    ]


def axis_positions(m: ModelPlan, genes: Iterable[str]) -> np.ndarray:
    """Return the axis indices of Ensembl ids, ascending as these are."""
    at = {gene: i for i, gene in enumerate(m.axis)}
    return np.array([at[gene] for gene in genes], np.int64)


def reader(
    root: RunRoot, plan: Plan, category: int, member: MatrixRef, genes: tuple[str, ...]
) -> Callable[[], Tiles]:
    """Return what yields a member's (first row, values, eligible) as often as it is called.

    The matrix is opened when it is read: of many readers one task holds few matrices.
    """
    at = axis_positions(plan.model(member.model), genes)
    share = plan.cache_bytes // _LAST
    held = _held if matrix_bytes(plan.model(member.model)) <= share else _last_one
    return lambda: held(root.url, member.model, category, member.layer).values(at, member.view)


def matrix_bytes(m: ModelPlan) -> int:
    """Return what an open matrix may come to hold: rows, and queries and keys of mean cells."""
    n, mean = len(m.axis), m.estimator == "mean_residual"
    return 32 * n * n + 2 * 3 * n * m.d * 2 * 4 * mean  # by head, and side by side


@lru_cache(maxsize=_LAST)
def _held(run: str, model: str, category: int, layer: int) -> DerivedViews:
    """Open a matrix; what a worker read last it need not read again for the next question."""
    plan = plan_of(run)
    return stored_matrix(
        RunRoot(run), plan, model, category, layer, cache_bytes=plan.cache_bytes // _LAST
    )


@lru_cache(maxsize=1)
def _last_one(run: str, model: str, category: int, layer: int) -> DerivedViews:
    """Open a matrix so large that a worker keeps one."""
    plan = plan_of(run)
    return stored_matrix(RunRoot(run), plan, model, category, layer, cache_bytes=plan.cache_bytes)


def strongest(
    root: RunRoot,
    plan: Plan,
    category: int,
    member: MatrixRef,
    genes: tuple[str, ...],
    gene_set: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (query, key), positions in ``genes``, of a member's top pairs.

    As they were committed, where they were made over these genes; otherwise in one more pass.
    """
    m = plan.model(member.model)
    at = axis_positions(m, genes)
    if m.gene_sets.get(gene_set) == at.tolist():
        top = top_table(root, plan, member.model, category, member.layer)
        top = of_all_cells(top, gene_set, member.view)
        return np.searchsorted(at, top["query"]), np.searchsorted(at, top["key"])
    return strongest_of(reader(root, plan, category, member, genes), plan.top_k)


def top_table(root: RunRoot, plan: Plan, model: str, category: int, layer: int) -> pd.DataFrame:
    """Read the top pairs that a matrix left behind: every gene set, view and part."""
    record = read_finished_record(root, plan, matrix_work(model, category, layer))
    return read_table(root, f"{record.folder}/topk.parquet")


def of_all_cells(top: pd.DataFrame, gene_set: str, view: str) -> pd.DataFrame:
    """Return the top pairs of a gene set and view from both halves together."""
    return top[(top["gene_set"] == gene_set) & (top["view"] == view) & (top["part"] == "total")]


def open_layers(
    root: RunRoot, plan: Plan, category: int, model: str, cache_bytes: int
) -> dict[int, DerivedViews]:
    """Open all layers of a reading; together they keep up to ``hold`` bytes in memory."""
    m = plan.model(model)
    share = cache_bytes // len(m.layers)
    return {y: stored_matrix(root, plan, model, category, y, cache_bytes=share) for y in m.layers}


class LazyLayers(Mapping[int, DerivedViews]):
    """Layers of a reading for whoever reads one after the other: opened when they are asked for.

    Those that fit into ``hold`` (by default what the plan lets a task keep) stay open, and are read
    once.
    """

    def __init__(
        self, root: RunRoot, plan: Plan, category: int, model: str, cache_bytes: int | None = None
    ) -> None:
        self._layers = plan.model(model).layers
        most = plan.cache_bytes if cache_bytes is None else cache_bytes
        few = matrix_bytes(plan.model(model)) * len(self._layers) <= most
        share = most // len(self._layers) if few else 0
        self._open = partial(stored_matrix, root, plan, model, category, cache_bytes=share)
        self._kept = {y: self._open(y) for y in self._layers} if few else {}

    def __getitem__(self, layer: int) -> DerivedViews:
        return self._kept[layer] if self._kept else self._open(layer)

    def __iter__(self) -> Iterator[int]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)


def layers_of(root: RunRoot, plan: Plan, category: int, model: str) -> CachedMatrix:
    """Return the layers of a model's first reading as one matrix, as the plan combines them.

    Its blocks are kept, if the plan lets them be; layers keep what is left.
    """
    left = CachedMatrix.left(len(plan.model(model).axis), plan.cache_bytes)
    layers: Mapping[int, DerivedViews]
    if left < plan.cache_bytes:  # kept: layers are read one after the other
        layers = LazyLayers(root, plan, category, model, left)
    else:
        layers = open_layers(root, plan, category, model, left)
    return CachedMatrix(LayerConsensus(layers, comparison_settings(plan).layers), plan.cache_bytes)


def labelled(frame: pd.DataFrame, label: dict[str, Any]) -> pd.DataFrame:
    """Return a table with leading columns of one value each."""
    return pd.concat([pd.DataFrame(label, index=frame.index), frame], axis=1)


def name_genes(frame: pd.DataFrame, m: ModelPlan) -> pd.DataFrame:
    """Replace axis indices in query, key and gene columns by Ensembl ids, and add symbols."""
    ids, names = np.array(m.axis, dtype=object), np.array(m.symbols, dtype=object)
    for column in ("query", "key", "gene"):
        if column in frame:
            at = frame[column].to_numpy()
            frame = frame.assign(**{column: ids[at]})
            frame.insert(list(frame.columns).index(column) + 1, f"{column}_symbol", names[at])
    return frame
