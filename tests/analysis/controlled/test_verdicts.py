"""Each rule and each guard of the verdicts, by comparisons made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from octoscope.analysis.controlled.comparison import Comparison
from octoscope.analysis.controlled.mantel_haenszel import OddsRatio
from octoscope.analysis.controlled.observed_expected import Ratio
from octoscope.analysis.controlled.verdict_names import BEYOND, CANNOT_TELL, NO_MORE, NOT_ENRICHED
from octoscope.analysis.controlled.verdicts import cells_needed, e_value, judge

LOG3, LOG4 = float(np.log(3)), float(np.log(4))
# OR0 4 (3.3 to 4.9), OR1 3 (2.5 to 3.7), bound 4^0.1 = 1.15
BASE = Comparison(
    n_pairs=1000, n_edges=200, or0=OddsRatio(LOG4, 0.1), or1=OddsRatio(LOG3, 0.1),
    or1_halves=(LOG3, LOG3),
    refinement={"half": (LOG3, 0.0, 1.0), "quarter": (LOG3, 0.0, 1.0)},
    reliability=0.9, reliability_list=0.9, balance=np.zeros(3), positivity=1.0,
    positivity_edges=1.0, ladder=(0.05, 0.06, 0.07, 0.08),
)  # fmt: skip
EXPLAINED = replace(BASE, or1=OddsRatio(0.05, 0.1))  # 0.86 to 1.28, below 2


def kind(c: Comparison, q: float = 0.001) -> str:
    return judge(c, q, 1000).kind


def reason(c: Comparison, q: float = 0.001) -> str:
    verdict = judge(c, q, 1000)
    assert verdict.kind == CANNOT_TELL
    return verdict.reason


def test_the_base_is_beyond_co_expression() -> None:
    """Red: the upper limit of the interval against the bound is green, OR1 = 1 is not."""
    verdict = judge(BASE, 0.001, 1000)
    assert (verdict.kind, verdict.reason) == (BEYOND, "")
    assert kind(replace(BASE, or1=OddsRatio(0.0, 0.1))) != BEYOND


def test_the_lower_95_percent_limit_must_exceed_the_bound_by_a_tenth() -> None:
    """Red: the odds ratio itself; a bound of 1; no smallest excess."""
    least, t = np.log(1.1 * BASE.bound), 0.1 * 1.972  # Student's t, 199 degrees, 2.5 % above
    for over, want in ((0.005, BEYOND), (-0.005, CANNOT_TELL)):
        log = least + t + over
        c = replace(BASE, or1=OddsRatio(log, 0.1), or1_halves=(log, log))
        assert kind(c) == want
        if want != BEYOND:
            assert reason(c) == (
                "the excess is small: the interval begins at 1.26, less than 10% above the 1.15 "
                "that error can leave; with ever more cells the odds ratio would be 1.53"
            )


def test_the_odds_ratio_of_ever_more_cells_must_exceed_the_bound_too() -> None:
    """Halves say how far more cells move it. Red: no such guard; it alone; no standard error."""
    least, t = np.log(1.1 * BASE.bound), 0.1 * 1.972
    for over, want in ((-0.005, BEYOND), (0.005, CANNOT_TELL)):
        half = 2 * LOG3 - least - 0.1 + over  # one standard error above, and less
        c = replace(BASE, or1_halves=(half, half))
        assert kind(c) == want
        if want != BEYOND:
            assert "measurement error may explain it" in reason(c)
        of_donors = replace(BASE, or1=OddsRatio(LOG3, 0.1, 0.11, 1000), or1_halves=(half, half))
        assert kind(of_donors) == CANNOT_TELL  # the larger error
    rises = replace(BASE, or1=OddsRatio(least + t - 0.005, 0.1), or1_halves=(0.01, 0.01))
    assert kind(rises) != BEYOND  # more cells do not lift a limit that is too low


def test_observed_edges_must_exceed_those_that_both_genes_expect() -> None:
    """Red: no such guard; a fit that failed passes; a rung before the last; any excess over 1."""
    earlier = Ratio(0.06, 1.3, 1.2, 1.4)
    for low, want in ((1.03, BEYOND), (1.01, CANNOT_TELL)):
        c = replace(BASE, ratios=(earlier, Ratio(0.06, 1.2, low, 1.4)))
        assert kind(c) == want
        if want != BEYOND:
            assert "degrees or levels of both genes may explain it" in reason(c)
            assert "1.20 (1.01 to 1.40), and more than 1.02 is asked" in reason(c)
    unknown = replace(BASE, ratios=(Ratio(*[float("nan")] * 4),))
    assert reason(unknown) == "observed over expected edges given both genes are not known"


def test_co_expression_that_is_mostly_error_cannot_tell() -> None:
    """However large the excess is. Red: no such guard; it before the rules that need OR0 alone."""
    large = replace(BASE, or1=OddsRatio(float(np.log(20)), 0.1), or0=OddsRatio(LOG4, 0.1))
    large = replace(large, or1_halves=(large.or1.log, large.or1.log))
    assert kind(replace(large, reliability=0.34)) == BEYOND
    assert reason(replace(large, reliability=0.25)) == (
        "co-expression is measured too poorly (reliability 0.25, 0.33 is needed); about 1,500 "
        "cells would do"
    )
    assert reason(replace(large, reliability=0.0)).endswith("0.33 is needed)")
    assert kind(replace(EXPLAINED, reliability=0.25)) == NO_MORE
    assert kind(replace(BASE, or0=OddsRatio(0.0, 0.1), reliability=0.25)) == NOT_ENRICHED


def test_few_edges() -> None:
    """Red: `n_edges <= LEAST_EDGES`, and no such guard."""
    assert kind(replace(BASE, n_edges=20)) == BEYOND
    assert reason(replace(BASE, n_edges=19)) == "fewer than 20 edges in the list (19)"


def test_an_odds_ratio_without_an_interval() -> None:
    """Red: only `low0` is looked at; OR1 asked before the rule that needs OR0 alone."""
    nothing = OddsRatio(float("nan"))
    for undefined in (nothing, OddsRatio(1.0)):
        assert "no listed pair can be compared" in reason(replace(BASE, or0=undefined))
        assert "no listed edge can be compared" in reason(replace(BASE, or1=undefined))
        assert kind(replace(BASE, or0=OddsRatio(0.0, 0.1), or1=undefined)) == NOT_ENRICHED


def test_not_enriched() -> None:
    """Whatever OR1 is. Red: `low0 < 0`; a depleted list called enriched."""
    for log in (0.15, 0.0, -1.0):
        assert kind(replace(BASE, or0=OddsRatio(log, 0.1))) == NOT_ENRICHED
    assert kind(replace(BASE, or0=OddsRatio(0.25, 0.1))) != NOT_ENRICHED


def test_a_wide_interval_is_not_a_lack_of_enrichment() -> None:
    """OR0 0.8 to 2.3. Red: the guard `WIDEST` left out."""
    assert "too few edges: OR0 may be" in reason(replace(BASE, or0=OddsRatio(0.3, 0.26)))


@pytest.mark.parametrize("base", [BASE, EXPLAINED])
def test_no_comparable_controls(base: Comparison) -> None:
    """Red: the guard after the rules."""
    assert kind(replace(base, positivity=0.5)) != CANNOT_TELL
    assert reason(replace(base, positivity=0.49)).startswith("no comparable controls: 49%")


@pytest.mark.parametrize("base", [BASE, EXPLAINED])
@pytest.mark.parametrize("at", range(3))
def test_controls_out_of_balance(base: Comparison, at: int) -> None:
    """Of either sign, of each control. Red: no absolute value; co-expression alone."""
    for sign in (1, -1):
        balance = np.zeros(3)
        balance[at] = 0.09 * sign
        assert kind(replace(base, balance=balance)) != CANNOT_TELL
        balance[at] = 0.11 * sign
        assert "not balanced within strata (difference 0.11 SD)" in reason(
            replace(base, balance=balance)
        )


def test_unstable_bins() -> None:
    """Red: drift towards smaller odds ratios alone."""
    for drift, want in ((0.14, BEYOND), (0.16, CANNOT_TELL), (-0.16, CANNOT_TELL)):
        moved = {"half": (LOG3 + drift, 0.0, 1.0), "quarter": (LOG3, 0.0, 1.0)}
        c = replace(BASE, refinement=moved)
        assert kind(c) == want
        if want != BEYOND:
            assert "width of the bins" in reason(c)


@pytest.mark.parametrize("halves", [(-0.1, LOG3), (LOG3, -0.1), (float("nan"), LOG3)])
def test_halves_disagree(halves: tuple[float, float]) -> None:
    """Red: `any` for `all`."""
    assert reason(replace(BASE, or1_halves=halves)) == "halves of the cells disagree"


def test_many_tests() -> None:
    """Red: `q` is not looked at; the interval said to hold 1, which it does not."""
    assert kind(BASE, q=0.049) == BEYOND
    assert "q = 0.06" in reason(BASE, q=0.06)
    assert "interval" not in reason(BASE, q=0.06)


def test_no_more_than_co_expression() -> None:
    """Red: `high1 < or0`, not its root; the interval need not hold 1."""
    assert kind(EXPLAINED) == NO_MORE
    wide = replace(BASE, or1=OddsRatio(0.05, 0.5))  # 0.4 to 2.8: half of the log odds is 2
    assert reason(wide) == "too few edges: the interval holds both 1 and half of the enrichment"
    # surely above 1, surely below what error can leave
    poor = replace(BASE, reliability=0.6, or1=OddsRatio(0.3, 0.05))  # 1.22 to 1.49; bound 1.74
    assert kind(poor) == NO_MORE
    assert kind(replace(poor, reliability=0.9)) != NO_MORE


def test_poorly_measured_co_expression_says_how_many_cells_would_do() -> None:
    """Red: the cells for OR1 and not for its lower limit."""
    c = replace(BASE, reliability=0.25)  # bound 4^0.75 = 2.83, limit 2.46
    text = reason(c)
    assert (
        "measured too poorly (reliability 0.25): its error can leave an odds ratio of 2.83" in text
    )
    needed = int(text.split("about ")[1].split(" cells")[0].replace(",", ""))
    assert needed > 1000
    longer = needed / 1000
    rho = longer * 0.25 / (1 + (longer - 1) * 0.25)
    assert kind(replace(c, reliability=rho)) == BEYOND
    assert kind(replace(c, reliability=rho - 0.005)) == CANNOT_TELL


def test_an_unknown_reliability_is_the_reason() -> None:
    """Halves without cells. Red: too few edges as the reason."""
    c = replace(BASE, reliability=float("nan"))
    assert reason(c) == "the reliability of co-expression is not known"
    assert np.isnan(c.bound)


@given(log0=st.floats(-3, 3), rho=st.floats(-0.5, 1))
def test_the_bound(log0: float, rho: float) -> None:
    """Nothing is left of co-expression without error. Red: OR0^rho; no `max(1, OR0)`."""
    c = replace(BASE, or0=OddsRatio(log0), reliability=rho)
    assert c.bound == pytest.approx(max(1.0, np.exp(log0)) ** (1 - max(rho, 0)))
    assert replace(c, reliability=1.0).bound == 1
    assert replace(c, reliability=1.0 + 1e-9).bound == 1


@given(log0=st.floats(0.1, 3), part=st.floats(0.01, 0.99), rho=st.floats(0.01, 0.99))
def test_the_cells_that_would_do_by_spearman_brown(log0: float, part: float, rho: float) -> None:
    """Red: the factor of a reliability upside down; `floor`."""
    limit, n = log0 * part, 1000
    needed = cells_needed(log0, limit, rho, n)

    def bound(cells: float) -> float:
        factor = cells / n
        return log0 * (1 - factor * rho / (1 + (factor - 1) * rho))

    if needed is None:
        assert bound(n) <= limit + 1e-9
    else:
        assert bound(needed) <= limit + 1e-9
        assert bound(needed - 1.001) > limit


@pytest.mark.parametrize("arguments", [
    (1.0, -0.1, 0.5), (1.0, 0.5, float("nan")), (1.0, 0.5, 0.0), (-1.0, 0.5, 0.5), (1.0, 2.0, 0.5),
])  # fmt: skip
def test_no_number_of_cells_would_do(arguments: tuple[float, float, float]) -> None:
    """Red: a check left out ends in a division by 0 or in a number."""
    assert cells_needed(*arguments, 1000) is None


def test_the_e_value_is_that_of_vanderweele_and_ding() -> None:
    """Red: `sqrt(odds_ratio)`."""
    assert e_value(2.0) == pytest.approx(3.41, abs=0.005)
    assert e_value(3.9) == pytest.approx(7.26, abs=0.005)  # their example
    assert [e_value(1.0), e_value(0.3)] == [1, 1]
    assert np.isnan(e_value(float("nan")))


def test_numbers_of_a_comparison() -> None:
    """Red: OR1(n / 2) - OR1(n) added; a two-sided p; p above 1, or above 4^0.1 alone."""
    c = replace(BASE, or1=OddsRatio(0.2, 0.1), or1_halves=(0.3, 0.5))
    assert c.or1_half == pytest.approx(0.4)
    assert c.or1_extrapolated == pytest.approx(0.0)
    not_enriched = replace(c, or0=OddsRatio(-0.1, 0.1))  # error leaves nothing
    # one side of t = 2 - log 1.1 / 0.1, 199 degrees of freedom
    assert not_enriched.p == pytest.approx(0.1482, abs=2e-4)
    assert c.p == pytest.approx(0.6326, abs=2e-4)  # t = 2 - (log 1.1 + 0.1 log 4) / 0.1
    assert c.or1_low_at_bound == pytest.approx(np.exp(0.2 - 0.1972) / 4**0.1, rel=1e-3)
    assert np.isnan(replace(c, or1=OddsRatio(0.2)).p)


def test_the_odds_ratio_corrected_for_error_in_co_expression() -> None:
    """Red: the bound without the power 1 / rho; the error of OR1 alone; reliability above 1."""
    c = replace(
        BASE, reliability=0.5, or0=OddsRatio(LOG4, 0.1, 0.2, 8), or1=OddsRatio(LOG3, 0.2, 0.1, 8)
    )
    corrected = c.or1_corrected
    assert corrected.value == pytest.approx(9 / 4)  # 3^2 / 4
    assert corrected.se == pytest.approx(np.sqrt(0.1**2 + (0.2**2 - 0.1**2) / 0.25))
    assert corrected.donor_se == pytest.approx(0.2)  # OR1 is never taken as sharper than OR0
    assert corrected.donor_groups == 8
    for perfect in (1.0, 1.2):
        assert replace(c, reliability=perfect).or1_corrected.value == pytest.approx(3)
    for unknown in (0.0, -0.1, float("nan")):
        assert np.isnan(replace(c, reliability=unknown).or1_corrected.interval(100)).all()
