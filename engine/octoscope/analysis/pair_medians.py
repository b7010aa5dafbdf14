"""Medians of the scores of listed pairs, and of lists whose vertices are permuted.

Scores lie in the triangle of :mod:`octoscope.octopus.pair_triangle`, those of a pair side by side,
because a permuted pair is one random access.
"""

from __future__ import annotations

import numpy as np

from octoscope.jit import compiled
from octoscope.octopus.pair_triangle import row_starts

_SMALL = 256  # pairs up to which a compiled sort is faster than a call of a partition


def permuted_medians(
    values: np.ndarray, code: np.ndarray, parts: tuple[np.ndarray, np.ndarray, int],
    u: np.ndarray, v: np.ndarray, relabels: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return [permutations, parts, scores] float64 medians of permuted lists; NaN: no pair left.

    Parameters
    ----------
    values
        [triangle, scores] float32.
    code
        [triangle] unsigned class of each pair; what does not count is of a class without parts.
    parts
        Starts and parts of the classes, as :class:`octoscope.analysis.pair_parts.PairParts` has
        them, and the number of parts.
    u, v
        [pairs] int64 vertices of distinct unordered pairs.
    relabels
        [permutations, vertices] int32 where each vertex goes.
    """
    starts_of, indices, n_parts = parts
    n_scores, starts = values.shape[1], row_starts(relabels.shape[1])
    out = np.full((len(relabels), n_parts, n_scores), np.nan)
    drawn = np.empty((len(u), n_scores), np.float32)
    by_part = np.empty((n_parts, n_scores, len(u)), np.float32)
    counts = np.empty(n_parts, np.int64)
    for medians, relabel in zip(out, relabels, strict=True):
        a, b = relabel[u], relabel[v]
        at = starts[np.minimum(a, b)] + np.maximum(a, b)
        values.take(at, axis=0, out=drawn, mode="clip")  # with an output, other modes copy first
        _deal(drawn, code.take(at), starts_of, indices, by_part, counts)
        _small_medians(by_part, counts, medians)
        for i in np.flatnonzero(counts > _SMALL):
            for s in range(n_scores):
                medians[i, s] = _middle(by_part[i, s, : counts[i]])
    return out


def median(values: np.ndarray) -> float:
    """Return the median of [values], NaN of none; two middle values are averaged in float64."""
    return _middle(values.copy()) if len(values) else float("nan")


def _middle(values: np.ndarray) -> float:
    """Return the median and reorder the values.

    One partition and a maximum: ``np.median`` takes five times as long for lists of 10,000.
    """
    half = len(values) // 2
    values.partition(half)
    upper = float(values[half])
    return upper if len(values) % 2 else (upper + float(values[:half].max())) / 2


@compiled()
def _deal(
    drawn: np.ndarray, within: np.ndarray, starts: np.ndarray, indices: np.ndarray,
    out: np.ndarray, counts: np.ndarray,
) -> None:  # fmt: skip
    """Write the scores of each part's pairs into ``out``, [parts, scores, pairs], and how many."""
    counts[:] = 0
    for k in range(len(within)):
        for j in range(starts[within[k]], starts[within[k] + 1]):
            part = indices[j]
            for s in range(drawn.shape[1]):
                out[part, s, counts[part]] = drawn[k, s]
            counts[part] += 1


@compiled()
def _small_medians(by_part: np.ndarray, counts: np.ndarray, out: np.ndarray) -> None:
    """Write the medians of parts of at most ``_SMALL`` pairs; their scores are sorted."""
    for i in range(len(counts)):
        n = counts[i]
        if n == 0 or n > _SMALL:
            continue
        for s in range(by_part.shape[1]):
            values = by_part[i, s, :n]
            values.sort()
            upper = np.float64(values[n // 2])
            out[i, s] = upper if n % 2 else (upper + np.float64(values[n // 2 - 1])) / 2
