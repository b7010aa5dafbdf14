"""Projects the memory of analysis tasks; reads no data."""

from __future__ import annotations

from collections.abc import Sequence

from octoscope.analysis.controlled.controls import MOST_CACHED, control_bytes
from octoscope.analysis.controlled.universe import GROUPS, MOST_BYTES
from octoscope.analysis.layer_consensus import CachedMatrix
from octoscope.analysis.layers import MAX_NULL_BYTES, TESTED, null_bytes
from octoscope.analysis.matrix import matrix_bytes
from octoscope.config import RunConfig
from octoscope.planning.derive import sizes
from octoscope.run_plan.values import ModelPlan

_MOST_STRATA = 450_000.0  # of a control at 18,000 genes
_MOST_BINS = 220.0  # of co-expression and of expression level there
LATER_NEEDS = ("analysis_bytes",)  # plans of earlier versions do not project these


def task_bytes(config: RunConfig, models: Sequence[ModelPlan], imports: float) -> float:
    """Project the memory of the largest task: layers, overlap, comparisons or consensus.

    As many tasks run at once as the cluster has CPUs.
    """
    cache_bytes = float(sizes(config.execution).cache)
    largest = 0.0
    for m in models:
        n2, layers = float(len(m.axis)) ** 2, len(m.layers)
        open_bytes = _open_and_rows(config, m, cache_bytes)
        pairs = min(2.0 * config.top_k * layers, n2)  # of the union, ties included
        tested = min(float(TESTED * layers), n2)
        null = null_bytes(config.permutations, tested, layers, len(m.axis))
        null = max(null, min(config.max_permutation_factor * null, MAX_NULL_BYTES))
        union = 3 * pairs * (8 + 12 * layers) + null
        largest = max(largest, open_bytes + 5 * n2 + union)
        if config.compare is not None and config.compare.pools:
            largest = max(largest, cache_bytes + 2 * _rows(config, m) + 5 * n2)
        if config.network is not None:
            # masks of genes and vertices, edges; bins as read and as numbered; pairs with an edge
            largest = max(largest, open_bytes + 12 * n2)
            if config.coexpression:
                largest = max(largest, open_bytes + _controlled(config, m))
                if config.donor_groups:  # lists without each group are made before the counts
                    largest = max(largest, _without_donors(config, m) + 8 * n2)
            if config.network.gnn:  # of n2 / 2 pairs six scores, and copies of one; masks of n2
                largest = max(largest, open_bytes + 28 * n2)
        if config.compare is not None and config.compare.consensus:
            room = float(CachedMatrix.room(len(m.axis)))
            layer_bytes = cache_bytes - room
            if layer_bytes < 0:  # tile by tile, all layers open
                every = layers * (_opened(m, cache_bytes / layers) + 2 * _rows(config, m))
            elif layers * matrix_bytes(m) <= layer_bytes:  # as EachLayer decides
                every = layers * _opened(m, layer_bytes / layers) + 2 * _rows(config, m)
            else:  # one after the other
                every = _opened(m, 0) + 2 * _rows(config, m)
            every += 12 * n2 * (config.compare.layers == "sum")  # sums are of doubles
            largest = max(largest, every + room + 64 * pairs)
    if config.compare is not None and models:
        # all models by their first variant, or one layer by all of its variants
        bases = [m.base for m in models]
        first = sum(len(m.layers) for m in models if m.name == m.base)
        matrices = float(max(first, *(bases.count(base) for base in bases)))
        smallest = min(float(len(m.axis)) ** 2 for m in models)
        pairs = min(2.0 * config.top_k * matrices, smallest)
        # values, ranks and quantiles; parts and the whole; top-K flags of every K
        ranked = pairs * matrices * (3 * 12 + 2 * 8 + len(config.compare.k or [0, 0]))
        # medians of all permutations: of each model, joined, and the complete ones
        permuted_medians = (
            3 * 8.0 * config.permutations * config.max_permutation_factor * matrices**2
        )
        ranked += permuted_medians * len(config.compare.k or [0, 0])
        # ranks of each group's union in every matrix, as computed and as used
        ranked += 2 * 4 * config.donor_groups * pairs * matrices
        opened = max(_open_and_rows(config, m, cache_bytes) for m in models)
        if config.donor_groups:
            opened = max(opened, *(_without_donors(config, m) for m in models))
        largest = max(largest, ranked + opened)
    return imports + largest


def _controlled(config: RunConfig, m: ModelPlan) -> float:
    """Return the bytes of a block's controlled overlap: masks, rows of the control, counts."""
    n = float(len(m.axis))
    masks = 9 * n * n  # eligible pairs by gene and by vertex, of matrix and control; edges; bins
    masks += 3 * 8 * n * _MOST_BINS  # of the models with gene effects
    rows = min(config.execution.advanced.tile, n) * n * 12 * 12
    cached = control_bytes(len(m.axis))
    rows += cached if cached <= MOST_CACHED else 0
    return masks + rows + max(2 * 4 * GROUPS * _MOST_STRATA, float(MOST_BYTES)) * min(n / 2000, 1)


def _open_and_rows(config: RunConfig, m: ModelPlan, cache_bytes: float) -> float:
    return _opened(m, cache_bytes) + _rows(config, m)


def _opened(m: ModelPlan, cache_bytes: float) -> float:
    """Return the bytes of an open matrix: queries and keys of mean cells, and its cache."""
    n = float(len(m.axis))
    # by head, and side by side; and of the next one while this one goes
    attends = 2 * 2 * 3 * n * m.d * 2 * 4 * (m.estimator == "mean_residual")
    return float(attends + min(cache_bytes, 32 * n * n))


def _without_donors(config: RunConfig, m: ModelPlan) -> float:
    """Return the bytes of a matrix without each donor group: a tile of all, or mean cells."""
    n, groups = float(len(m.axis)), config.donor_groups
    mean = 3 * n * m.d * 2 * 4 * (m.estimator == "mean_residual") * (1 + groups / 3)
    bits = n * n * (groups / 8 + 4) if config.centred else 0.0  # and the pairs of the fit
    return float(mean + bits + min(config.execution.advanced.tile, n) * n * (28 * groups + 64))


def _rows(config: RunConfig, m: ModelPlan) -> float:
    """Return the bytes of a tile of rows while its values are computed."""
    return float(min(config.execution.advanced.tile, len(m.axis)) * len(m.axis) * 64)
