"""Combined layers, consensus of models, contrasts of categories: graphs and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from dask.delayed import delayed

from octoscope.analysis import consensus, statistics
from octoscope.analysis.agreement import Pairs, rank_pairs, strongest_of, union
from octoscope.analysis.dask_graphs import compute
from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.analysis.label_tables import labelled, name_genes, of_all_cells
from octoscope.analysis.pairings import (
    MatrixRef,
    axis_positions,
    combined_layers,
    comparable_models,
    compared_sets_and_views,
    comparison_settings,
    correlations,
    reader,
    sets_and_views_of,
    shared_genes,
    strongest,
)
from octoscope.analysis.registry import Analysis, Context, Needs, open_network_of
from octoscope.analysis.summarise_matrix import finalise
from octoscope.analysis.tables.consensus_schema import CONSENSUS_TABLES
from octoscope.analysis.tables.contrast_tables import (
    CONTRASTS,
    SPECIFIC,
    closest_categories,
    contrasts,
    without_halves,
)
from octoscope.run_plan.values import Block, Plan

LAYERS = "tables/consensus_layers.parquet"
SUPPORT = "tables/support.parquet"
_PARTS = ("total", "half0", "half1")
_ENDS = ("query", "key")


def network_path(category: int) -> str:
    """Return the name of a category's consensus network."""
    return f"consensus/c{category:04d}.parquet"


def layers_path(model: str) -> str:
    """Return the name of a model's top pairs over all its layers."""
    return f"consensus/{model}.parquet"


@dataclass(frozen=True)
class ComparisonKey:
    """One gene set and view, over the genes that all of its models have.

    Attributes
    ----------
    genes
        Ensembl ids, ascending.
    blocks
        (model, category) that are finished.
    correlations
        (co-expression entry, its view, category) that are finished and have the genes.
    """

    gene_set: str
    view: str
    genes: tuple[str, ...]
    blocks: tuple[tuple[str, int], ...]
    correlations: tuple[tuple[str, str, int], ...]

    @property
    def models(self) -> list[str]:
        """Models in the order of the plan."""
        return list(dict.fromkeys(m for m, _ in self.blocks))


@dataclass(frozen=True)
class PairRanks:
    """Ranks of the union's pairs in the combined layers of one model and category.

    Attributes
    ----------
    quantiles
        [3, pairs] float32 of all cells, half 0, half 1; NaN where not eligible.
    in_top_k
        [3, pairs] bool: among the top K.
    layer
        [pairs] layer where the pair is largest.
    n_layers
        [pairs] layers that have it among their own top K.
    partners
        [genes] int64: other genes that a gene has an eligible pair with.
    """

    quantiles: np.ndarray
    in_top_k: np.ndarray
    layer: np.ndarray
    n_layers: np.ndarray
    partners: np.ndarray


def comparison_keys(plan: Plan, finished: set[Block]) -> list[ComparisonKey]:
    """Return every gene set and view with something to compare."""
    keys: list[ComparisonKey] = []
    if not comparison_settings(plan).consensus:
        return keys
    every = range(len(plan.categories))
    for gene_set, view in compared_sets_and_views(plan):
        models_of = {c: comparable_models(plan, finished, c, gene_set, view) for c in every}
        models = [m.name for m in plan.checkpoints if any(m.name in x for x in models_of.values())]
        genes = shared_genes(plan, models, gene_set)
        blocks = tuple((m, c) for m in models for c in every if m in models_of[c])
        correlated = tuple(
            (m.name, v, c) for c in every for m, v in correlations(plan, finished, c, view, genes)
        )
        if len(blocks) > 1 and len(genes) > 2:
            keys.append(ComparisonKey(gene_set, view, genes, blocks, correlated))
    return keys


def consensus_tables(plan: Plan, finished: set[Block]) -> list[str]:
    """Return the tables that the analysis makes of the finished blocks."""
    keys = comparison_keys(plan, finished)
    blocks = _blocks(plan, finished)
    model_groups = plan.model_groups
    paths = [LAYERS] if blocks else []
    paths += [layers_path(m.name) for m in plan.checkpoints if any(b[0] == m.name for b in blocks)]
    paths += sorted({network_path(c) for q in keys for _, c in q.blocks})
    if any(len({model_groups[m] for m in q.models}) > 1 for q in keys):
        paths.append(SUPPORT)
    if any(len({c for _, c in q.blocks}) > 1 for q in keys):
        paths += [CONTRASTS, SPECIFIC]
    return paths


def _blocks(plan: Plan, finished: set[Block]) -> list[tuple[str, int]]:
    """Return the finished (model, category) whose layers become one matrix, in plan order."""
    every = range(len(plan.categories) if comparison_settings(plan).consensus else 0)
    models = [m.name for m in plan.checkpoints if all(sets_and_views_of(plan, m))]
    return [(m, c) for m in models for c in every if (m, c) in finished]


def _outputs(plan: Plan, finished: Sequence[Block]) -> dict[str, Sequence[Block]]:
    if plan.compare is None or not finished:
        return {}
    return dict.fromkeys(consensus_tables(plan, set(finished)), finished)


def _compute(context: Context) -> Iterable[tuple[str, pd.DataFrame]]:
    """Combine the layers of each model and compare the combined matrices."""
    run, plan, scheduler = context.run, context.run.plan, context.scheduler
    finished = set(context.finished)
    blocks = _blocks(plan, finished)
    tables = dict(zip(blocks, compute([delayed(_layers)(run, *b) for b in blocks], scheduler),
                      strict=True))  # fmt: skip
    parts_of: dict[str, list[pd.DataFrame]] = {LAYERS: [stats for _, stats in tables.values()]}
    for (model, _), (top, _) in tables.items():
        parts_of.setdefault(layers_path(model), []).append(top)
    keys = comparison_keys(plan, finished)
    listed = {block: top for block, (top, _) in tables.items()}
    for new_tables in compute([_graph(run, q, listed) for q in keys], scheduler):
        for name, frame in new_tables.items():
            parts_of.setdefault(name, []).append(frame)
    joined = {
        name: pd.concat(parts, ignore_index=True) for name, parts in parts_of.items() if parts
    }
    if LAYERS in joined:
        joined[LAYERS] = statistics.with_half_q(joined[LAYERS], ["gene_set", "view"])
    if SUPPORT in joined:
        family = ["gene_set", "view"]
        joined[SUPPORT] = joined[SUPPORT].assign(q=statistics.adjust_by(joined[SUPPORT], family))
    network = None if context.network is None else open_network_of(context.network)
    for name in consensus_tables(plan, finished):
        frame = joined[name]
        # of a model that some gene set lacks: whole numbers still
        whole = [c for c in frame.columns if c.startswith("layer_")]
        frame = frame.astype(dict.fromkeys(whole, "Int32"))
        if network is not None and name.startswith("consensus/"):
            a, b = (network.vertex_of(frame[end].to_numpy()) for end in _ENDS)
            frame = frame.assign(in_network=network.connected(a, b))
        yield name, frame


def _layers(run: FinishedMatrices, model: str, category: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return top pairs and statistics of a model's combined layers."""
    plan = run.plan
    m = plan.model(model)
    matrix = combined_layers(run, category, model)
    names, views = sets_and_views_of(plan, m)
    sets = {name: np.array(m.gene_sets[name]) for name in names}
    done = finalise(
        matrix,
        sets,
        views,
        top_k=plan.top_k,
        permutations=plan.permutations,
        max_permutation_factor=plan.max_permutation_factor,
        seed=plan.seed,
    )
    top, layer = done.topk, np.zeros(len(done.topk), np.int32)
    for keys, part in top.reset_index().groupby(["gene_set", "view"], sort=False):
        name, view = (str(x) for x in keys)
        genes, rows = sets[name], part["index"].to_numpy()
        at = (np.searchsorted(genes, part[end].to_numpy()) for end in ("query", "key"))
        layer[rows] = matrix.winning_layer(genes, view, *at)
    top = name_genes(top.assign(layer=layer), m)
    label = {"model": model, "category": plan.categories[category].name}
    return labelled(top, label), labelled(done.stats, label | {"layers": len(m.layers)})


def _graph(
    run: FinishedMatrices, q: ComparisonKey, listed: dict[tuple[str, int], pd.DataFrame]
) -> Any:
    plan = run.plan
    comparison_key = delayed(q, traverse=False)
    tops: list[Any] = []
    for model, category in q.blocks:
        m = plan.model(model)
        if m.gene_sets[q.gene_set] == axis_positions(m, q.genes).tolist():
            top = of_all_cells(listed[model, category], q.gene_set, q.view)
            genes = np.array(q.genes)
            tops.append(tuple(np.searchsorted(genes, top[x].to_numpy(str)) for x in _ENDS))
        else:
            tops.append(delayed(_top)(run, comparison_key, model, category))
    pairs = delayed(_union)(tops, len(q.genes))
    pair_ranks = [delayed(_pair_ranks)(run, comparison_key, *block, pairs) for block in q.blocks]
    correlated = [delayed(_correlated)(run, comparison_key, *x, pairs) for x in q.correlations]
    return delayed(_tables)(run, comparison_key, pairs, pair_ranks, correlated)


def _top(run: FinishedMatrices, q: ComparisonKey, model: str, category: int) -> Pairs:
    """Return (query, key) of the top pairs of a model's combined layers."""
    plan = run.plan
    matrix = combined_layers(run, category, model)
    genes = axis_positions(plan.model(model), q.genes)
    return strongest_of(lambda: matrix.values(genes, q.view), plan.top_k)


def _union(tops: list[Pairs], n_genes: int) -> Pairs:
    return union(tops, n_genes)


def _pair_ranks(
    run: FinishedMatrices, q: ComparisonKey, model: str, category: int, pairs: Pairs
) -> PairRanks:
    plan = run.plan
    m = plan.model(model)
    matrix = combined_layers(run, category, model)
    genes = axis_positions(m, q.genes)

    def half(h: int) -> Iterable[tuple[int, np.ndarray, np.ndarray]]:
        for first, x, y, use in matrix.halves(genes, q.view):
            yield first, (x, y)[h], use

    readers = [lambda: matrix.values(genes, q.view), lambda: half(0), lambda: half(1)]
    how = comparison_settings(plan).conventions
    ranked = rank_pairs(readers, *pairs, n_genes=len(q.genes), conventions=how)
    codes, times = pairs[0] * len(genes) + pairs[1], np.zeros(len(pairs[0]), np.int16)
    for layer in m.layers:
        ref = MatrixRef(model, layer, q.view)
        query, key = strongest(run, category, ref, q.genes, q.gene_set)
        times += np.isin(codes, query * len(genes) + key)
    return PairRanks(
        ranked.quantiles.astype(np.float32),
        ranked.in_top_k(plan.top_k),
        matrix.winning_layer(genes, q.view, *pairs).astype(np.int32),
        times,
        ranked.partners[0],
    )


def _correlated(
    run: FinishedMatrices, q: ComparisonKey, model: str, view: str, category: int, pairs: Pairs
) -> np.ndarray:
    """Return [pairs] quantiles in a co-expression matrix."""
    read = reader(run, category, MatrixRef(model, 0, view), q.genes)
    how = comparison_settings(run.plan).conventions
    ranked = rank_pairs([read], *pairs, n_genes=len(q.genes), conventions=how)
    return ranked.quantiles[0].astype(np.float32)


def _tables(
    run: FinishedMatrices,
    q: ComparisonKey,
    pairs: Pairs,
    pair_ranks: list[PairRanks],
    correlated: list[np.ndarray],
) -> dict[str, pd.DataFrame]:
    """Assemble networks, support and contrasts of one gene set and view."""
    plan = run.plan
    model_groups, how = plan.model_groups, comparison_settings(plan).conventions
    models, label = q.models, {"gene_set": q.gene_set, "view": q.view}
    groups = [model_groups[m] for m in models]
    first = plan.model(models[0])
    axis = axis_positions(first, q.genes)
    categories = sorted({c for _, c in q.blocks})
    ranks_of = dict(zip(q.blocks, pair_ranks, strict=True))
    shape = len(models), len(categories), len(_PARTS), len(pairs[0])
    quantiles, in_top_k = np.full(shape, np.nan, np.float32), np.zeros(shape, bool)
    partners = np.zeros((*shape[:2], len(q.genes)), np.int64)
    for (m, c), ranks in ranks_of.items():
        at = models.index(m), categories.index(c)
        quantiles[at], in_top_k[at] = ranks.quantiles, ranks.in_top_k
        partners[at] = ranks.partners
    scores = consensus.score(quantiles, groups)  # [categories, parts, pairs]
    # contrasts of the consensus: 10^-score is the geometric mean of quantiles
    contrast, closest_category = consensus.specificity(10.0 ** -scores[:, 0])
    names = [plan.categories[c].name for c in categories]
    frames: dict[str, list[pd.DataFrame]] = {SUPPORT: [], CONTRASTS: [], SPECIFIC: []}
    for i, c in enumerate(categories):
        seen = in_top_k[:, i]
        frame = _network(q, pairs, models, groups, scores[i], seen, quantiles[:, i, 0])
        frame["specificity"], frame["closest_category"] = (
            contrast[i],
            closest_categories(closest_category[i], names),
        )
        for m in models:
            if (m, c) in ranks_of:
                frame[f"layer_{m}"] = ranks_of[m, c].layer
        # how often layers of all models list the pair
        listed = [ranks_of[m, c].n_layers for m in models if (m, c) in ranks_of]
        frame["n_layers"] = np.sum(listed, axis=0)
        for (name, _, correlated_category), values in zip(q.correlations, correlated, strict=True):
            if correlated_category == c:
                frame[f"quantile_{name}"] = values
        frame = frame[frame["n_models"] > 0].sort_values(
            ["n_groups", "score", "query", "key"],
            ascending=[False, False, True, True],
            kind="stable",
        )
        ahead = frame.duplicated(["n_groups", "score"])  # equal groups and scores share a rank
        row = pd.Series(np.arange(1, len(frame) + 1), frame.index)
        frame["rank"] = row.mask(ahead).ffill().astype(np.int64)
        frame = frame.assign(**{end: axis[frame[end]] for end in _ENDS})
        frames[network_path(c)] = [
            labelled(name_genes(frame, first), {"category": names[i]} | label)
        ]
        if len(set(groups)) > 1:
            tested = consensus.support_test(
                *pairs, seen[:, 0], groups, len(q.genes),
                permutations=plan.permutations,
                max_permutation_factor=plan.max_permutation_factor, seed=plan.seed,
                partners=None if how == "peer" else partners[:, i],
            )  # fmt: skip
            frames[SUPPORT].append(labelled(tested, {"category": names[i]} | label))
    if len(categories) > 1:
        summary, specific = contrasts(
            pairs, len(q.genes), models, names, quantiles, in_top_k, label
        )
        specific = specific.assign(**{end: axis[specific[end]] for end in _ENDS})
        frames[CONTRASTS].append(summary)
        frames[SPECIFIC].append(name_genes(specific, first))
    tables = {name: pd.concat(parts, ignore_index=True) for name, parts in frames.items() if parts}
    if plan.atlas is None:
        of_halves = (CONTRASTS, *(network_path(c) for c in categories))
        tables |= {name: without_halves(tables[name]) for name in of_halves if name in tables}
    return tables


def _network(
    q: ComparisonKey,
    pairs: Pairs,
    models: list[str],
    groups: list[str],
    scores: np.ndarray,
    in_top_k: np.ndarray,
    quantiles: np.ndarray,
) -> pd.DataFrame:
    n_models, n_groups = consensus.support(in_top_k[:, 0], groups)
    halves = [consensus.support(in_top_k[:, h], groups)[1] for h in (1, 2)]
    frame = {
        "query": pairs[0], "key": pairs[1], "score": scores[0],
        "score_half0": scores[1], "score_half1": scores[2],
        "n_models": n_models, "n_groups": n_groups,
        "n_groups_half0": halves[0], "n_groups_half1": halves[1],
    }  # fmt: skip
    return pd.DataFrame(frame | {f"quantile_{m}": quantiles[i] for i, m in enumerate(models)})


CONSENSUS_ANALYSIS = Analysis(
    "consensus", Needs(matrices=True, donors=True), _outputs, _compute, CONSENSUS_TABLES
)
