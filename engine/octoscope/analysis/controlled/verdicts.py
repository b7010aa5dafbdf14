"""From a controlled comparison to one of four verdicts, with the reason.

The rules and how often they are wrong on simulations with known truth are in
docs/explanation/verdict.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from octoscope.analysis.controlled.comparison import SMALLEST_EXCESS, Comparison
from octoscope.analysis.controlled.observed_expected import Ratio
from octoscope.analysis.controlled.verdict_names import BEYOND, CANNOT_TELL, NO_MORE, NOT_ENRICHED

LEAST_EDGES = 20
LARGEST_IMBALANCE = 0.1  # standardised mean difference within strata
LEAST_POSITIVITY = 0.5  # share of listed pairs with another pair in their stratum
LARGEST_DRIFT = 1.5  # standard errors between half and quarter octaves
WIDEST = 2.0  # upper limit of OR0 above which "not enriched" is not known
LARGEST_Q = 0.05
LEAST_RELIABILITY = 1 / 3  # of co-expression: below it, two thirds of its variance are error
SMALLEST_RATIO = 1.02  # of observed over expected edges: cells of finite width leave some per cent


@dataclass(frozen=True)
class Verdict:
    """A verdict and, where it is not clear, why not."""

    kind: str
    reason: str = ""


def judge(c: Comparison, q: float, n_cells: int) -> Verdict:
    """Return the verdict of a comparison.

    Parameters
    ----------
    q
        Adjusted p-value of the comparison.
    n_cells
        Cells that co-expression was measured in.
    """
    if c.n_edges < LEAST_EDGES:
        return Verdict(CANNOT_TELL, f"fewer than {LEAST_EDGES} edges in the list ({c.n_edges})")
    low0, high0 = c.or0.interval(c.degrees_of_freedom)
    low1, high1 = c.or1.interval(c.degrees_of_freedom)
    if np.isnan(low0):
        return Verdict(CANNOT_TELL, "no listed pair can be compared with another of like degree")
    if low0 <= 1:
        if high0 > WIDEST:
            return Verdict(CANNOT_TELL, f"too few edges: OR0 may be {low0:.2g} to {high0:.2g}")
        return Verdict(NOT_ENRICHED)
    if np.isnan(low1):
        return Verdict(CANNOT_TELL, "no listed edge can be compared with a pair that is like it")
    if c.positivity < LEAST_POSITIVITY:
        return Verdict(
            CANNOT_TELL,
            f"no comparable controls: {c.positivity:.0%} of the pairs have another pair of like "
            "co-expression, degree and expression",
        )
    worst = np.nanmax(np.abs(c.balance))
    if worst > LARGEST_IMBALANCE:
        return Verdict(
            CANNOT_TELL, f"controls are not balanced within strata (difference {worst:.2f} SD)"
        )
    drift = abs(c.refinement["quarter"][0] - c.refinement["half"][0])
    stable = drift < LARGEST_DRIFT * c.or1.se
    same_sign = all(half > 0 for half in c.or1_halves)
    if low1 > c.least and q < LARGEST_Q:
        if c.reliability < LEAST_RELIABILITY:
            return Verdict(CANNOT_TELL, _unreliable(c.reliability, n_cells))
        if not stable:
            return Verdict(CANNOT_TELL, "the odds ratio changes with the width of the bins")
        if not same_sign:
            return Verdict(CANNOT_TELL, "halves of the cells disagree")
        if not np.exp(c.or1_extrapolated - c.or1.largest_se) > c.least:
            return Verdict(
                CANNOT_TELL,
                "measurement error may explain it: with ever more cells the odds ratio would be "
                f"{np.exp(c.or1_extrapolated):.2f}, and less one standard error it is not above "
                f"{c.least:.2f}",
            )
        if c.ratios and not c.ratios[-1].low > SMALLEST_RATIO:
            return Verdict(CANNOT_TELL, _of_genes(c.ratios[-1]))
        return Verdict(BEYOND)
    if high1 < np.sqrt(c.or0.value) and (low1 <= 1 or high1 < c.least):
        return Verdict(NO_MORE)
    return Verdict(CANNOT_TELL, _unclear(c, q, low1, n_cells))


def _unclear(c: Comparison, q: float, limit: float, n_cells: int) -> str:
    """Say why an enrichment is neither explained nor beyond co-expression."""
    if np.isnan(c.bound):
        return "the reliability of co-expression is not known"
    if limit > c.least:
        return f"not significant among all layers, views and controls (q = {q:.2g})"
    if limit <= 1:
        return "too few edges: the interval holds both 1 and half of the enrichment"
    if limit > c.bound:
        return (
            f"the excess is small: the interval begins at {limit:.2f}, less than "
            f"{SMALLEST_EXCESS - 1:.0%} above the {c.bound:.2f} that error can leave; with ever "
            f"more cells the odds ratio would be {np.exp(c.or1_extrapolated):.2f}"
        )
    text = (
        f"co-expression is measured too poorly (reliability {c.reliability:.2f}): its error can "
        f"leave an odds ratio of {c.bound:.2f}"
    )
    needed = cells_needed(c.or0.log, float(np.log(limit / SMALLEST_EXCESS)), c.reliability, n_cells)
    return f"{text}; about {needed:,} cells would do" if needed else text


def _unreliable(reliability: float, n_cells: int) -> str:
    """Say that co-expression is too much error for any bound, and how many cells would do."""
    text = (
        f"co-expression is measured too poorly (reliability {reliability:.2f}, "
        f"{LEAST_RELIABILITY:.2f} is needed)"
    )
    if not reliability > 0:
        return text
    return f"{text}; about {cells_for(LEAST_RELIABILITY, reliability, n_cells):,} cells would do"


def _of_genes(ratio: Ratio) -> str:
    """Say why both genes may explain an enrichment among pairs of like sums of their degrees."""
    if np.isnan(ratio.low):
        return "observed over expected edges given both genes are not known"
    return (
        "degrees or levels of both genes may explain it: observed over expected edges are "
        f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f}), and more than "
        f"{SMALLEST_RATIO:.2f} is asked"
    )


def cells_needed(log_or0: float, log_limit: float, reliability: float, n_cells: int) -> int | None:
    """Return how many cells would bring the bound below the limit, by Spearman-Brown.

    None if no number would, or the reliability is not known.
    """
    if not (log_limit > 0 and 0 < reliability < 1 and log_or0 > 0):
        return None
    target = 1 - log_limit / log_or0
    if not 0 < target < 1:
        return None
    needed = cells_for(target, reliability, n_cells)
    return needed if needed > n_cells else None


def cells_for(target: float, reliability: float, n_cells: int) -> int:
    """Return how many cells would give a reliability, by Spearman-Brown; both between 0 and 1."""
    factor = target * (1 - reliability) / (reliability * (1 - target))
    return int(np.ceil(factor * n_cells))


def e_value(odds_ratio: float) -> float:
    """Return the odds ratio that a missing control needs with both list and edges.

    VanderWeele and Ding (2017), for a rare outcome; 1 where nothing has to be explained.
    """
    if np.isnan(odds_ratio):
        return float("nan")
    return float(odds_ratio + np.sqrt(odds_ratio * (odds_ratio - 1))) if odds_ratio > 1 else 1.0
