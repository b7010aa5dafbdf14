"""Calibration of a model's scores: a temperature and a bias per relation, and how well they hold.

Scores of one relation do not compare with those of another, and none is a probability. On
validation edges and their negatives ``P(edge) = 1 / (1 + exp(-(score / temperature + bias)))`` is
fitted per relation. It is the probability that a pair is an edge where half of the pairs are edges
and the others are negatives of the named kind; it is no share of all pairs of a network.

On test pairs the logistic regression of truth on the calibrated log-odds has slope 1 and intercept
0 where calibration holds (Cox 1958). A slope below 1: the model is too sure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from octoscope.errors import InputError
from octoscope.link_prediction.link_metrics import Estimate, interval, mean_of

ALL = "all"  # the fit of all relations together
LEAST = 100  # positives of a relation with a fit of its own
BINS = 10
CALIBRATION_COLUMNS = (
    "scorer", "relation", "negatives", "temperature", "bias", "slope", "slope_low", "slope_high",
    "intercept", "intercept_low", "intercept_high", "brier", "error", "n_positives", "n_negatives",
)  # fmt: skip
RELIABILITY_COLUMNS = (
    "scorer", "relation", "bin", "predicted", "observed", "low", "high", "n",
)  # fmt: skip
_STEPS = 50  # of Newton's method
_RIDGE = 1e-3  # keeps the slope finite where scores separate edges from negatives


@dataclass(frozen=True)
class Fit:
    """Slope and intercept of the log-odds of an edge as a function of the score.

    Attributes
    ----------
    slope
        1 / temperature.
    intercept
        Bias.
    positives
        Number of edges that it was fitted on, with as many negatives.
    """

    slope: float
    intercept: float
    positives: int


@dataclass(frozen=True)
class Calibration:
    """Fits by relation.

    Attributes
    ----------
    negatives
        Kind of negatives that it was fitted on.
    fits
        By name of the relation, and ``all`` for relations without a fit of their own.
    """

    negatives: str
    fits: Mapping[str, Fit]

    def log_odds(self, score: np.ndarray, relation: np.ndarray) -> np.ndarray:
        """Return [pairs] float64 from [pairs] scores and [pairs] names of relations."""
        out = np.empty(len(score))
        for name in pd.unique(pd.Series(relation, dtype=object)):
            fit, rows = self.fits.get(name, self.fits[ALL]), relation == name
            out[rows] = fit.slope * np.asarray(score, float)[rows] + fit.intercept
        return out

    def as_dict(self) -> dict[str, Any]:
        """Return numbers that JSON holds."""
        fits = {n: [f.slope, f.intercept, f.positives] for n, f in self.fits.items()}
        return {"negatives": self.negatives, "fits": fits}


def calibration_from(value: Any, where: str) -> Calibration:
    """Return what :meth:`Calibration.as_dict` gave.

    Raises
    ------
    InputError
        If it is something else.
    """
    try:
        fits = {str(n): Fit(float(s), float(i), int(k)) for n, (s, i, k) in value["fits"].items()}
        finite = all(np.isfinite([f.slope, f.intercept]).all() for f in fits.values())
        if ALL not in fits or not finite:
            raise ValueError
        return Calibration(str(value["negatives"]), fits)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(where, "holds no calibration", "evaluate again") from None


def fit_calibration(
    score: np.ndarray, truth: np.ndarray, relation: np.ndarray, negatives: str
) -> Calibration:
    """Fit temperature and bias, of each relation with at least 100 edges and of all together.

    Parameters
    ----------
    score
        [pairs] float64 of validation pairs.
    truth
        [pairs] bool.
    relation
        [pairs] object, names of relations.
    negatives
        Their kind.
    """
    fits = {ALL: _fit(score, truth)}
    for name in sorted(set(relation.tolist())):
        rows = relation == name
        if truth[rows].sum() >= LEAST and (~truth[rows]).sum() >= LEAST:
            fits[name] = _fit(score[rows], truth[rows])
    return Calibration(negatives, fits)


def _fit(score: np.ndarray, truth: np.ndarray) -> Fit:
    centre, size = float(score.mean()), float(score.std())
    size = size if size > 0 else 1.0
    slope, intercept, _ = _logistic((score - centre) / size, truth)
    return Fit(slope / size, intercept - slope * centre / size, int(truth.sum()))


def _logistic(
    x: np.ndarray, truth: np.ndarray, ridge: float = _RIDGE
) -> tuple[float, float, np.ndarray]:
    """Return slope, intercept and [2, pairs] influences of the logistic regression on one column.

    ``ridge``: penalty of the slope's square, in pairs.
    """
    design = np.stack([x, np.ones_like(x)])
    beta, penalty = np.zeros(2), np.diag([2 * ridge, 1e-12])
    for _ in range(_STEPS):
        p = expit(beta @ design)
        slope = design @ (truth - p) - penalty @ beta
        step = np.linalg.solve((design * (p * (1 - p))) @ design.T + penalty, slope)
        # far from the solution a whole step overshoots
        beta = beta + step * min(1.0, 4 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    p = expit(beta @ design)
    curvature = (design * (p * (1 - p))) @ design.T + penalty
    influence = np.linalg.solve(curvature + 1e-12 * np.eye(2), design * (truth - p))
    return float(beta[0]), float(beta[1]), influence


def calibration_rows(
    scorer: str, calibration: Calibration, log_odds: np.ndarray, truth: np.ndarray,
    relation: np.ndarray, src: np.ndarray, dst: np.ndarray,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:  # fmt: skip
    """Return rows of how calibration holds on test pairs, and rows of the reliability diagram.

    Parameters
    ----------
    log_odds
        [pairs] float64 of :meth:`Calibration.log_odds`.
    truth
        [pairs] bool.
    relation
        [pairs] object, names of relations.
    src, dst
        [pairs] int64 vertices, for intervals by vertex.

    Returns
    -------
    tuple
        Rows of scorer, relation (``all``: every pair, each by its relation's fit), negatives,
        temperature, bias (NaN for ``all`` where relations have fits of their own), slope,
        intercept and their intervals, brier, error (mean over bins of the difference between
        predicted and observed), n_positives, n_negatives. And rows of scorer, relation, bin,
        predicted, observed, low, high, n.
    """
    rows: list[dict[str, Any]] = []
    bins: list[dict[str, Any]] = []
    names = [ALL, *(n for n in calibration.fits if n != ALL)]
    for name in names:
        mine = np.ones(len(truth), bool) if name == ALL else relation == name
        true, false = int(truth[mine].sum()), int((~truth[mine]).sum())
        if min(true, false) < LEAST:
            continue
        ends = src[mine], dst[mine]
        slope, intercept, influence = _logistic(log_odds[mine], truth[mine])
        slopes = interval(Estimate(slope, influence[0]), *ends)
        offsets = interval(Estimate(intercept, influence[1]), *ends)
        p = expit(log_odds[mine])
        diagram = _reliability(p, truth[mine], *ends)
        bins += [{"scorer": scorer, "relation": name, **row} for row in diagram]
        own = calibration.fits[name] if name != ALL or len(names) == 1 else None
        rows.append({
            "scorer": scorer, "relation": name, "negatives": calibration.negatives,
            "temperature": 1 / own.slope if own and own.slope else np.nan,
            "bias": own.intercept if own else np.nan,
            "slope": slope, "slope_low": slopes[0], "slope_high": slopes[1],
            "intercept": intercept, "intercept_low": offsets[0], "intercept_high": offsets[1],
            "brier": float(((p - truth[mine]) ** 2).mean()),
            "error": sum(r["n"] * abs(r["predicted"] - r["observed"]) for r in diagram) / len(p),
            "n_positives": true, "n_negatives": false,
        })  # fmt: skip
    return rows, bins


def _reliability(
    p: np.ndarray, truth: np.ndarray, src: np.ndarray, dst: np.ndarray
) -> list[dict[str, Any]]:
    """Return rows of the bins; each has as many pairs, equal probabilities are in one."""
    edges = np.unique(np.quantile(p, np.linspace(0, 1, BINS + 1)[1:-1]))
    of = np.searchsorted(edges, p, side="right")
    out = []
    for i, k in enumerate(np.unique(of)):
        rows = of == k
        observed = mean_of(truth[rows].astype(float))
        low, high, _ = interval(observed, src[rows], dst[rows])
        out.append({
            "bin": i, "predicted": float(p[rows].mean()), "observed": observed.value,
            "low": max(low, 0.0), "high": min(high, 1.0), "n": int(rows.sum()),
        })  # fmt: skip
    return out
