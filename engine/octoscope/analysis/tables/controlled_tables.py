"""Lists of every matrix against the network, controlled for co-expression; and the verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from dask.delayed import delayed

from octoscope.analysis import statistics
from octoscope.analysis.controlled.comparison import Comparison
from octoscope.analysis.controlled.controlled_block import ControlledBlock
from octoscope.analysis.controlled.gene_halves import half_comparisons
from octoscope.analysis.controlled.part_lists import part_comparisons
from octoscope.analysis.controlled.score_strata import score_comparisons
from octoscope.analysis.controlled.sentences import sentence
from octoscope.analysis.controlled.verdict_names import COUNTED_AS, VERDICTS
from octoscope.analysis.dask_graphs import compute
from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.analysis.gnn_scored import ScoredGenes
from octoscope.analysis.registry import Analysis, Context, Needs, Section, open_network_of
from octoscope.analysis.tables.chosen_layers import HalfRow, chosen_layers
from octoscope.analysis.tables.columns import no_rows
from octoscope.analysis.tables.controlled_rows import (
    OF_LIST,
    judged,
    ladder,
    odds,
    of_score,
    refinement,
)
from octoscope.analysis.tables.controlled_schema import CONTROLLED_TABLES
from octoscope.analysis.tables.gnn_scores_by_set import scores_by_set
from octoscope.config.analysis_config import NetworkConfig
from octoscope.octopus.network import Network
from octoscope.run_plan.values import COEXPRESSION, Block, Plan

PATHS = tuple(table.path for table in CONTROLLED_TABLES)
CONTROLLED = "tables/overlap_controlled.parquet"
LADDER = "tables/overlap_ladder.parquet"
REFINEMENT = "tables/overlap_refinement.parquet"
COMPARATORS = "tables/overlap_comparators.parquet"
ORIENTATION = "tables/overlap_orientation.parquet"
PARTS = "tables/overlap_parts.parquet"
OF_SCORES = "tables/overlap_gnn.parquet"
CHOSEN = "tables/overlap_chosen.parquet"
VERDICT_TABLE = "tables/verdicts.parquet"
SUMMARY = "tables/verdict_summary.parquet"

Rows = list[dict[str, Any]]


def coexpression_of(finished: Sequence[Block]) -> list[Block]:
    """Return the finished co-expression blocks."""
    return [b for b in finished if b.model.startswith(f"{COEXPRESSION}.")]


def _outputs(plan: Plan, finished: Sequence[Block]) -> dict[str, Sequence[Block]]:
    if not coexpression_of(finished):
        return {}
    network = plan.network or {}
    absent = {path for path, key in ((PARTS, "parts"), (OF_SCORES, "gnn")) if not network.get(key)}
    return dict.fromkeys([p for p in PATHS if p not in absent], finished)


def _compute(context: Context) -> Iterable[tuple[str, pd.DataFrame]]:
    """Compare every list with the network under every control.

    One task per block. It counts the pairs of each gene set and control once for all layers.
    """
    assert context.network is not None  # needs.network
    network = delayed(open_network_of)(context.network)
    controls = [tuple(b) for b in coexpression_of(context.finished)]
    name = network_view(context.network.sources, context.network.independent)
    scored = scores_by_set(context, network, ("leave-out",))
    tasks = [
        delayed(_of_block)(
            context.run, context.network, model, category, network, name, controls, scored(model)
        )
        for model, category in context.finished
        if not model.startswith(f"{COEXPRESSION}.")
    ]
    results = compute(tasks, context.scheduler)
    for path, schema in zip(PATHS, CONTROLLED_TABLES, strict=True):
        requested = {PARTS: context.network.parts, OF_SCORES: context.network.gnn}
        if not requested.get(path, True):
            continue
        rows = [row for tables in results for row in tables.get(path, [])]
        columns = [c.name for c in schema.columns]
        if path == CHOSEN:
            table = chosen_layers(rows, columns)
        else:
            table = pd.DataFrame(rows, columns=columns) if rows else no_rows(schema)
        if path == ORIENTATION:  # one test per layer
            table["q"] = statistics.adjust_by(table, ["gene_set"])
        if path == OF_SCORES:
            table["q"] = statistics.adjust_by(table, ["gene_set", "checkpoint", "quantity"])
        yield path, table.astype({c.name: typed(c.dtype) for c in schema.columns})


def typed(name: str) -> str:
    """Return the type of a column while it is made: a list without a layer has none."""
    return "Int64" if name == "int64" else name


def network_view(sources: Sequence[str] | None, independent: bool) -> str:
    """Return a short name of the part of the network that a run compares with."""
    parts = [", ".join(sources) if sources else "all sources"]
    return "; ".join([*parts, *(["without co-expression evidence"] if independent else [])])


def _of_block(
    run: FinishedMatrices,
    config: NetworkConfig,
    model: str,
    category: int,
    network: Network,
    view_name: str,
    controls: list[tuple[str, int]],
    scored: dict[str, dict[str, ScoredGenes]],
) -> dict[str, list[Any]]:
    plan = run.plan
    m = plan.model(model)
    block = {"model": model, "category": plan.categories[category].name}
    of_lists: list[tuple[dict[str, Any], Comparison]] = []
    of_parts: list[tuple[dict[str, Any], Comparison]] = []
    out: dict[str, list[Any]] = {path: [] for path in PATHS}
    sets = plan.compare.gene_sets if plan.compare else list(m.gene_sets)
    for gene_set in sets:
        if gene_set not in m.gene_sets:
            continue
        gnn = scored.get(gene_set)
        controlled = ControlledBlock(
            run, model, category, gene_set, network, controls, config.k, gnn
        )
        named = block | {"gene_set": gene_set, "network_view": view_name}
        out[ORIENTATION] += [named | row for row in controlled.orientations(plan.permutations)]
        for label, comparison in controlled.comparisons():
            row = named | {"n_background": controlled.pairs.n_pairs} | label
            row["longest"] = row["k"] == controlled.headline_k
            row["cells"] = controlled.genes.cells_of(str(label["control"]))
            if "comparator" in label:
                out[COMPARATORS].append(row | odds(comparison))
            else:
                of_lists.append((row, comparison))
        if config.parts:
            for label, comparison in part_comparisons(controlled, network):
                row = named | {"n_background": controlled.pairs.n_pairs, "longest": True} | label
                row["cells"] = controlled.genes.cells_of(str(label["control"]))
                of_parts.append((row, comparison))
        for label, of_list in score_comparisons(controlled, gnn or {}):
            row = named | {"n_background": controlled.pairs.n_pairs, "longest": True} | label
            out[OF_SCORES].append(row | of_score(of_list))
        variant = named | {"base": m.base, "variant": m.name}
        for half, (label, comparison) in half_comparisons(
            controlled, len(network.vertices), plan.seed
        ):
            out[CHOSEN].append(HalfRow(variant | label, half, comparison))
    rows = list(judged(of_lists))
    verdicts = _verdicts(rows, m.views)
    out[CONTROLLED] = rows
    out[PARTS] = list(judged(of_parts, (*OF_LIST, "part_kind", "part")))
    out[LADDER] = [label | ladder(c) for label, c in of_lists]
    out[REFINEMENT] = [label | row for label, c in of_lists for row in refinement(c)]
    out[VERDICT_TABLE] = verdicts
    out[SUMMARY] = [block | _summary(verdicts)] if verdicts else []
    return out


def _verdicts(rows: Rows, views: Sequence[str]) -> Rows:
    """Return the headline of each layer: the first gene set and view, and one K."""
    rows = [r for r in rows if r["headline"] and r["longest"]]
    if not rows:
        return []
    first = rows[0]["gene_set"], min((r["view"] for r in rows), key=list(views).index)
    chosen = [r for r in rows if (r["gene_set"], r["view"]) == first]
    return [r | {"sentence": sentence(r)} for r in sorted(chosen, key=lambda r: r["layer"])]


def _summary(verdicts: Rows) -> dict[str, Any]:
    """Count verdicts; the sentence is of the first kind of verdict with the strongest evidence."""
    kinds = [r["verdict"] for r in verdicts]

    def rank(r: dict[str, Any]) -> tuple[int, float]:
        evidence = r["or1_low_at_bound"]
        return VERDICTS.index(r["verdict"]), np.inf if np.isnan(evidence) else -evidence

    return {
        "n_layers": len(verdicts),
        **{name: kinds.count(kind) for name, kind in COUNTED_AS.items()},
        "sentence": min(verdicts, key=rank)["sentence"],
    }


CONTROLLED_ANALYSIS = Analysis(
    "controlled overlap",
    Needs(matrices=True, residuals=True, donors=True, correlations=True, network=True),
    _outputs,
    _compute,
    CONTROLLED_TABLES,
    (
        Section(
            "A layer chosen on one half of the genes",
            "The best of many layers and heads looks good by chance. Each row takes the layer with "
            "the strongest enrichment (lower limit of its odds ratio at like co-expression) among "
            "pairs of one half of the genes, and tests it among pairs of the other half.",
            CHOSEN,
            (
                "base", "category", "variant", "layer", "n_candidates", "or1_chosen", "or1",
                "or1_low", "or1_high", "q",
            ),
        ),
        Section(
            "Edges beyond what a graph neural network can tell from the rest of the network",
            "The headline list of each layer, without strata of the score (or1: like "
            "co-expression, degree and expression) and with them (or1_score). The score is made "
            "with a pair's own edges left out, so it tells what all other edges say of the pair. "
            "An or1_score near 1 says that the layer's edges are those that the rest of the "
            "network suggests. This decides no verdict.",
            OF_SCORES,
            (
                "model", "category", "layer", "control", "checkpoint", "quantity", "n_pairs",
                "n_edges", "or1", "or1_low", "or1_high", "or1_score", "or1_score_low",
                "or1_score_high", "smd_score", "positivity", "q",
            ),
            ("q", True),
        ),
    ),
)  # fmt: skip
