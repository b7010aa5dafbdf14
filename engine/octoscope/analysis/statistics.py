"""Statistics for pairs that share genes: permutations of gene labels and gene jackknives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy
from scipy.sparse import csr_array

from octoscope.analysis.intervals import jackknife_interval
from octoscope.analysis.kernels import add_by_column, add_by_row, add_moments
from octoscope.analysis.partner_strata import PartnerStrata
from octoscope.jit import compiled

_FEW = 20  # one pair in so many: little enough to be listed


@dataclass(frozen=True)
class PairMoments:
    """Moments of (x, y) over pairs, with the part that touches each gene.

    Attributes
    ----------
    total
        [6] float64: n, sum x, sum y, sum xx, sum yy, sum xy.
    by_gene
        [6, genes] float64: the same over pairs that the gene takes part in.
    """

    total: np.ndarray
    by_gene: np.ndarray

    @classmethod
    def zero(cls, n_genes: int) -> PairMoments:
        """Return the identity of :meth:`add`."""
        return cls(np.zeros(6), np.zeros((6, n_genes)))

    def add(
        self,
        first_row: int,
        x: np.ndarray,
        y: np.ndarray,
        use: np.ndarray,
        effects: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        """Add rows; ``x, y, use`` are [rows, genes]; the diagonal is left out by the caller.

        ``effects``: of rows and of columns, each [2, genes], subtracted from x and y.
        """
        rows, columns = np.zeros((2, 2, x.shape[1])) if effects is None else effects
        add_moments(x, y, use, first_row, rows, columns, self.total, self.by_gene)


def _pearson(m: np.ndarray) -> np.ndarray:
    """Correlation from moments [6, ...]; NaN where undefined."""
    n, sx, sy, sxx, syy, sxy = m
    with np.errstate(divide="ignore", invalid="ignore"):
        vx, vy = sxx - sx * sx / n, syy - sy * sy / n
        # moments lose digits by cancellation: a variance below rounding is no variance
        ok = (n > 2) & (vx > 1e-12 * sxx) & (vy > 1e-12 * syy)
        return np.where(ok, (sxy - sx * sy / n) / np.sqrt(vx * vy), np.nan)


def correlation(moments: PairMoments) -> tuple[float, float, float]:
    """Return Pearson's r over pairs and its 95 % interval from a delete-one-gene jackknife.

    Pairs that share a gene are dependent, so genes are deleted, not pairs
    (Efron and Tibshirani 1993, ch. 11); on Fisher's z, so that the interval stays below 1.
    """
    r = float(_pearson(moments.total))
    used = moments.by_gene[0] > 0
    left_out = _pearson(moments.total[:, None] - moments.by_gene[:, used])
    low, high = jackknife_interval(_fisher(np.float64(r)), _fisher(left_out))
    return r, float(np.tanh(low)), float(np.tanh(high))


def plain_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Return Pearson's r of [pairs] float64 without an interval; NaN where undefined."""
    if len(x) < 3:
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    return float(_pearson(np.array([len(x), x.sum(), y.sum(), x @ x, y @ y, x @ y])))


def sums_by_gene(
    values: np.ndarray, query: np.ndarray, key: np.ndarray, n_genes: int
) -> np.ndarray:
    """Return [genes] sums of [pairs] values over the pairs of a gene on either side."""
    return np.bincount(query, values, n_genes) + np.bincount(key, values, n_genes)


def pair_correlation(
    x: np.ndarray, y: np.ndarray, query: np.ndarray, key: np.ndarray, n_genes: int
) -> tuple[float, float, float]:
    """Return Pearson's r over listed pairs and its interval, deleting one gene at a time.

    Parameters
    ----------
    x, y
        [pairs] float64, no NaN.
    query, key
        [pairs] genes of each pair.
    """
    if len(x) < 3:
        return float("nan"), float("nan"), float("nan")
    x, y = x - x.mean(), y - y.mean()  # centred, so that moments keep their digits
    parts = np.stack([np.ones(len(x)), x, y, x * x, y * y, x * y])
    by_gene = np.stack([sums_by_gene(p, query, key, n_genes) for p in parts])
    return correlation(PairMoments(parts.sum(1), by_gene))


def _fisher(r: np.ndarray | np.float64) -> np.ndarray:
    """Fisher's z; correlations of 1 to rounding stay finite."""
    return np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12))


def rate_interval(
    hits: float, total: float, without: tuple[np.ndarray, np.ndarray]
) -> tuple[float, float]:
    """Return the 95 % jackknife interval of a rate, on the arcsine scale: it stays in [0, 1].

    Parameters
    ----------
    without
        Hits and totals with one gene deleted, each [genes].
    """

    def angle(h: np.ndarray | float, n: np.ndarray | float) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = np.where(np.asarray(n) > 0, np.divide(h, n), np.nan)
        return np.arcsin(np.sqrt(np.clip(rate, 0, 1)))

    if not total:
        return float("nan"), float("nan")
    ends = jackknife_interval(angle(hits, total), angle(*without))
    low, high = np.sin(np.clip(ends, 0, np.pi / 2)) ** 2
    return float(low), float(high)


def pair_rate_interval(
    i: np.ndarray, j: np.ndarray, score: np.ndarray, n_genes: int
) -> tuple[float, float]:
    """Return the interval of the mean score in [0, 1] of pairs, deleting one gene at a time.

    Parameters
    ----------
    i, j
        [pairs] genes of each pair.
    score
        [pairs] float64.
    """
    pairs = np.bincount(i, minlength=n_genes) + np.bincount(j, minlength=n_genes)
    scores = np.bincount(i, score, n_genes) + np.bincount(j, score, n_genes)
    used = pairs > 0
    total = float(score.sum())
    return rate_interval(total, len(i), (total - scores[used], len(i) - pairs[used]))


def dyadic_variance(influence: np.ndarray, u: np.ndarray, v: np.ndarray) -> float:
    """Return the variance of a sum over pairs where two pairs that share a vertex depend.

    Sum over vertices of (sum of their pairs)^2, less the squares of all pairs, which are counted at
    both ends (Aronow, Samii, Assenova 2015); at least that of independent pairs.

    Parameters
    ----------
    influence
        [pairs] what each adds.
    u, v
        [pairs] vertices of distinct pairs.
    """
    by_vertex = np.bincount(np.concatenate([u, v]), np.concatenate([influence, influence]))
    alone = float((influence**2).sum())
    return max(float((by_vertex**2).sum()) - alone, alone)


def additive_fit(
    use: np.ndarray, row_sums: np.ndarray, col_sums: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit x_ij = r_i + c_j by least squares over the pairs in use (two-way layout with gaps).

    Plain row and column means leave part of the gene effects behind wherever a pair is missing
    (the diagonal always is), and both halves share that rest.

    Parameters
    ----------
    use
        [rows, columns] bool.
    row_sums, col_sums
        Sums of x over the pairs in use.

    Returns
    -------
    tuple of ndarray
        r [rows] and c [columns], by alternating exact updates until they stand still.
    """
    n_rows, n_cols = np.maximum(use.sum(1), 1), np.maximum(use.sum(0), 1)
    over_columns, over_rows = _masked_sums(use)
    r, c = np.zeros(len(row_sums)), np.zeros(len(col_sums))
    scale = np.abs(row_sums / n_rows).max(initial=0) + 1e-300
    for _ in range(500):
        r = (row_sums - over_columns(c)) / n_rows
        new = (col_sums - over_rows(r)) / n_cols
        moved, c = np.abs(new - c).max(initial=0), new
        if moved < 1e-9 * scale:
            break
    return r, c


Sums = Callable[[np.ndarray], np.ndarray]


def _masked_sums(use: np.ndarray) -> tuple[Sums, Sums]:
    """Return functions that sum values by row, and by column, over pairs in use.

    If few pairs are left out (mostly only the diagonal), these are subtracted. Otherwise the mask
    is read each time: a sparse matrix of half the pairs would take twelve times its bytes.
    """
    if _FEW * (use.size - np.count_nonzero(use)) <= use.size:
        out = csr_array(~use, dtype=np.float64)
        turned = out.T.tocsr()
        return lambda v: v.sum() - out @ v, lambda v: v.sum() - turned @ v

    def over_columns(v: np.ndarray) -> np.ndarray:
        sums = np.zeros(len(use))
        add_by_row(use, v, sums)
        return sums

    def over_rows(v: np.ndarray) -> np.ndarray:
        sums = np.zeros(use.shape[1])
        add_by_column(use, v, sums)
        return sums

    return over_columns, over_rows


def permutation_p(observed: float, null: np.ndarray) -> float:
    """Return the one-sided p = (1 + b) / (1 + B) of large values (Phipson and Smyth 2010)."""
    null = null[~np.isnan(null)]
    if np.isnan(observed) or not len(null):
        return float("nan")
    return float((1 + (null >= observed - 1e-12).sum()) / (1 + len(null)))


def permute_until_reached(
    permute: Callable[[int, int], np.ndarray],
    observed: float | np.ndarray,
    permutations: int,
    more: int,
    seed: int,
) -> np.ndarray:
    """Return a null distribution, with more permutations where a p-value would be at its floor.

    If no permutation of the first stage reaches the observed value, the p-value is that of all
    permutations, otherwise that of the first stage. So it stays valid.

    Parameters
    ----------
    permute
        Called with a number of permutations and a seed; returns [permutations] or
        [permutations, tests].
    observed
        Value of one test, or [tests]; large values are of interest.
    permutations, more
        Permutations of the first stage, and the factor by which they increase in all where one of
        the tests has none that reaches the observed value.
    """
    null = permute(permutations, seed)
    reached = (null >= np.asarray(observed) - 1e-12).any(0) | np.isnan(observed)
    if more > 1 and not np.all(reached):
        null = np.concatenate([null, permute(permutations * (more - 1), seed + 1)])
    return null


def n_permutations_of(null: np.ndarray) -> int:
    """Return the number of known permutations of a null: those that a p-value counts."""
    return int(np.count_nonzero(~np.isnan(null)))


def adjust(p: np.ndarray) -> np.ndarray:
    """Return Benjamini-Hochberg q-values; NaN entries stay and do not count as tests."""
    q = np.full(len(p), np.nan)
    known = ~np.isnan(p)
    if known.any():
        q[known] = scipy.stats.false_discovery_control(p[known])
    return q


def adjust_by(table: pd.DataFrame, family: list[str], p: str = "p") -> np.ndarray:
    """Return q-values of a table's column, adjusted over each group of equal ``family`` columns."""
    q = np.full(len(table), np.nan)
    if len(table):
        for _, rows in table.groupby(family, sort=False).indices.items():
            q[rows] = adjust(table[p].to_numpy(float)[rows])
    return q


def with_half_q(stats: pd.DataFrame, family: list[str]) -> pd.DataFrame:
    """Return a table of statistics with ``half_q``, after ``half_p``, adjusted over the family."""
    at = list(stats.columns).index("half_p") + 1
    columns = [*stats.columns[:at], "half_q", *stats.columns[at:]]
    return stats.assign(half_q=adjust_by(stats, family, "half_p"))[columns]


def known_mean(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the mean over an axis of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis)
    return np.where(known.any(axis), total / np.maximum(known.sum(axis), 1), np.nan)


def qap_correlations(
    x: np.ndarray, y: np.ndarray, use_x: np.ndarray, use_y: np.ndarray, n: int, seed: int
) -> np.ndarray:
    """Return [n] correlations of x with y after one permutation on y's rows and columns.

    A permutation maps genes to genes with a like number of pairs in use in x.

    Parameters
    ----------
    x, y
        [genes, genes]; the diagonal must not be in use.
    use_x, use_y
        [genes, genes] bool.
    """
    rng, strata = np.random.default_rng(seed), PartnerStrata(np.count_nonzero(use_x, axis=1))
    out = np.empty(n)
    # zeros outside use, and centred values: sums over a mask become plain products
    u, v = use_x.astype(np.float64), use_y.astype(np.float64)
    x = np.where(use_x, x - x[use_x].mean() if use_x.any() else 0.0, 0.0)
    y = np.where(use_y, y - y[use_y].mean() if use_y.any() else 0.0, 0.0)
    for b in range(n):
        out[b] = _pearson(_permuted_moments(x, y, u, v, strata.permutation(rng)))
    return out


@compiled()
def _permuted_moments(
    x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray, p: np.ndarray
) -> np.ndarray:
    """Return [6] moments of x and y[p][:, p] over pairs used by both; no copy of y is made."""
    total = np.zeros(6)
    for i in range(len(p)):
        row = np.zeros(6)
        of_y, of_v = y[p[i]], v[p[i]]
        for j in range(len(p)):
            a, b = x[i, j], of_y[p[j]]
            used_x, used_y = u[i, j], of_v[p[j]]
            row[0] += used_x * used_y
            row[1] += a * used_y
            row[2] += used_x * b
            row[3] += a * a * used_y
            row[4] += used_x * b * b
            row[5] += a * b
        total += row
    return total


def null_range(null: np.ndarray) -> tuple[float, float]:
    """Return the central 95 % of a null distribution; NaN when empty."""
    null = null[~np.isnan(null)]
    if not len(null):
        return float("nan"), float("nan")
    low, high = np.quantile(null, [0.025, 0.975])
    return float(low), float(high)


def spearman_brown(r: float) -> float:
    """Return the reliability of the whole from the correlation of its halves, 2r / (1 + r)."""
    return float("nan") if np.isnan(r) or r <= -1 else 2 * r / (1 + r)
