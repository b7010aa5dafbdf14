"""Bytes that a task of the analysis holds, projected; nothing is read."""

from __future__ import annotations

from collections.abc import Sequence

from octoscope.analysis.layer_consensus import CachedMatrix
from octoscope.analysis.layers import MAX_NULL_BYTES, TESTED, null_bytes
from octoscope.analysis.matrix import matrix_bytes
from octoscope.config import RunConfig
from octoscope.planning.derive import sizes
from octoscope.run_plan.values import ModelPlan

LATER_NEEDS = ("analysis_bytes",)  # what plans of earlier versions do not project


def task_bytes(config: RunConfig, models: Sequence[ModelPlan], imports: float) -> float:
    """Project the memory of the largest task: layers, overlap, comparisons or consensus.

    As many tasks run at once as the cluster has CPUs.
    """
    cache_bytes = float(sizes(config.execution).cache)
    largest = 0.0
    for m in models:
        n2, layers = float(len(m.axis)) ** 2, len(m.layers)
        reading = _reading(config, m, cache_bytes)
        pairs = min(2.0 * config.top_k * layers, n2)  # of the union, ties included
        tested = min(float(TESTED * layers), n2)
        drawn = null_bytes(config.permutations, tested, layers, len(m.axis))
        drawn = max(drawn, min(config.max_permutation_factor * drawn, MAX_NULL_BYTES))
        union = 3 * pairs * (8 + 12 * layers) + drawn
        largest = max(largest, reading + 5 * n2 + union)
        if config.network is not None:
            largest = max(largest, reading + 8 * n2)
        if config.compare is not None and config.compare.consensus:
            room = float(CachedMatrix.room(len(m.axis)))
            left = cache_bytes - room
            if left < 0:  # tile by tile, all layers open
                every = layers * (_opened(m, cache_bytes / layers) + 2 * _rows(config, m))
            elif layers * matrix_bytes(m) <= left:  # as EachLayer decides
                every = layers * _opened(m, left / layers) + 2 * _rows(config, m)
            else:  # one after the other
                every = _opened(m, 0) + 2 * _rows(config, m)
            every += 12 * n2 * (config.compare.layers == "sum")  # sums are of doubles
            largest = max(largest, every + room + 64 * pairs)
    if config.compare is not None and models:
        # of all models by their first reading, or of one layer by all of its readings
        bases = [m.base for m in models]
        first = sum(len(m.layers) for m in models if m.name == m.base)
        matrices = float(max(first, *(bases.count(base) for base in bases)))
        smallest = min(float(len(m.axis)) ** 2 for m in models)
        pairs = min(2.0 * config.top_k * matrices, smallest)
        # values, ranks and quantiles; parts beside the whole; members of every K
        placed = pairs * matrices * (3 * 12 + 2 * 8 + len(config.compare.k or [0, 0]))
        # medians of all draws: of each model, joined, and those that are complete
        draws = 3 * 8.0 * config.permutations * config.max_permutation_factor * matrices**2
        placed += draws * len(config.compare.k or [0, 0])
        # ranks of each group's union in every matrix, as they come and as they are used
        placed += 2 * 4 * config.donor_groups * pairs * matrices
        opened = max(_reading(config, m, cache_bytes) for m in models)
        if config.donor_groups:
            opened = max(opened, *(_without_donors(config, m) for m in models))
        largest = max(largest, placed + opened)
    return imports + largest


def _reading(config: RunConfig, m: ModelPlan, cache_bytes: float) -> float:
    return _opened(m, cache_bytes) + _rows(config, m)


def _opened(m: ModelPlan, cache_bytes: float) -> float:
    """Return what an open matrix keeps: queries and keys of mean cells, and what is held."""
    n = float(len(m.axis))
    # by head, and side by side; and of the next one while this one goes
    attends = 2 * 2 * 3 * n * m.d * 2 * 4 * (m.estimator == "mean_residual")
    return float(attends + min(cache_bytes, 32 * n * n))


def _without_donors(config: RunConfig, m: ModelPlan) -> float:
    """Return what a matrix without each group of donors takes: a tile of all, or mean cells."""
    n, groups = float(len(m.axis)), config.donor_groups
    mean = 3 * n * m.d * 2 * 4 * (m.estimator == "mean_residual") * (1 + groups / 3)
    bits = n * n * (groups / 8 + 4) if config.centred else 0.0  # and what is fitted over
    return float(mean + bits + min(config.execution.advanced.tile, n) * n * (28 * groups + 64))


def _rows(config: RunConfig, m: ModelPlan) -> float:
    """Return what a tile of rows takes while its values are made."""
    return float(min(config.execution.advanced.tile, len(m.axis)) * len(m.axis) * 64)
