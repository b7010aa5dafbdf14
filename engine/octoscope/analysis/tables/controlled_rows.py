"""Rows of tables from controlled comparisons: odds ratios, verdicts, ladder, refinement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from octoscope.analysis import statistics
from octoscope.analysis.controlled.comparison import Comparison
from octoscope.analysis.controlled.observed_expected import RUNGS
from octoscope.analysis.controlled.score_strata import ScoredComparison
from octoscope.analysis.controlled.verdict_names import BEYOND, CANNOT_TELL
from octoscope.analysis.controlled.verdicts import Verdict, e_value, judge

OF_LIST = ("layer", "gene_set", "view", "k")  # columns that name a list of a block


def odds(c: Comparison) -> dict[str, Any]:
    """Return counts, and both odds ratios with their intervals."""
    low0, high0 = c.or0.interval(c.degrees_of_freedom)
    low1, high1 = c.or1.interval(c.degrees_of_freedom)
    return {
        "n_pairs": c.n_pairs, "n_edges": c.n_edges,
        "or0": c.or0.value, "or0_low": low0, "or0_high": high0,
        "or1": c.or1.value, "or1_low": low1, "or1_high": high1,
    }  # fmt: skip


def of_score(c: ScoredComparison) -> dict[str, Any]:
    """Return odds ratios without and with strata of a score, and how well they balance."""
    freedom = c.plain.degrees_of_freedom
    low0, high0 = c.or0.interval(freedom)
    low1, high1 = c.or1.interval(freedom)
    return odds(c.plain) | {
        "or0_score": c.or0.value, "or0_score_low": low0, "or0_score_high": high0,
        "or1_score": c.or1.value, "or1_score_low": low1, "or1_score_high": high1,
        "smd_score": c.smd_score, "smd_coexpression": c.smd_coexpression,
        "positivity": c.positivity, "p": c.or1.p(freedom),
    }  # fmt: skip


def judged(
    labelled: list[tuple[dict[str, Any], Comparison]], by: Sequence[str] = OF_LIST
) -> Iterator[dict[str, Any]]:
    """Yield rows with q over the layers, views and controls of a gene set and K, and verdicts.

    The headline is the control that explains most; one whose odds ratio is undefined leaves nothing
    to compare and comes first. It is beyond co-expression only if every control says so: a pool is
    measured well even where it is no more than a proxy of the co-expression in the category.

    Parameters
    ----------
    labelled
        Labels, with the ``control`` and the ``cells`` that it was measured in, and comparisons.
    by
        Columns that name a list.
    """
    if not labelled:
        return
    names = list(by)
    labels = pd.DataFrame([label for label, _ in labelled])
    labels["p"] = [c.p for _, c in labelled]
    labels["or1"] = [c.or1.value for _, c in labelled]
    q = statistics.adjust_by(labels, ["gene_set", "k"])
    of_list = labels.assign(or1=labels["or1"].fillna(0.0)).groupby(names, dropna=False)["or1"]
    headlines = set(of_list.idxmin())  # the first control of equal ones
    verdicts = [judge(c, float(q[i]), label["cells"]) for i, (label, c) in enumerate(labelled)]
    for rows in labels.groupby(names, dropna=False).indices.values():
        against = [j for j in rows if verdicts[j].kind != BEYOND]
        for i in headlines.intersection(rows):
            if against and verdicts[i].kind == BEYOND:
                other, name = verdicts[against[0]], labels["control"][against[0]]
                why = f"under the control {name}: {other.reason or other.kind}"
                verdicts[i] = Verdict(CANNOT_TELL, why)
    for i, (label, c) in enumerate(labelled):
        verdict = verdicts[i]
        values = odds(c)
        low0, high0 = c.or0.donor_interval()
        low1, high1 = c.or1.donor_interval()
        corrected_low, corrected_high = c.or1_corrected.interval(c.degrees_of_freedom)
        yield label | values | {
            "donor_groups": c.or1.donor_groups,
            "or0_donors_low": low0, "or0_donors_high": high0,
            "or1_donors_low": low1, "or1_donors_high": high1,
            "or1_half": float(np.exp(c.or1_half)),
            "or1_extrapolated": float(np.exp(c.or1_extrapolated)),
            "or1_corrected": c.or1_corrected.value,
            "or1_corrected_low": corrected_low, "or1_corrected_high": corrected_high,
            "rho": c.reliability, "rho_list": c.reliability_list, "bound": c.bound,
            "or1_low_at_bound": c.or1_low_at_bound,
            "smd_coexpression": c.balance[0], "smd_degree": c.balance[1],
            "smd_expression": c.balance[2],
            "positivity": c.positivity, "positivity_edges": c.positivity_edges,
            "p": c.p, "q": float(q[i]),
            "e_value": e_value(c.or1_low_at_bound), "headline": i in headlines,
            "verdict": verdict.kind, "reason": verdict.reason or None,
        }  # fmt: skip


def ladder(c: Comparison) -> dict[str, Any]:
    """Return the edge rate of a list, and those that each further control expects.

    By strata, then by models with gene effects, with observed over expected edges.
    """
    every, degree, expression, coexpression = c.ladder
    return {
        "n_pairs": c.n_pairs, "n_edges": c.n_edges,
        "edge_rate": c.n_edges / c.n_pairs if c.n_pairs else float("nan"),
        "p_hypergeometric": c.p_hypergeometric,
        "expected_all": every, "expected_degree": degree, "expected_expression": expression,
        "expected_coexpression": coexpression, "edge_rate_comparable": c.comparable_rate,
    } | {
        f"{what}_{rung}": value
        for rung, r in zip(RUNGS, c.ratios, strict=True)
        for what, value in (
            ("fitted", r.expected), ("ratio", r.value), ("ratio_low", r.low), ("ratio_high", r.high)
        )
    }  # fmt: skip


def refinement(c: Comparison) -> Iterator[dict[str, Any]]:
    """Yield the odds ratio by each width of the co-expression bins, and by splines."""
    for name, (log, difference, positivity) in c.refinement.items():
        yield {
            "bins": name, "or1": float(np.exp(log)), "smd_coexpression": difference,
            "positivity": positivity,
        }  # fmt: skip
    if c.spline is not None:
        low, high = c.spline.interval(c.degrees_of_freedom)
        yield {"bins": "splines", "or1": c.spline.value, "or1_low": low, "or1_high": high}
