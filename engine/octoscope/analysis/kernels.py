"""Compiled passes over a block of a matrix: its sums are taken while each row is in cache.

Sums are float64 and taken in the order of pairs, so they are the same bits on any machine. Calls
release the GIL.
"""

from __future__ import annotations

import numpy as np

from octoscope.jit import compiled


@compiled()
def add_moments(
    x: np.ndarray,
    y: np.ndarray,
    use: np.ndarray,
    first: int,
    row_effects: np.ndarray,
    column_effects: np.ndarray,
    total: np.ndarray,
    by_gene: np.ndarray,
) -> None:
    """Add a block's pairs in use to the moments of (x, y), less the effects of row and column.

    Parameters
    ----------
    x, y
        [rows, genes] float; what is not in use may be anything.
    use
        [rows, genes] bool.
    first
        Gene of the first row.
    row_effects, column_effects
        [2, genes] float64, of x and of y.
    total
        [6] float64: n, sum x, sum y, sum xx, sum yy, sum xy; added to.
    by_gene
        [6, genes] float64: the same over the pairs of a gene on either side; added to.
    """
    n, of_x, of_y, of_xx, of_yy, of_xy = by_gene
    for i in range(x.shape[0]):
        xs, ys, used = x[i], y[i], use[i]
        r, s = row_effects[0, first + i], row_effects[1, first + i]
        m0 = m1 = m2 = m3 = m4 = m5 = 0.0
        for j in range(x.shape[1]):
            u = 1.0 if used[j] else 0.0
            a = np.float64(xs[j]) - r - column_effects[0, j] if used[j] else 0.0
            b = np.float64(ys[j]) - s - column_effects[1, j] if used[j] else 0.0
            n[j] += u
            of_x[j] += a
            of_y[j] += b
            of_xx[j] += a * a
            of_yy[j] += b * b
            of_xy[j] += a * b
            m0 += u
            m1 += a
            m2 += b
            m3 += a * a
            m4 += b * b
            m5 += a * b
        for m, value in enumerate((m0, m1, m2, m3, m4, m5)):
            total[m] += value
            by_gene[m, first + i] += value


def _add_sums(
    values: np.ndarray,
    use: np.ndarray,
    first: int,
    row_sums: np.ndarray,
    column_sums: np.ndarray,
) -> None:
    used = np.where(use, values, 0).astype(np.float64)
    row_sums[first : first + len(used)] += used.sum(1)
    column_sums += used.sum(0)


@compiled(fallback=_add_sums)
def add_sums(
    values: np.ndarray,
    use: np.ndarray,
    first: int,
    row_sums: np.ndarray,
    column_sums: np.ndarray,
) -> None:
    """Add a block's pairs in use to the sums of rows and columns, in place.

    Parameters
    ----------
    values, use
        [rows, genes] float and bool.
    row_sums, column_sums
        [genes] float64.
    """
    for i in range(values.shape[0]):
        line, used = values[i], use[i]
        row = 0.0
        for j in range(values.shape[1]):
            x = np.float64(line[j]) if used[j] else 0.0
            row += x
            column_sums[j] += x
        row_sums[first + i] += row


@compiled()
def add_row_and_column_sums(
    values: np.ndarray,
    eligible: np.ndarray,
    first: int,
    row_sums: np.ndarray,
    column_sums: np.ndarray,
    row_pairs: np.ndarray,
    column_pairs: np.ndarray,
) -> None:
    """Add a block's eligible pairs of different genes to sums and counts, in place.

    Parameters
    ----------
    values, eligible
        [rows, genes] float32 and bool.
    row_sums, column_sums
        [genes] float64.
    row_pairs, column_pairs
        [genes] int64.
    """
    for i in range(values.shape[0]):
        line, used = values[i], eligible[i]
        row, pairs = 0.0, 0
        for j in range(values.shape[1]):
            if used[j] and first + i != j:
                x = np.float64(line[j])
                row += x
                column_sums[j] += x
                pairs += 1
                column_pairs[j] += 1
        row_sums[first + i] += row
        row_pairs[first + i] += pairs


@compiled()
def take_larger(largest: np.ndarray, values: np.ndarray, by_size: bool) -> None:
    """Keep the larger of each pair's two values in ``largest``; both [pairs] float32.

    ``by_size``: the larger by absolute value.
    """
    if by_size:
        for i in range(len(largest)):
            x, y = largest[i], values[i]
            largest[i] = y if abs(y) > abs(x) else x
    else:
        for i in range(len(largest)):
            x, y = largest[i], values[i]
            largest[i] = y if y > x else x


@compiled()
def note_larger(
    largest: np.ndarray, values: np.ndarray, by_size: bool, shown: int, winner: np.ndarray
) -> None:
    """Do what :func:`take_larger` does, and put ``shown`` into winner [pairs] where it took."""
    for i in range(len(largest)):
        x, y = largest[i], values[i]
        if (abs(y) > abs(x)) if by_size else (y > x):
            largest[i] = y
            winner[i] = shown


def _add_by_row(use: np.ndarray, values: np.ndarray, sums: np.ndarray) -> None:
    sums += np.where(use, values, 0).sum(1)


def _add_by_column(use: np.ndarray, values: np.ndarray, sums: np.ndarray) -> None:
    sums += np.where(use, values[:, None], 0).sum(0)


@compiled(fallback=_add_by_row)
def add_by_row(use: np.ndarray, values: np.ndarray, sums: np.ndarray) -> None:
    """Add to sums [rows] the values [columns] of each row's pairs in use [rows, columns]."""
    for i in range(use.shape[0]):
        total, used = 0.0, use[i]
        for j in range(use.shape[1]):
            total += values[j] if used[j] else 0.0
        sums[i] += total


@compiled(fallback=_add_by_column)
def add_by_column(use: np.ndarray, values: np.ndarray, sums: np.ndarray) -> None:
    """Add to sums [columns] the values [rows] of each column's pairs in use [rows, columns]."""
    for i in range(use.shape[0]):
        value, used = values[i], use[i]
        for j in range(use.shape[1]):
            sums[j] += value if used[j] else 0.0


def _count_permuted(
    bins: np.ndarray,
    starts: np.ndarray,
    keys: np.ndarray,
    goes_to: np.ndarray,
    comes_from: np.ndarray,
    counts: np.ndarray,
) -> None:
    for gene, of_permutation in zip(goes_to, counts, strict=True):
        queries = np.repeat(gene, np.diff(starts))
        of_permutation += np.bincount(bins[queries, gene[keys]], minlength=len(of_permutation))


@compiled(fallback=_count_permuted)
def count_permuted(
    bins: np.ndarray,
    starts: np.ndarray,
    keys: np.ndarray,
    goes_to: np.ndarray,
    comes_from: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Add pairs of relabelled genes to the counts of their bins, in place.

    Parameters
    ----------
    bins
        [genes, genes] uint16.
    starts, keys
        [genes + 1] int64 and [pairs] int32: the keys of each query, one query after the other.
    goes_to, comes_from
        [permutations, genes] int64: where each gene goes, and which gene comes to each position.
    counts
        [permutations, bins] int64.
    """
    for row in range(len(bins)):
        line = bins[row]  # stays in cache: a permutation by itself reads the whole matrix
        for permutation in range(len(goes_to)):
            gene, of_permutation = goes_to[permutation], counts[permutation]
            query = comes_from[permutation, row]
            for pair in range(starts[query], starts[query + 1]):
                of_permutation[line[gene[keys[pair]]]] += 1
