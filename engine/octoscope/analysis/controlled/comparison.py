"""One list of pairs against the network, with and without the control for co-expression."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy

from octoscope.analysis import donor_jackknife, statistics
from octoscope.analysis.controlled import mantel_haenszel as mh
from octoscope.analysis.controlled.bins import REFINEMENTS, USED
from octoscope.analysis.controlled.control_strata import HALVES
from octoscope.analysis.controlled.observed_expected import FittedLadder, Ratio
from octoscope.analysis.controlled.spline_logistic import SampledPairs, spline_odds_ratio
from octoscope.analysis.controlled.universe import Universe

BALANCED = 0.03  # standard deviations; the verdict refuses 0.1
SMALLEST_EXCESS = 1.1  # of OR1 over the bound: strata of finite width leave some per cent


@dataclass(frozen=True)
class Comparison:
    """A list of pairs under one control.

    Attributes
    ----------
    n_pairs, n_edges
        Listed pairs of the universe, and those that an edge joins.
    or0, or1
        Odds ratio of being an edge, controlled for degree and expression level, and also for
        co-expression.
    or1_halves
        The same with co-expression of one half of the cells, for either half; logarithms.
    refinement
        By refinement of the co-expression bins: log odds ratio, standardised mean difference of
        co-expression within strata, share of listed pairs with another pair in their stratum.
    reliability, reliability_list
        Of the control over all pairs and over the list.
    balance
        [3] standardised mean differences within strata: control, log degree, expression level.
    positivity, positivity_edges
        Shares of listed pairs, and of listed edges, with another pair in their stratum.
    ladder
        Expected share of edges among the listed pairs: all pairs of the universe, pairs of like
        degree, also of like level, also of like co-expression (see :attr:`comparable_rate`).
    ratios
        Observed over expected edges by models with gene effects, in the order of ``RUNGS``; empty:
        none were fitted.
    spline
        Odds ratio by logistic regression on splines of the controls; None: no pairs were sampled.
    p_hypergeometric
        Chance of as many edges among as many random pairs. It describes: pairs that share a vertex
        depend on each other, and nothing is controlled.
    """

    n_pairs: int
    n_edges: int
    or0: mh.OddsRatio
    or1: mh.OddsRatio
    or1_halves: tuple[float, float]
    refinement: dict[str, tuple[float, float, float]]
    reliability: float
    reliability_list: float
    balance: np.ndarray
    positivity: float
    positivity_edges: float
    ladder: tuple[float, float, float, float]
    ratios: tuple[Ratio, ...] = ()
    spline: mh.OddsRatio | None = None
    p_hypergeometric: float = float("nan")

    @property
    def degrees_of_freedom(self) -> int:
        """Of the intervals: one less than the listed edges, which are what is few."""
        return self.n_edges - 1

    @property
    def comparable_rate(self) -> float:
        """Share of edges among the listed pairs with another pair in their stratum.

        The last rung of the ladder is of these alone. Pairs without another one are those of the
        strongest co-expression, and have the most edges.
        """
        if not self.positivity > 0:
            return float("nan")
        of_edges = self.positivity_edges if self.n_edges else 0.0
        return self.n_edges * of_edges / (self.n_pairs * self.positivity)

    @property
    def or1_half(self) -> float:
        """Mean log odds ratio with co-expression of half of the cells."""
        return float(np.mean(self.or1_halves))

    @property
    def or1_extrapolated(self) -> float:
        """Log odds ratio for infinitely many cells, if its error falls as one over their number."""
        return 2 * self.or1.log - self.or1_half

    @property
    def or1_corrected(self) -> mh.OddsRatio:
        """Odds ratio after control, corrected for measurement error of co-expression.

        Let attention and edges follow co-expression in a linear normal model. Then log OR1 falls
        from log OR0 (reliability 0) to the true value (reliability 1) in proportion to the
        reliability rho. So the true value is (log OR1 - (1 - rho) log OR0) / rho. OR0 and OR1 are
        of the same list, and OR0 is the sharper one. So their covariance is taken as the variance
        of log OR0 (Hausman 1978). NaN where the reliability is not known or not above 0.
        """
        rho = min(self.reliability, 1.0)
        if not rho > 0:
            return mh.OddsRatio(float("nan"))
        return mh.OddsRatio(
            (self.or1.log - (1 - rho) * self.or0.log) / rho,
            _corrected_se(self.or0.se, self.or1.se, rho),
            _corrected_se(self.or0.donor_se, self.or1.donor_se, rho),
            self.or1.donor_groups,
        )

    @property
    def bound(self) -> float:
        """What measurement error of co-expression can leave: max(1, OR0)^(1 - reliability).

        For attention that depends on true co-expression alone and a linear normal model, the
        share 1 - reliability of the covariance with edges is left after control for measured
        co-expression.
        """
        rho = min(max(self.reliability, 0.0), 1.0)
        return float(np.exp(max(self.or0.log, 0.0) * (1 - rho)))

    @property
    def least(self) -> float:
        """What an odds ratio must exceed: the bound, and what strata of finite width can leave."""
        return SMALLEST_EXCESS * self.bound

    @property
    def p(self) -> float:
        """One-sided p-value of an odds ratio after control above :attr:`least`.

        An odds ratio above 1 is no evidence where error in co-expression can leave as much: with
        600 sparse cells two thirds of the lists that follow co-expression alone have one. Nor is
        one that strata of finite width can leave: with 960 genes half of the lists of key hubs
        have a p of an odds ratio above the bound alone of at most 0.05.
        """
        return self.or1.p(self.degrees_of_freedom, self.least)

    @property
    def or1_low_at_bound(self) -> float:
        """Lower limit of the odds ratio after control if error leaves as much as the bound."""
        return self.or1.interval(self.degrees_of_freedom)[0] / self.bound


@dataclass(frozen=True)
class WithoutDonors:
    """The list of a matrix without each group of donors.

    Attributes
    ----------
    donors
        Donors in each group.
    lists
        Vertices (u, v) of the listed pairs, of each group; as ``u`` and ``v`` of :func:`compare`.
    """

    donors: Sequence[int]
    lists: Sequence[tuple[np.ndarray, np.ndarray]]

    def shortened(self, k: int) -> WithoutDonors:
        """Return the first ``k`` pairs of each list."""
        return replace(self, lists=[(u[:k], v[:k]) for u, v in self.lists])


def compare(
    universe: Universe,
    u: np.ndarray,
    v: np.ndarray,
    without: WithoutDonors | None = None,
    fitted: FittedLadder | None = None,
    sampled: SampledPairs | None = None,
) -> Comparison:
    """Compare listed pairs with the network under a control.

    Parameters
    ----------
    u, v
        [pairs] vertices of distinct unordered pairs of the universe that were looked up.
    without
        The lists without each group of donors, for the second standard error; the control stays
        that of all donors.
    fitted
        Models with gene effects, for ``ratios``.
    sampled
        Other pairs that the universe knows, for ``spline``.
    """
    universe = balanced(universe, u, v)
    strata, counts = universe.strata, universe.counts
    edge = universe.pairs.adjacency[u, v]
    groups = universe.group[np.stack([u, v])]
    values, base = universe.values_at(u, v), strata.base(u, v)
    control = values[2].astype(np.float64)
    covariates = np.stack([control, strata.degrees(u, v), strata.levels(u, v)])
    grouped = {name: mh.ListedStrata.of(strata.of(name, values, base), edge) for name in counts}
    used, of_base = grouped[USED], mh.ListedStrata.of(base, edge)
    positivity, of_edges, expected = mh.comparable(used, counts[USED])
    refinement = {}
    for name in REFINEMENTS:
        at, table = grouped[name], counts[name]
        refinement[name] = (
            mh.odds_ratio(at, table),
            float(mh.balance(at, covariates[:1], table, universe.deviations)[0]),
            mh.comparable(at, table)[0],
        )
    halves = [mh.odds_ratio(grouped[half], counts[half]) for half in HALVES]
    or0 = mh.with_error(of_base, universe.base, groups)
    or1 = mh.with_error(used, counts[USED], groups)
    if without is not None:
        or0, or1 = _over_donors(universe, or0, or1, without)
    of_list = statistics.plain_correlation(*values[:2].astype(np.float64))
    return Comparison(
        len(u), int(edge.sum()), or0, or1, (halves[0], halves[1]), refinement,
        universe.reliability, statistics.spearman_brown(of_list),
        mh.balance(used, covariates, counts[USED], universe.deviations),
        positivity, of_edges,
        (*_ladder(universe, of_base, base), expected),
        () if fitted is None else fitted.ratios(u, v),
        None if sampled is None else spline_odds_ratio(universe, u, v, sampled),
        float(scipy.stats.hypergeom.sf(
            edge.sum() - 1, universe.pairs.n_pairs, universe.pairs.n_edges, len(u)
        )),
    )  # fmt: skip


def balanced(universe: Universe, u: np.ndarray, v: np.ndarray) -> Universe:
    """Return the universe in the fewest strata within which listed and other pairs are alike.

    Many small strata leave listed pairs without another pair, and widen intervals. So the first
    of the coarser strata is taken within which degree and expression level of listed pairs lie at
    most ``BALANCED`` standard deviations from those of the others; if there is none, the narrowest
    strata. The choice looks at the list and at the controls, and never at an edge.

    Parameters
    ----------
    u, v
        [pairs] vertices of the listed pairs.
    """
    no_edge, values = np.zeros(len(u), bool), universe.values_at(u, v)
    for coarse in universe.coarser:
        strata, counts = coarse.strata, coarse.counts[USED]
        grouped = mh.ListedStrata.of(strata.of(USED, values, strata.base(u, v)), no_edge)
        covariates = np.stack([values[2], strata.degrees(u, v), strata.levels(u, v)])
        differences = mh.balance(grouped, covariates, counts, universe.deviations)
        if (np.abs(differences[1:]) <= BALANCED).all():
            return coarse
    return universe


def narrowest(universe: Universe, lists: Iterable[tuple[np.ndarray, np.ndarray]]) -> Universe:
    """Return the universe in the coarsest strata that balance every list, see :func:`balanced`."""
    chosen = {id(balanced(universe, u, v)) for u, v in lists}
    ways = [way for way in (*universe.coarser, universe) if id(way) in chosen]
    return ways[-1] if ways else universe


def _over_donors(
    universe: Universe, or0: mh.OddsRatio, or1: mh.OddsRatio, without: WithoutDonors
) -> tuple[mh.OddsRatio, mh.OddsRatio]:
    """Add the standard error of the delete-a-group jackknife over donors to both odds ratios."""
    logs = np.empty((len(without.lists), 2))
    for row, (u, v) in zip(logs, without.lists, strict=True):
        edge, base = universe.pairs.adjacency[u, v], universe.strata.base(u, v)
        used = universe.strata.of(USED, universe.values_at(u, v), base)
        row[:] = (
            mh.odds_ratio(mh.ListedStrata.of(base, edge), universe.base),
            mh.odds_ratio(mh.ListedStrata.of(used, edge), universe.counts[USED]),
        )
    every = np.ones(logs.shape, bool)  # a group that changes no pair of the list counts as well
    whole = np.array([or0.log, or1.log])
    error = donor_jackknife.standard_error(whole, logs, every, np.array(without.donors))
    n = len(logs)
    return (
        replace(or0, donor_se=float(error[0]), donor_groups=n),
        replace(or1, donor_se=float(error[1]), donor_groups=n),
    )


def _corrected_se(se0: float, se1: float, rho: float) -> float:
    """Return the standard error of (log OR1 - (1 - rho) log OR0) / rho."""
    return float(np.sqrt(se0**2 + max(se1**2 - se0**2, 0.0) / rho**2))


def held_out(universe: Universe, u: np.ndarray, v: np.ndarray) -> Comparison:
    """Compare a list that was made from half 1 of the control, controlled by half 0.

    What a second measurement of co-expression keeps after control for the first; of its odds ratio
    there is no interval.
    """
    c = compare(universe, u, v)
    return replace(c, or1=mh.OddsRatio(c.or1_halves[0]))


def _ladder(
    universe: Universe, of_base: mh.ListedStrata, base: np.ndarray
) -> tuple[float, float, float]:
    n_levels = universe.strata.n_levels
    by_degree = mh.StratumCounts(
        universe.base.pairs.reshape(-1, n_levels).sum(1),
        universe.base.edges.reshape(-1, n_levels).sum(1),
        *(np.zeros(0) for _ in range(4)),
    )
    n = universe.pairs.n_pairs
    return (
        universe.pairs.n_edges / n if n else float("nan"),
        mh.comparable(mh.ListedStrata.of(base // n_levels, of_base.edge), by_degree)[2],
        mh.comparable(of_base, universe.base)[2],
    )
