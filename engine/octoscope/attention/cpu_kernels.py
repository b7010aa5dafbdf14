"""Compiled inner loops of the reduction on CPUs: one pass over a block of scores.

A block holds the scores of some query rows of one cell and head against every key that the cell
attends to, as a matrix product left it. Each row is read while it is in cache: maximum, exp, sum,
share of each kind of key, and the sums over heads. Nothing here knows of tensors or batches.

Calls release the GIL and touch only the rows they are given, so blocks run in parallel and the
result depends neither on the number of threads nor on their order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from octoscope.jit import compiled

# Floats between arrays that one loop reads and writes. Where they lie closer than a few vectors,
# the compiled loop goes one by one and rounds otherwise: bits depended on what memory was free.
_APART = 256


@intrinsic
def _float_of_bits(context: Any, bits: Any) -> Any:
    """Reinterpret int32 as float32; compiles to nothing, so loops around it vectorise."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), build


@njit(inline="always", fastmath={"contract", "nsz", "arcp"})
def _exp(x: np.float32) -> np.float32:
    """Return exp(x) for x <= 0 (Cephes' single-precision polynomial); 0 below -87.3.

    Relative error within 2e-7; tests compare with float64 over the whole range.
    """
    if x < np.float32(-87.3):  # written so that NaN stays NaN
        x = np.float32(-87.3)
    n = np.int32(x * np.float32(1.4426950408889634) - np.float32(0.5))
    whole = np.float32(n)
    r = x - whole * np.float32(0.693359375) - whole * np.float32(-2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1.0)
    return p * _float_of_bits(np.int32((n + 127) << 23))


@njit(inline="always")
def _largest(bits: np.ndarray) -> np.float32:
    """Return the largest of float32 values, given as their int32 bits; NaN may be passed over.

    Whole numbers in the order of the values, as the largest of floats does not vectorise: a tenth
    of the time.
    """
    rest = np.int32(0x7FFFFFFF)
    top = np.int32(-0x80000000)
    for t in range(len(bits)):
        key = np.int32(bits[t] ^ (np.int32(bits[t] >> np.int32(31)) & rest))
        top = max(top, key)
    return _float_of_bits(np.int32(top ^ (np.int32(top >> np.int32(31)) & rest)))


@compiled({"reassoc", "contract", "nsz", "arcp"})
def add_heads(
    scores: np.ndarray,
    keys: int,
    kept: int,
    ends: np.ndarray,
    columns: np.ndarray,
    share: np.float32,
    probability: np.ndarray,
    logit: np.ndarray,
    mass: np.ndarray,
) -> None:
    """Turn scores into probabilities and add them up over heads. ``scores`` is overwritten.

    Parameters
    ----------
    scores
        [heads, rows, keys] float32; NaN and infinity spread to the row's sums. Rows beyond those
        of ``probability``, and keys beyond ``keys``, are padding.
    keys
        Keys that the cell attends to.
    kept
        The first keys, in gene order, whose pairs are accumulated.
    ends
        [groups] int64, where each group of the other keys ends (they begin at ``kept``).
    columns
        [groups] int64, the mass column of each group.
    share
        1 / number of heads.
    probability, logit
        [rows, kept] float32, added to.
    mass
        [rows, mass columns] float64, added to; column 0 is the kept keys.
    """
    heads, rows = len(scores), len(probability)
    bits = scores.view(np.int32)
    for i in range(rows):
        for h in range(heads):
            s = scores[h, i]
            top = _largest(bits[h, i, :keys])
            for t in range(kept):
                logit[i, t] += s[t] * share
            total = np.float32(0.0)
            for t in range(keys):
                e = _exp(s[t] - top)
                s[t] = e
                total += e
            scale = share / total
            inside = np.float32(0.0)
            for t in range(kept):
                p = s[t] * scale
                probability[i, t] += p
                inside += p
            mass[i, 0] += inside
            at = kept
            for g in range(len(ends)):
                outside = np.float32(0.0)
                for t in range(at, ends[g]):
                    outside += s[t]
                mass[i, columns[g]] += outside * scale
                at = ends[g]


@compiled({"reassoc", "contract", "nsz", "arcp"})
def raise_peaks(scores: np.ndarray, probability: np.ndarray, logit: np.ndarray) -> None:
    """Raise the largest probability and score over heads so far, in place.

    Parameters
    ----------
    scores
        [heads, rows, keys] float32; left as they are. More rows and keys than those of
        ``probability`` are padding.
    probability, logit
        [rows, keys] float32, at 0 and -infinity before the first heads.
    """
    heads, (rows, keys) = len(scores), probability.shape
    bits = scores.view(np.int32)
    shifted = np.empty(keys + 2 * _APART, np.float32)[_APART : _APART + keys]
    for i in range(rows):
        for h in range(heads):
            s = scores[h, i]
            top = _largest(bits[h, i, :keys])
            total = np.float32(0.0)
            for t in range(keys):
                shifted[t] = _exp(s[t] - top)
                total += shifted[t]
            scale = np.float32(1.0) / total
            for t in range(keys):
                p = shifted[t] * scale
                # NaN must spread: it replaces any value, and no value replaces it
                if p > probability[i, t] or p != p:
                    probability[i, t] = p
                if s[t] > logit[i, t] or s[t] != s[t]:
                    logit[i, t] = s[t]


@compiled({"reassoc", "contract", "nsz", "arcp"})
def add_peaks(
    peaks: np.ndarray,
    peak_logits: np.ndarray,
    kept: int,
    ends: np.ndarray,
    columns: np.ndarray,
    probability: np.ndarray,
    logit: np.ndarray,
    mass: np.ndarray,
) -> None:
    """Add the largest values over heads [rows, keys] to sums; see :func:`add_heads`."""
    for i in range(peaks.shape[0]):
        inside = np.float32(0.0)
        for t in range(kept):
            probability[i, t] += peaks[i, t]
            logit[i, t] += peak_logits[i, t]
            inside += peaks[i, t]
        mass[i, 0] += inside
        at = kept
        for g in range(len(ends)):
            outside = np.float32(0.0)
            for t in range(at, ends[g]):
                outside += peaks[i, t]
            mass[i, columns[g]] += outside
            at = ends[g]


@compiled({"contract", "nsz"})
def follow_spread(
    values: np.ndarray,
    rows: np.ndarray,
    genes: np.ndarray,
    n_cells: np.ndarray,
    mean: np.ndarray,
    spread: np.ndarray,
) -> None:
    """Add one cell's values to running means and squared deviations (Welford), in place.

    Parameters
    ----------
    values
        [rows, kept] float32.
    rows, genes
        Where they belong in the other arrays [genes, genes].
    n_cells
        Cells so far, this one included, float32.
    mean, spread
        float32 mean and sum of squared deviations.
    """
    for i in range(len(rows)):
        n, m, s, row = n_cells[rows[i]], mean[rows[i]], spread[rows[i]], values[i]
        for t in range(len(genes)):
            g = genes[t]
            gap = row[t] - m[g]
            m[g] += gap / n[g]
            s[g] += gap * (row[t] - m[g])


@compiled()
def merge_spread(
    n_cells: np.ndarray,
    total: np.ndarray,
    spread: np.ndarray,
    more: np.ndarray,
    more_total: np.ndarray,
    more_spread: np.ndarray,
) -> None:
    """Merge a second set of cells into squared deviations (Chan), and into counts, in place.

    Parameters
    ----------
    n_cells, total, spread
        [rows, genes] int32 cells, float64 sums and squared deviations of the first set; the sums
        are read only.
    more, more_total, more_spread
        The same of the second set, float32.
    """
    for i in range(n_cells.shape[0]):
        for j in range(n_cells.shape[1]):
            a, b = np.float64(n_cells[i, j]), np.float64(more[i, j])
            if b == 0:
                continue
            spread[i, j] += np.float64(more_spread[i, j])
            if a > 0:
                gap = np.float64(more_total[i, j]) / b - total[i, j] / a
                spread[i, j] += gap * gap * (a * b / (a + b))
            n_cells[i, j] += np.int32(b)


@compiled({"contract", "nsz"})
def scatter(
    values: np.ndarray, rows: np.ndarray, genes: np.ndarray, weight: np.float32, sums: np.ndarray
) -> None:
    """Add ``weight`` x values [rows, kept] to sums [genes, genes] at (rows, genes), in place."""
    for i in range(len(rows)):
        into, row = sums[rows[i]], values[i]
        for t in range(len(genes)):
            into[genes[t]] += weight * row[t]


@compiled({"contract", "nsz"})
def scatter_cell(
    values: np.ndarray,
    rows: np.ndarray,
    genes: np.ndarray,
    n_tokens: np.float32,
    total: np.ndarray,
    lift: np.ndarray,
) -> None:
    """Add a cell's probability and logit [2, rows, kept] at (rows, genes), in place.

    Parameters
    ----------
    total
        [2, genes, genes] float32: probability, logit.
    lift
        [genes, genes] float32, to which the probability times ``n_tokens`` is added; or no rows.
    """
    for i in range(len(rows)):
        at = rows[i]
        probability, logit = values[0, i], values[1, i]
        into, into_logit = total[0, at], total[1, at]
        if len(lift):
            more = lift[at]
            for t in range(len(genes)):
                g = genes[t]
                into[g] += probability[t]
                into_logit[g] += logit[t]
                more[g] += n_tokens * probability[t]
        else:
            for t in range(len(genes)):
                g = genes[t]
                into[g] += probability[t]
                into_logit[g] += logit[t]


@compiled()
def fold(total: np.ndarray, lift: np.ndarray, n_tokens: np.float32, sums: np.ndarray) -> None:
    """Add a block's float32 sums of a micro-batch to the float64 accumulator, read once.

    Parameters
    ----------
    total
        [2, rows, genes] float32: probability, logit.
    lift
        [rows, genes] float32; without rows: the probability times ``n_tokens``.
    sums
        [3, rows, genes] float64: probability, lift, logit; added to.
    """
    for i in range(total.shape[1]):
        probability, logit = total[0, i], total[1, i]
        into = sums[1, i]
        if len(lift):
            more = lift[i]
            for j in range(len(into)):
                into[j] += np.float64(more[j])
        else:
            for j in range(len(into)):
                into[j] += np.float64(probability[j] * n_tokens)
        into = sums[0, i]
        for j in range(len(into)):
            into[j] += np.float64(probability[j])
        into = sums[2, i]
        for j in range(len(into)):
            into[j] += np.float64(logit[j])
