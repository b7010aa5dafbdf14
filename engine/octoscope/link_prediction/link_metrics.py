"""Metrics of link prediction with intervals that know that pairs share vertices.

Each metric gives its value and the influence of each pair, which is how the value changes with the
weight of the pair. The influences of the pairs of a vertex add up to what the vertex contributes
(infinitesimal jackknife over vertices; Efron 1982). The variance is the sum of squares over
vertices less the sum of squares over pairs, as each pair is counted at both of its ends (Aronow,
Samii and Assenova 2015). The difference of two metrics on the same pairs has the difference of the
influences, so a gain over a floor has an interval of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

_Z = float(norm.ppf(0.975))


@dataclass(frozen=True)
class Estimate:
    """A value and the influence of each pair.

    Attributes
    ----------
    value
        The metric; NaN where a class is empty.
    influence
        [pairs] float64, summing to 0.
    """

    value: float
    influence: np.ndarray

    def __sub__(self, other: Estimate) -> Estimate:
        return Estimate(self.value - other.value, self.influence - other.influence)


def auc(score: np.ndarray, truth: np.ndarray) -> Estimate:
    """Return the area under the ROC curve; ties count half.

    Parameters
    ----------
    score
        [pairs] float.
    truth
        [pairs] bool.
    """
    positive, negative = score[truth], score[~truth]
    influence = np.zeros(len(score))
    if not len(positive) or not len(negative):
        return Estimate(float("nan"), influence)
    below = _share_below(negative, positive)
    value = float(below.mean())
    influence[truth] = (below - value) / len(positive)
    influence[~truth] = (1 - _share_below(positive, negative) - value) / len(negative)
    return Estimate(value, influence)


def _share_below(among: np.ndarray, score: np.ndarray) -> np.ndarray:
    ascending = np.sort(among)
    left, right = (np.searchsorted(ascending, score, side) for side in ("left", "right"))
    return (left + right) / (2 * len(among))


def average_precision(score: np.ndarray, truth: np.ndarray) -> Estimate:
    """Return the mean over positives of the precision at their score.

    Pairs with equal scores enter together, as in scikit-learn. With T true and F false pairs at or
    above a score, ``d precision = F / (T + F)^2`` per true and ``-T / (T + F)^2`` per false pair.
    """
    n = int(truth.sum())
    influence = np.zeros(len(score))
    if not n or n == len(score):
        return Estimate(float("nan"), influence)
    levels, level = np.unique(-score, return_inverse=True)
    true = np.bincount(level, truth, len(levels))
    above = np.cumsum(true)
    false = np.cumsum(np.bincount(level, ~truth, len(levels)))
    both = above + false
    precision = above / both
    value = float((true * precision).sum() / n)
    # a pair enters the precision of every level at or below its own
    gain = np.cumsum((true * false / both**2)[::-1])[::-1]
    loss = np.cumsum((true * above / both**2)[::-1])[::-1]
    influence = np.where(truth, (precision - value + gain)[level], -loss[level]) / n
    return Estimate(value, influence)


def mean_of(values: np.ndarray) -> Estimate:
    """Return the mean of [queries] numbers."""
    if not len(values):
        return Estimate(float("nan"), np.zeros(0))
    value = float(values.mean())
    return Estimate(value, (values - value) / len(values))


def ranks(positive: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Return [queries] float ranks of the positive among its candidates, from 1.

    Equal scores count half, the mean of the optimistic and the pessimistic rank.

    Parameters
    ----------
    positive
        [queries] scores.
    candidates
        [queries, candidates] scores; NaN where there is none.
    """
    above = (candidates > positive[:, None]).sum(1)
    same = (candidates == positive[:, None]).sum(1)
    return 1 + above + same / 2


def standard_error(
    influence: np.ndarray, src: np.ndarray, dst: np.ndarray | None = None
) -> tuple[float, int]:
    """Return the standard error by vertices, and the number of vertices.

    Parameters
    ----------
    influence
        [pairs] of an estimate.
    src, dst
        [pairs] int64 vertices. Without ``dst`` pairs are clustered by ``src`` alone.
    """
    ends = src if dst is None else np.concatenate([src, dst])
    repeated = influence if dst is None else np.concatenate([influence, influence])
    vertices, inverse = np.unique(ends, return_inverse=True)
    m = len(vertices)
    if m < 2:
        return float("nan"), m
    of_vertex = np.bincount(inverse, repeated, m)
    variance = float((of_vertex**2).sum())
    alone = float((influence**2).sum())
    if dst is not None:
        variance = max(variance - alone, alone)
    return float(np.sqrt(variance * m / (m - 1))), m


def interval(
    estimate: Estimate, src: np.ndarray, dst: np.ndarray | None = None
) -> tuple[float, float, int]:
    """Return the ends of the 95 % interval and the number of vertices; NaN below two vertices."""
    error, m = standard_error(estimate.influence, src, dst)
    return estimate.value - _Z * error, estimate.value + _Z * error, m


def relation_weighted(score: np.ndarray, truth: np.ndarray, relation: np.ndarray) -> Estimate:
    """Return the mean of the AUC of each relation, weighted by the root of its positives."""
    total, value, influence = 0.0, 0.0, np.zeros(len(score))
    for r in np.unique(relation):
        rows = np.flatnonzero(relation == r)
        part = auc(score[rows], truth[rows])
        if np.isnan(part.value):
            continue
        weight = float(np.sqrt(truth[rows].sum()))
        total += weight
        value += weight * part.value
        influence[rows] = weight * part.influence
    if not total:
        return Estimate(float("nan"), influence)
    return Estimate(value / total, influence / total)
