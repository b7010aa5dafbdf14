"""Medians of the scores of listed pairs, and of lists whose vertices are permuted.

Scores lie in the triangle of :mod:`octoscope.octopus.pair_triangle`, those of a pair side by side,
because a permuted pair is one random access.
"""

from __future__ import annotations

import numpy as np

from octoscope.jit import compiled
from octoscope.octopus.pair_triangle import row_starts


def permuted_medians(
    values: np.ndarray, bits: np.ndarray, n_parts: int,
    u: np.ndarray, v: np.ndarray, relabels: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return [permutations, parts, scores] float64 medians of permuted lists; NaN: no pair left.

    Parameters
    ----------
    values
        [triangle, scores] float32.
    bits
        [triangle] uint8: bit i of a pair that counts in part i.
    n_parts
        Number of parts, at most 8.
    u, v
        [pairs] int64 vertices of distinct unordered pairs.
    relabels
        [permutations, vertices] int32 where each vertex goes.
    """
    n_scores, starts = values.shape[1], row_starts(relabels.shape[1])
    out = np.full((len(relabels), n_parts, n_scores), np.nan)
    drawn, held = np.empty((len(u), n_scores), np.float32), np.empty((n_scores, len(u)), np.float32)
    for medians, relabel in zip(out, relabels, strict=True):
        a, b = relabel[u], relabel[v]
        at = starts[np.minimum(a, b)] + np.maximum(a, b)
        within = bits.take(at)
        values.take(at, axis=0, out=drawn, mode="clip")  # with an output, other modes copy first
        for i in range(n_parts):
            count = _pick(drawn, within, i, held)
            for s in range(n_scores if count else 0):
                medians[i, s] = _middle(held[s, :count])
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
def _pick(drawn: np.ndarray, within: np.ndarray, part: int, held: np.ndarray) -> int:
    """Write the scores of the pairs of a part into ``held``, [scores, pairs]; return how many."""
    count = 0
    for k in range(len(within)):
        if within[k] >> part & 1:
            for s in range(drawn.shape[1]):
                held[s, count] = drawn[k, s]
            count += 1
    return count
