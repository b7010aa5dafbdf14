"""A second estimate of the controlled odds ratio: logistic regression on splines of the controls.

A sensitivity check, and no part of the verdict: its p-values are too small where co-expression is
sharp. See docs/explanation/verdict.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy
from scipy.interpolate import BSpline

from octoscope.analysis import statistics
from octoscope.analysis.controlled.mantel_haenszel import OddsRatio
from octoscope.analysis.controlled.universe import Universe
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.pairs import pair_codes

SAMPLED = 20_000  # edges, and as many other pairs
_KNOTS = (0.01, 0.1, 0.5, 0.9, 0.99)  # quantiles of co-expression; its tails matter
_FEW_KNOTS = (0.1, 0.5, 0.9)  # of log degree and of the expression level
_RIDGE = 0.1  # of the splines: without it, those of pairs without an edge run away


@dataclass(frozen=True)
class SampledPairs:
    """Some edges and some other pairs, each drawn alike from all of their kind.

    Attributes
    ----------
    u, v
        [pairs] vertices, the smaller one first; distinct.
    """

    u: np.ndarray
    v: np.ndarray

    @classmethod
    def of(cls, pairs: VertexPairs, seed: int, most: int = SAMPLED) -> SampledPairs:
        """Draw up to ``most`` edges and as many other pairs; all of them if there are no more."""
        rng = np.random.default_rng([seed, 7])
        edges = _drawn(rng, pairs.degree, lambda i: pairs.eligible[i] & pairs.adjacency[i], most)
        others = _drawn(
            rng, pairs.partners - pairs.degree,
            lambda i: pairs.eligible[i] & ~pairs.adjacency[i], most,
        )  # fmt: skip
        u, v = np.concatenate([edges, others], 1)
        return cls(u, v)


def _drawn(
    rng: np.random.Generator,
    of_vertex: np.ndarray,
    partners: Callable[[int], np.ndarray],
    most: int,
) -> np.ndarray:
    """Return [2, pairs] distinct pairs; every pair stands in the rows of both of its vertices."""
    ends = np.cumsum(of_vertex)
    total = int(ends[-1]) if len(ends) else 0
    at = np.arange(total) if total <= 2 * most else np.unique(rng.integers(0, total, most))
    row = np.searchsorted(ends, at, side="right")  # ascending
    position = at - (ends - of_vertex)[row]
    column = np.empty_like(row)
    for i in np.unique(row):
        here = slice(*np.searchsorted(row, [i, i + 1]))
        column[here] = np.flatnonzero(partners(int(i)))[position[here]]
    return np.unique(np.sort(np.stack([row, column]), 0), axis=1)


def spline_odds_ratio(
    universe: Universe, u: np.ndarray, v: np.ndarray, sampled: SampledPairs
) -> OddsRatio:
    """Return the log odds ratio of edge and listed, given splines of the controls.

    logit P(edge) = listed + splines of co-expression, of log degree and of the expression level,
    over the listed pairs and the sampled others. Edges and other pairs are sampled at rates of
    their own, so each weighs as many as it stands for. The variance is the sandwich in which pairs
    that share a vertex depend on each other (Aronow, Samii and Assenova 2015); at least that of
    independent pairs.

    Parameters
    ----------
    universe
        Its ``values_at`` must know the listed and the sampled pairs.
    u, v
        [pairs] vertices of the listed pairs.

    Returns
    -------
    OddsRatio
        NaN where the regression has no finite solution.
    """
    pairs, strata, n = universe.pairs, universe.strata, len(universe.pairs)
    others = ~np.isin(pair_codes(sampled.u, sampled.v, n), pair_codes(u, v, n))
    a = np.concatenate([u, sampled.u[others]])
    b = np.concatenate([v, sampled.v[others]])
    edge, listed = pairs.adjacency[a, b], np.arange(len(a)) < len(u)
    control = universe.values_at(a, b)[2].astype(np.float64)
    design = np.column_stack([
        listed, np.ones(len(a)),
        _splines(control, ~listed, _KNOTS),
        _splines(strata.degrees(a, b), ~listed, _FEW_KNOTS),
        _splines(strata.levels(a, b), ~listed, _FEW_KNOTS),
    ])  # fmt: skip
    if not edge[listed].any():
        return OddsRatio(float("nan"))
    weight = np.ones(len(a))
    for kind, total in ((edge, pairs.n_edges), (~edge, pairs.n_pairs - pairs.n_edges)):
        drawn = kind & ~listed
        if not drawn.any():
            return OddsRatio(float("nan"))
        weight[drawn] = (total - (kind & listed).sum()) / drawn.sum()
    return _fit(design, edge, weight, a, b)


def _splines(x: np.ndarray, others: np.ndarray, at: tuple[float, ...]) -> np.ndarray:
    """Return the cubic B-splines of values, less one that the others add up to."""
    low, high = x.min(), x.max()
    knots = np.unique(np.quantile(x[others], at))
    knots = knots[(knots > low) & (knots < high)]
    if not high > low:
        return np.zeros((len(x), 0))
    every = np.concatenate([[low] * 4, knots, [high] * 4])
    return np.asarray(BSpline.design_matrix(x, every, 3).toarray()[:, 1:])


def _fit(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, u: np.ndarray, v: np.ndarray
) -> OddsRatio:
    """Return the first coefficient of a penalised logistic regression, with its error."""
    ridge = np.full(x.shape[1], _RIDGE)
    ridge[:2] = 0  # listed, and the intercept

    def loss(beta: np.ndarray) -> tuple[float, np.ndarray]:
        z = x @ beta
        value = weight @ (np.logaddexp(0, z) - z * y) + (ridge * beta**2).sum() / 2
        return float(value), x.T @ (weight * (scipy.special.expit(z) - y)) + ridge * beta

    def curvature(beta: np.ndarray) -> np.ndarray:
        p = scipy.special.expit(x @ beta)
        return np.asarray((x * (weight * p * (1 - p))[:, None]).T @ x + np.diag(ridge))

    best = scipy.optimize.minimize(
        loss, np.zeros(x.shape[1]), jac=True, hess=curvature, method="trust-exact",
        options={"gtol": 1e-6 * weight.sum()},
    )  # fmt: skip
    if not best.success:
        return OddsRatio(float("nan"))
    rest = weight * (y - scipy.special.expit(x @ best.x))
    # the sandwich of one coefficient: each pair's influence on it, added up by vertex
    influence = (x @ np.linalg.solve(curvature(best.x), np.eye(len(best.x))[0])) * rest
    variance = statistics.dyadic_variance(influence, u, v)
    return OddsRatio(float(best.x[0]), float(np.sqrt(variance)))
