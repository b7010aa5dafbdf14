"""Coherence against enrichment, by layer, and their rank correlation in each model group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from dask.delayed import delayed

from octoscope.analysis import statistics
from octoscope.analysis.agreement import coherence
from octoscope.analysis.binned_quantiles import BinnedQuantiles
from octoscope.analysis.coherence_enrichment import (
    GROUPS,
    EdgeRates,
    JointPermutations,
    Measured,
    Pairs,
    edge_rates,
    gene_groups,
    join_lists,
    layers_test,
    medians_in,
    rank_correlations,
    vertex_strata,
)
from octoscope.analysis.coherence_scores import ListScores, list_scores
from octoscope.analysis.dask_graphs import compute
from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.analysis.gnn_scored import QUANTITIES, ScoredGenes
from octoscope.analysis.intervals import jackknife_interval
from octoscope.analysis.pairings import (
    Comparison,
    axis_positions,
    comparison_settings,
    comparisons,
    reader,
    strongest,
)
from octoscope.analysis.registry import Analysis, Context, Needs, open_network_of
from octoscope.analysis.tables import shared_tables
from octoscope.analysis.tables.agreement_tables import COHERENCE
from octoscope.analysis.tables.coherence_schema import (
    COHERENCE_TABLES,
    GROUP_TABLE,
    LAYER_TABLE,
    SCORE_GROUP_TABLE,
    SCORE_TABLE,
    SCORE_TABLES,
)
from octoscope.analysis.tables.columns import no_rows
from octoscope.analysis.tables.gnn_scores_by_set import scores_of_genes
from octoscope.analysis.tables.overlap_tables import OVERLAP
from octoscope.analysis.tables.shared_tables import SHARED
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.network import Network
from octoscope.run_plan.values import COEXPRESSION, Block, Plan

_LAYER = ["category", "gene_set", "view", "model", "layer"]  # columns that name a layer
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Prepared:
    """What every look-up of a comparison needs.

    Attributes
    ----------
    lists
        Strongest gene pairs of each matrix.
    joint
        Permutations of each model group.
    group
        [genes] group in which each is deleted.
    rates
        Of each k, edge rates of all matrices.
    scores
        Of each k, by name of a checkpoint and quantity: median scores of all matrices, with a
        pair's own edges left out.
    """

    lists: list[Pairs]
    joint: dict[str, JointPermutations]
    group: np.ndarray
    rates: list[EdgeRates]
    scores: list[dict[tuple[str, str], ListScores]]


def _compared(plan: Plan, finished: Sequence[Block]) -> list[Comparison]:
    """Return the comparisons of models of at least two groups, without co-expression."""
    if plan.compare is None:
        return []
    compared = []
    for x in comparisons(plan, set(finished)):
        refs = tuple(r for r in x.refs if plan.model(r.model).family != COEXPRESSION)
        groups = {plan.model_groups[r.model] for r in refs} if x.kind == "models" else set()
        if len(groups) > 1:
            compared.append(replace(x, refs=refs))
    return compared


def _outputs(plan: Plan, finished: Sequence[Block]) -> dict[str, Sequence[Block]]:
    if not _compared(plan, finished):
        return {}
    scored = bool(plan.network and plan.network.get("gnn"))
    return {t.path: finished for t in COHERENCE_TABLES if scored or t not in SCORE_TABLES}


def _compute(context: Context) -> Iterable[tuple[str, pd.DataFrame]]:
    """Look every list up under the permutations of its group; a task per evaluated matrix."""
    assert context.network is not None  # needs.network
    run, plan = context.run, context.run.plan
    network = delayed(open_network_of)(context.network)
    with_scores = context.network.gnn and context.wants(*(t.path for t in SCORE_TABLES))
    scored = scores_of_genes(context, network, ("leave-out",))
    tasks = []
    for x in _compared(plan, context.finished):
        one = delayed(x, traverse=False)  # one object for all tasks
        prepared = delayed(_prepare)(run, one, network, scored(x.genes) if with_scores else {})
        looked_up = [delayed(_look_up)(run, one, prepared, e) for e in range(len(x.refs))]
        tasks.append(delayed(_rows)(run, one, prepared, looked_up))
    results = compute(tasks, context.scheduler)
    rows: list[Rows] = [[row for tables in results for row in tables[i]] for i in range(4)]
    layers = _joined(
        run, _typed(LAYER_TABLE, rows[0]), SHARED in shared_tables.outputs(plan, context.finished)
    )
    groups = _typed(GROUP_TABLE, rows[1])
    groups["spearman_or1"] = [_spearman_or1(row, layers) for row in groups.to_dict("records")]
    groups["q"] = statistics.adjust_by(groups, ["gene_set", "view", "k"])
    yield LAYER_TABLE.path, layers
    yield GROUP_TABLE.path, groups
    if with_scores:
        scores, tests = _typed(SCORE_TABLE, rows[2]), _typed(SCORE_GROUP_TABLE, rows[3])
        tests["q"] = statistics.adjust_by(tests, ["gene_set", "view", "k", "checkpoint",
                                                  "quantity"])  # fmt: skip
        yield SCORE_TABLE.path, _beside(scores, layers)
        yield SCORE_GROUP_TABLE.path, tests


def _typed(schema: Any, rows: Rows) -> pd.DataFrame:
    columns = {c.name: c.dtype for c in schema.columns}
    table = pd.DataFrame(rows, columns=list(columns)) if rows else no_rows(schema)
    return table.astype(columns)


def _eligible(run: FinishedMatrices, x: Comparison, model: str) -> np.ndarray:
    at = axis_positions(run.plan.model(model), x.genes)
    return run.eligible_pairs(model, x.category)[np.ix_(at, at)]


def _beside(scores: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Return the scores with the coherence and the enrichment of each layer."""
    keys = [*_LAYER, "k"]
    columns = [f"{what}{end}" for what in ("coherence", "fold") for end in ("", "_low", "_high")]
    joined = scores.drop(columns=columns).merge(
        layers[[*keys, *columns]], on=keys, how="left", validate="many_to_one"
    )
    return joined[[c.name for c in SCORE_TABLE.columns]]


def _prepare(
    run: FinishedMatrices, x: Comparison, network: Network, scored: dict[str, ScoredGenes]
) -> Prepared:
    """Return lists, permutations, edge rates and scores; one model's pairs are held at a time."""
    plan, groups = run.plan, run.plan.model_groups
    vertices = network.vertex_of(np.array(x.genes, dtype=object))
    adjacency = network.adjacency(vertices)
    lists = [strongest(run, x.category, r, x.genes, x.gene_set) for r in x.refs]
    of_groups: dict[str, list[str]] = {}
    for model in dict.fromkeys(r.model for r in x.refs):
        of_groups.setdefault(groups[model], []).append(model)
    joint, parts, group = {}, [], np.zeros(0, np.int64)
    n_k = len(comparison_settings(plan).k)
    of_scores: list[dict[tuple[str, str], Any]] = [{} for _ in range(n_k)]
    for name, models in of_groups.items():
        strata, partners = [], []
        for model in models:
            eligible = _eligible(run, x, model)
            pairs = VertexPairs.of_genes(vertices, adjacency, eligible)
            strata.append(vertex_strata(pairs))
            partners.append(eligible.sum(1) - np.diag(eligible))
        joint[name] = JointPermutations.of(pairs, strata, partners, plan.permutations, plan.seed)
        group, of_vertex = gene_groups(pairs.vertex_of, len(pairs), plan.seed)
        for model in models:
            if len(models) > 1:
                pairs = VertexPairs.of_genes(vertices, adjacency, _eligible(run, x, model))
            at = [i for i, r in enumerate(x.refs) if r.model == model]
            mine = [lists[i] for i in at]
            for j, k in enumerate(comparison_settings(plan).k):
                parts.append((j, at, edge_rates(mine, pairs, joint[name], of_vertex, k)))
                for checkpoint, s in scored.items():
                    of_model = list_scores(mine, pairs, s.values, joint[name], of_vertex, k)
                    for quantity, scores in zip(QUANTITIES, of_model, strict=True):
                        of_scores[j].setdefault((checkpoint, quantity), []).append((at, scores))
    rates = [join_lists([(at, r) for j, at, r in parts if j == which]) for which in range(n_k)]
    joined = [{label: join_lists(of) for label, of in s.items()} for s in of_scores]
    return Prepared(lists, joint, group, rates, joined)


def _look_up(run: FinishedMatrices, x: Comparison, prepared: Prepared, e: int) -> Measured:
    """Return medians [..., ks, matrices] of the other groups' lists in one matrix; NaN: own."""
    plan, groups = run.plan, run.plan.model_groups
    c = comparison_settings(plan)
    drawn = np.full((1 + plan.permutations, len(c.k), len(x.refs)), np.nan)
    deleted = np.full((GROUPS, len(c.k), len(x.refs)), np.nan)
    matrix = BinnedQuantiles(
        reader(run, x.category, x.refs[e], x.genes), len(x.genes), keep_self=c.conventions == "peer"
    )
    for name, joint in prepared.joint.items():
        at = [i for i, r in enumerate(x.refs) if groups[r.model] == name]
        if name != groups[x.refs[e].model]:
            mine = [prepared.lists[i] for i in at]
            measured = medians_in(matrix, mine, joint, prepared.group, c.k)
            drawn[:, :, at], deleted[:, :, at] = measured.drawn, measured.deleted
    return Measured(drawn, deleted)


def _rows(
    run: FinishedMatrices, x: Comparison, prepared: Prepared, looked_up: list[Measured]
) -> tuple[Rows, Rows, Rows, Rows]:
    """Return the rows of the tables, without what other tables say."""
    plan = run.plan
    models = [r.model for r in x.refs]
    groups = [plan.model_groups[m] for m in models]
    label = {"category": plan.categories[x.category].name, "gene_set": x.gene_set, "view": x.view}
    of_layers, of_groups, of_scores, of_tests = [], [], [], []
    for j, k in enumerate(comparison_settings(plan).k):
        medians = (np.stack([getattr(m, part)[:, j] for m in looked_up], -1)
                   for part in ("drawn", "deleted"))  # fmt: skip
        coherent = Measured(*(coherence(m, models, groups) for m in medians))
        rates = prepared.rates[j]
        others = {g: {"n_groups": len(set(groups) - {g}), "k": k, "group": g} for g in set(groups)}
        for i, ref in enumerate(x.refs):
            row = label | others[groups[i]] | {"model": ref.model, "layer": ref.layer}
            of_layers.append(row | _enrichment(rates, i))
            for (checkpoint, quantity), scores in prepared.scores[j].items():
                named = {"checkpoint": checkpoint, "quantity": quantity}
                of_scores.append(row | named | scores.row(i))
        for name in dict.fromkeys(groups):
            members = list(dict.fromkeys(m for m, g in zip(models, groups, strict=True)
                                         if g == name))  # fmt: skip
            for chosen in (members, *([m] for m in members if len(members) > 1)):
                at = [i for i, m in enumerate(models) if m in chosen]
                row = label | others[name] | {"model": chosen[0] if chosen != members else None}
                row |= {"n_models": len(chosen)}
                of_groups.append(row | layers_test(coherent.of(at), rates.fold.of(at)))
                for (checkpoint, quantity), scores in prepared.scores[j].items():
                    named = {"checkpoint": checkpoint, "quantity": quantity}
                    tested = layers_test(coherent.of(at), scores.excess.of(at))
                    of_tests.append(row | named | tested)
    return of_layers, of_groups, of_scores, of_tests


def _enrichment(rates: EdgeRates, i: int) -> dict[str, Any]:
    n, hits, mean = int(rates.n_pairs[i]), int(rates.n_edges[i]), float(rates.null_mean[i])
    rate = hits / n if n else float("nan")
    fold = rate / mean if mean > 0 else float("nan")
    low, high = jackknife_interval(fold, rates.fold.deleted[:, i])
    return {
        "n_pairs": n, "n_edges": hits, "edge_rate": rate, "null_mean": mean, "fold": fold,
        "fold_low": max(low, 0.0), "fold_high": high,
    }  # fmt: skip


def _joined(run: FinishedMatrices, layers: pd.DataFrame, shared: bool) -> pd.DataFrame:
    """Add to each layer what the tables of coherence and of both overlaps say of it."""
    coherent = run.table(COHERENCE.removesuffix(".parquet"))
    coherent = coherent[coherent["left_out"].isna()].rename(
        columns={"low": "coherence_low", "high": "coherence_high", "q": "coherence_q"}
    )
    overlap = run.table(OVERLAP.removesuffix(".parquet")).rename(
        columns={"fold_over_null": "overlap_fold", "q": "overlap_q"}
    )
    parts = [
        (coherent, [*_LAYER, "k"], ["coherence", "coherence_low", "coherence_high", "coherence_q"]),
        (overlap, _LAYER, ["overlap_fold", "overlap_q"]),
    ]
    if shared:
        odds = run.table(SHARED.removesuffix(".parquet"))
        odds = odds[(odds["list"] == "layer") & odds["headline"]]
        ends = [f"{ratio}{end}" for ratio in ("or0", "or1") for end in ("", "_low", "_high")]
        parts.append((odds, [*_LAYER, "k"], [*ends, "control"]))
    for table, keys, columns in parts:
        layers = layers.drop(columns=columns).merge(
            table[[*keys, *columns]], on=keys, how="left", validate="many_to_one"
        )
    return layers[[c.name for c in LAYER_TABLE.columns]].astype(
        {c.name: c.dtype for c in LAYER_TABLE.columns}
    )


def _spearman_or1(row: Mapping[Any, Any], layers: pd.DataFrame) -> float:
    """Return the rank correlation of coherence and or1 over the layers of a row."""
    keys = ["category", "gene_set", "view", "k", "group"]
    same = np.logical_and.reduce([layers[c] == row[c] for c in keys])
    part = layers[same & ((layers["model"] == row["model"]) | pd.isna(row["model"]))]
    x, y = (part[c].to_numpy(float)[None] for c in ("coherence", "or1"))
    return float(rank_correlations(x, y)[0])


COHERENCE_ANALYSIS = Analysis(
    "coherence and enrichment",
    Needs(matrices=True, network=True, tables=(COHERENCE, OVERLAP, SHARED)),
    _outputs,
    _compute,
    COHERENCE_TABLES,
)
