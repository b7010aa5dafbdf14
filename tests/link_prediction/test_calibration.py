"""Calibration on scores whose true log-odds are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from octoscope.errors import InputError
from octoscope.link_prediction import calibration as module
from octoscope.link_prediction.calibration import (
    ALL,
    Calibration,
    Fit,
    calibration_from,
    calibration_rows,
    fit_calibration,
)
from scipy.special import expit

RELATIONS = np.array(["a -> b", "c -> d", "rare"], object)
TEMPERATURE, SHIFT = np.array([3.0, 0.25, 1.0]), np.array([0.0, 2.0, 0.0])


@dataclass
class Pairs:
    score: np.ndarray
    truth: np.ndarray
    relation: np.ndarray
    src: np.ndarray
    dst: np.ndarray


def pairs(seed: int, n: int = 12_000) -> Pairs:
    """Scores are (log-odds - shift) x temperature of the relation; 1 % are of the rare one."""
    rng = np.random.default_rng(seed)
    which = rng.choice(3, n, p=[0.5, 0.49, 0.01])
    log_odds = rng.normal(0, 1.5, n)
    truth = rng.random(n) < expit(log_odds)
    src, dst = rng.integers(0, 500, (2, n))
    return Pairs((log_odds - SHIFT[which]) * TEMPERATURE[which], truth, RELATIONS[which], src, dst)


def held_out(calibration: Calibration, test: Pairs) -> tuple[pd.DataFrame, pd.DataFrame]:
    log_odds = calibration.log_odds(test.score, test.relation)
    rows, bins = calibration_rows(
        "m", calibration, log_odds, test.truth, test.relation, test.src, test.dst
    )
    return pd.DataFrame(rows).set_index("relation"), pd.DataFrame(bins)


def fitted(val: Pairs) -> Calibration:
    return fit_calibration(val.score, val.truth, val.relation, "degree")


def test_calibrated_scores_have_slope_one_on_held_out_pairs() -> None:
    """12,000 pairs to fit on and 12,000 others; temperatures 3 and 1/4, a bias of 2."""
    calibration, test = fitted(pairs(0)), pairs(1)
    rows, bins = held_out(calibration, test)
    assert list(rows.index) == [ALL, "a -> b", "c -> d"]
    for row in rows.itertuples():
        assert row.slope == pytest.approx(1, abs=0.1)
        assert row.intercept == pytest.approx(0, abs=0.1)
        assert row.slope_low < 1 < row.slope_high
        assert row.error < 0.03
    assert rows.loc["a -> b", "temperature"] == pytest.approx(3, rel=0.1)
    assert rows.loc["c -> d", "temperature"] == pytest.approx(0.25, rel=0.1)
    assert rows.loc["c -> d", "bias"] == pytest.approx(2, abs=0.15)
    assert np.isnan(rows.loc[ALL, "temperature"])
    every = bins[bins["relation"] == ALL]
    assert len(every) == 10
    assert every["n"].sum() == len(test.truth)
    assert (every["predicted"].diff().dropna() > 0).all()


def test_one_temperature_for_all_relations_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above shows if relations have no fit of their own."""
    monkeypatch.setattr(module, "LEAST", 10**9)
    calibration = fitted(pairs(0))
    monkeypatch.undo()
    test = pairs(1)
    assert list(calibration.fits) == [ALL]
    log_odds = calibration.log_odds(test.score, test.relation)
    both = Calibration("degree", calibration.fits | {"a -> b": calibration.fits[ALL]})
    rows, _ = calibration_rows(
        "m", both, log_odds, test.truth, test.relation, test.src, test.dst
    )  # fmt: skip
    slope = pd.DataFrame(rows).set_index("relation").loc["a -> b", "slope"]
    assert abs(slope - 1) > 0.1


def test_scores_that_are_too_sure_have_a_slope_below_one() -> None:
    test = pairs(2)
    sure = Calibration("degree", {ALL: Fit(2.0, 0.0, 1000)})
    log_odds = np.where(test.relation == "a -> b", test.score / 3, (test.score / 0.25 + 2)) * 2
    rows, _ = calibration_rows("m", sure, log_odds, test.truth, test.relation, test.src, test.dst)
    assert rows[0]["slope"] == pytest.approx(0.5, abs=0.05)
    assert rows[0]["slope_high"] < 0.6


def test_intervals_of_the_slope_cover() -> None:
    """100 draws; the interval is by vertex, pairs are independent here."""
    covered = []
    truth_of = Calibration("degree", {ALL: Fit(1.0, 0.0, 1000)})
    for seed in range(100):
        one = pairs(100 + seed, 2000)
        log_odds = one.score / TEMPERATURE[[list(RELATIONS).index(r) for r in one.relation]]
        log_odds = log_odds + SHIFT[[list(RELATIONS).index(r) for r in one.relation]]
        rows, _ = calibration_rows(
            "m", truth_of, log_odds, one.truth, one.relation, one.src, one.dst
        )
        covered.append(rows[0]["slope_low"] < 1 < rows[0]["slope_high"])
    assert 0.88 <= np.mean(covered) <= 1


def test_scores_that_separate_have_a_finite_fit() -> None:
    truth = np.arange(400) < 200
    score = np.where(truth, 1.0, -1.0) * 1e6
    calibration = fit_calibration(score, truth, np.full(400, ALL, object), "degree")
    odds = calibration.log_odds(score, np.full(400, ALL, object))
    assert np.isfinite(odds).all()
    assert (odds[truth] > 3).all()
    constant = fit_calibration(np.zeros(400), truth, np.full(400, ALL, object), "degree")
    assert constant.fits[ALL].intercept == pytest.approx(0, abs=1e-6)


def test_a_relation_with_few_edges_has_the_fit_of_all() -> None:
    calibration = fitted(pairs(0))
    assert "rare" not in calibration.fits
    both = calibration.log_odds(np.array([1.0, 1.0]), np.array(["rare", "never seen"], object))
    fit = calibration.fits[ALL]
    np.testing.assert_allclose(both, fit.slope + fit.intercept)


def test_a_calibration_is_read_back() -> None:
    calibration = fitted(pairs(0))
    assert calibration_from(calibration.as_dict(), "x") == calibration
    for wrong in (None, {}, {"negatives": "degree", "fits": {"a": [1, 0, 5]}},
                  {"negatives": "degree", "fits": {ALL: [float("nan"), 0, 5]}}):  # fmt: skip
        with pytest.raises(InputError, match="holds no calibration"):
            calibration_from(wrong, "x")
