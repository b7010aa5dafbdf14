"""The common odds ratio of Mantel and Haenszel over strata, with its standard error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from octoscope.analysis.controlled.counting import deleted_odds_ratios


@dataclass(frozen=True)
class StratumCounts:
    """Pairs of the universe by stratum.

    Attributes
    ----------
    pairs, edges
        [strata] int64.
    sums
        [3, strata] float64: co-expression, log degree and expression level of these pairs; 0 in the
        tables of halves.
    slot
        [strata] row of each stratum in the tables by group, -1: it has none.
    pairs_of, edges_of
        [slots, groups] int32: of the pairs that a jackknife group takes part in.
    """

    pairs: np.ndarray
    edges: np.ndarray
    sums: np.ndarray
    slot: np.ndarray
    pairs_of: np.ndarray
    edges_of: np.ndarray


@dataclass(frozen=True)
class ListedStrata:
    """A list's pairs by stratum, grouped once for all that is asked of them.

    Attributes
    ----------
    strata
        [strata] distinct strata that hold a listed pair.
    row
        [pairs] place of each pair's stratum in ``strata``.
    edge
        [pairs] whether an edge joins it.
    listed, hits
        [strata] listed pairs, and those that an edge joins.
    """

    strata: np.ndarray
    row: np.ndarray
    edge: np.ndarray
    listed: np.ndarray
    hits: np.ndarray

    @classmethod
    def of(cls, stratum: np.ndarray, edge: np.ndarray) -> ListedStrata:
        """Group [pairs] strata."""
        strata, row = np.unique(stratum, return_inverse=True)
        row = row.reshape(-1)
        listed = np.bincount(row, minlength=len(strata))
        return cls(strata, row, edge, listed, np.bincount(row[edge], minlength=len(strata)))


@dataclass(frozen=True)
class OddsRatio:
    """A log odds ratio with its standard errors; NaN where undefined.

    Attributes
    ----------
    se
        With vertices deleted in turn.
    donor_se, donor_groups
        With groups of donors deleted in turn, and how many there are; NaN and 0: not known.
    """

    log: float
    se: float = float("nan")
    donor_se: float = float("nan")
    donor_groups: int = 0

    @property
    def value(self) -> float:
        """The odds ratio."""
        return float(np.exp(self.log))

    @property
    def largest_se(self) -> float:
        """The larger of both standard errors."""
        return float(np.fmax(self.se, self.donor_se))

    def interval(self, freedom: int) -> tuple[float, float]:
        """Return the ends of the 95 % interval: that of vertices or of donors, the wider one.

        Parameters
        ----------
        freedom
            Degrees of freedom of Student's t, of vertices.
        """
        half = np.fmax(_quantile(freedom) * self.se, self._half_of_donors)
        half = half if self.se >= 0 else float("nan")
        return float(np.exp(self.log - half)), float(np.exp(self.log + half))

    def donor_interval(self) -> tuple[float, float]:
        """Return the ends of the 95 % interval over groups of donors."""
        half = self._half_of_donors
        return float(np.exp(self.log - half)), float(np.exp(self.log + half))

    def p(self, freedom: int, above: float = 1.0) -> float:
        """Return the one-sided p-value of an odds ratio above ``above``: the larger of both.

        NaN where the odds ratio, its error or ``above`` is unknown.
        """
        gap = self.log - float(np.log(above))
        if not self.se > 0 or np.isnan(gap):
            return float("nan")
        of_vertices = float(scipy.stats.t.sf(gap / self.se, max(freedom, 1)))
        if not self.donor_se > 0:
            return of_vertices
        of_donors = scipy.stats.t.sf(gap / self.donor_se, max(self.donor_groups - 1, 1))
        return max(of_vertices, float(of_donors))

    @property
    def _half_of_donors(self) -> float:
        return _quantile(self.donor_groups - 1) * self.donor_se


def _quantile(freedom: int) -> float:
    return float(scipy.stats.t.ppf(0.975, max(freedom, 1)))


def odds_ratio(x: ListedStrata, counts: StratumCounts) -> float:
    """Return the log of sum(a d / n) / sum(b c / n) over strata (Mantel and Haenszel 1959)."""
    s = x.strata
    cells = _cells(x.listed, x.hits, counts.pairs[s], counts.edges[s])
    above, below = _terms(np.stack(cells)).sum(1)
    return float(np.log(above / below)) if above > 0 and below > 0 else float("nan")


def with_error(x: ListedStrata, counts: StratumCounts, groups_of: np.ndarray) -> OddsRatio:
    """Return the log odds ratio and its standard error by deleting groups of vertices.

    Deleting a vertex takes away all its pairs, so every pair is deleted twice, and what pairs vary
    on their own is counted twice; where strata are small, deleting pairs counts it twice again.
    What is left of the jackknife's variance without that of deleting single pairs (twice) is the
    covariance of pairs that share a vertex, as in the dyadic-robust variance of Aronow, Samii and
    Assenova (2015). The variance of independent pairs in strata of any size (Robins, Breslow,
    Greenland 1986) is added, and is the lower limit.

    Parameters
    ----------
    groups_of
        [2, listed pairs] jackknife group of either vertex.
    """
    log = odds_ratio(x, counts)
    s, row, edge, listed, hits = x.strata, x.row, x.edge, x.listed, x.hits
    n_groups = counts.pairs_of.shape[1]
    listed_of, hits_of = np.zeros((2, len(s), n_groups), np.int32)
    for end, g in enumerate(groups_of):
        new = np.ones(len(g), bool) if end == 0 else g != groups_of[0]
        np.add.at(listed_of, (row[new], g[new]), 1)
        np.add.at(hits_of, (row[new & edge], g[new & edge]), 1)
    slot = counts.slot[s]
    without = deleted_odds_ratios(
        listed, hits, counts.pairs[s], counts.edges[s],
        listed_of, hits_of, counts.pairs_of[slot], counts.edges_of[slot],
    )  # fmt: skip
    without = without[~np.isnan(without)]
    if len(without) < 3 or np.isnan(log):
        return OddsRatio(log)
    g = len(without)
    jackknife = (g - 1) / g * ((without - without.mean()) ** 2).sum()
    table = listed, hits, counts.pairs[s], counts.edges[s]
    of_pairs = pair_variance(*table)
    shared = jackknife - 2 * deleted_pairs_variance(*table)
    return OddsRatio(log, float(np.sqrt(of_pairs + max(shared, 0.0))))


def pair_variance(
    listed: np.ndarray, hits: np.ndarray, pairs: np.ndarray, edges: np.ndarray
) -> float:
    """Return the variance of the log odds ratio if pairs were independent (Robins et al. 1986)."""
    a, b, c, d = _cells(listed, hits, pairs, edges)
    p, q = (a + d) / pairs, (b + c) / pairs
    r, s = a * d / pairs, b * c / pairs
    above, below = r.sum(), s.sum()
    if not (above > 0 and below > 0):
        return float("nan")
    return float(
        (p * r).sum() / (2 * above**2)
        + (p * s + q * r).sum() / (2 * above * below)
        + (q * s).sum() / (2 * below**2)
    )


def deleted_pairs_variance(
    listed: np.ndarray, hits: np.ndarray, pairs: np.ndarray, edges: np.ndarray
) -> float:
    """Return the sum over pairs of the squared change of the log odds ratio without the pair."""
    cells = np.stack(_cells(listed, hits, pairs, edges))
    own = _terms(cells)
    above, below = own.sum(1)
    if not (above > 0 and below > 0):
        return float("nan")
    total = 0.0
    for i, n in enumerate(cells):  # a pair of each of the four cells, in every stratum
        rest = cells.copy()
        rest[i] -= 1
        a, b = _terms(rest) - own
        defined = (n > 0) & (above + a > 0) & (below + b > 0)
        change = np.log1p(a[defined] / above) - np.log1p(b[defined] / below)
        total += float((n[defined] * change**2).sum())
    return total


def _terms(cells: np.ndarray) -> np.ndarray:
    """Return [2, strata] a d / n and b c / n; 0 in an empty stratum."""
    a, b, c, d = cells
    n = np.maximum(cells.sum(0), 1)
    return np.stack([a * d / n, b * c / n])


def balance(
    x: ListedStrata, covariates: np.ndarray, counts: StratumCounts, deviations: np.ndarray
) -> np.ndarray:
    """Return [covariates] standardised mean differences of listed and other pairs within strata.

    Strata weigh as many pairs as the list has in them; those without another pair are left out.

    Parameters
    ----------
    covariates
        [3, listed pairs] co-expression, log degree, expression level; or the first of them.
    deviations
        [3] standard deviation of each over all pairs of the universe.
    """
    s, row, listed = x.strata, x.row, x.listed
    others = counts.pairs[s] - listed
    out = np.full(len(covariates), np.nan)
    use = others > 0
    if not use.any():
        return out
    for i, values in enumerate(covariates):
        total = np.bincount(row, values, len(s))
        gap = total[use] / listed[use] - (counts.sums[i, s] - total)[use] / others[use]
        mean = (listed[use] * gap).sum() / listed[use].sum()
        out[i] = mean / deviations[i] if deviations[i] > 0 else 0.0
    return out


def comparable(x: ListedStrata, counts: StratumCounts) -> tuple[float, float, float]:
    """Return shares of listed pairs and of listed edges with another pair in their stratum.

    Third: the edges expected among the listed pairs if they were like the other pairs of their
    strata (pairs without another one are left out), as a share of those pairs.
    """
    s, listed, hits = x.strata, x.listed, x.hits
    others = counts.pairs[s] - listed
    use = others > 0
    rate = (counts.edges[s] - hits)[use] / others[use]
    n, n_edges = listed.sum(), hits.sum()
    return (
        float(listed[use].sum() / n) if n else float("nan"),
        float(hits[use].sum() / n_edges) if n_edges else float("nan"),
        float((listed[use] * rate).sum() / listed[use].sum()) if use.any() else float("nan"),
    )


def _cells(
    listed: np.ndarray, hits: np.ndarray, pairs: np.ndarray, edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    a = hits.astype(np.float64)
    b, c = listed - a, edges - a
    return a, b, c, pairs - listed - c
