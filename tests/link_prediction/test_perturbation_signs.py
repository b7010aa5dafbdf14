"""Signs of perturbations with a planted truth: size, power, and what rows would say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from octoscope.link_prediction import perturbation_signs as module
from octoscope.link_prediction.perturbation_signs import RESPONSE, perturbation_signs
from scipy.stats import chi2_contingency

Simulated = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def simulated(
    seed: int, regulators: int = 40, targets: int = 60, of_target: float = 0.0, of_pair: float = 0.0
) -> Simulated:
    """Return regulator, target, effect, what is true of the target, and of the pair."""
    rng = np.random.default_rng(seed)
    a, b = np.divmod(np.arange(regulators * targets), targets)
    leaning, pair = rng.normal(size=targets), rng.normal(size=len(a))
    own = rng.normal(size=regulators)[a]  # regulators lean to one sign
    effect = own + of_target * leaning[b] + of_pair * pair + rng.normal(size=len(a))
    return a, b, effect, leaning[b], pair


def only(table: pd.DataFrame, scorer: str, share: float = 1.0) -> dict[str, float]:
    (row,) = table.query("scorer == @scorer and share == @share and pairs == 'all'").to_dict(
        "records"
    )
    return row


def test_where_targets_decide_a_model_of_targets_gains_nothing() -> None:
    """80 regulators x 60 targets; the model knows what targets did in 40, and is asked of others.

    A chi-square over rows is sure all the same.
    """
    a, b, effect, leaning, _ = simulated(0, 80, of_target=2.0)
    other = a >= 40
    agree = np.bincount(2 * (leaning > 0) + (effect > 0), minlength=4).reshape(2, 2)
    assert chi2_contingency(agree).pvalue < 1e-300
    known = np.bincount(b[other], np.where(effect > 0, 1, -1)[other])
    a, b, effect = a[~other], b[~other], effect[~other]
    row = only(perturbation_signs(a, b, effect, {"model": known[b]}, draws=300), "model")
    assert row["best_floor"] == RESPONSE
    assert row["auc"] > 0.8
    assert row["gain_low"] < 0 < row["gain_high"]
    assert row["gain_high"] - row["gain_low"] < 0.03  # and not for want of regulators


def test_a_model_of_hubs_and_regulators_is_at_one_half() -> None:
    """Signs of regulators are constant among its targets."""
    a, b, effect, _, _ = simulated(1)
    own = pd.Series(effect).groupby(a).transform("mean").to_numpy()
    row = only(perturbation_signs(a, b, effect, {"model": own}, draws=100), "model")
    assert row["auc"] == 0.5
    assert row["p"] == 1


def test_p_values_are_of_the_right_size() -> None:
    """100 draws in which the model knows nothing of pairs; in half of them targets decide."""
    p = []
    for seed in range(100):
        a, b, effect, _, _ = simulated(seed, 12, 25, of_target=1.5 * (seed % 2))
        noise = np.random.default_rng(1000 + seed).normal(size=len(a))
        table = perturbation_signs(a, b, effect, {"model": noise}, shares=(1.0,), draws=99)
        p.append(only(table, "model")["p"])
    assert np.mean(np.array(p) <= 0.05) <= 0.11
    assert 0.4 < np.mean(p) < 0.6


def test_power_grows_with_regulators() -> None:
    power_of = {}
    for regulators in (4, 30):
        gains = []
        for seed in range(20):
            a, b, effect, _, pair = simulated(seed, regulators, 25, of_target=1, of_pair=0.3)
            table = perturbation_signs(a, b, effect, {"m": pair}, shares=(1.0,), draws=99)
            gains.append(only(table, "m")["p"] <= 0.05)
        power_of[regulators] = np.mean(gains)
    assert power_of[30] > 0.9
    assert power_of[4] < power_of[30] - 0.1


def test_intervals_are_by_regulator() -> None:
    """A model that knows half of the regulators: rows would give an interval half as wide."""
    a, b, effect, _, pair = simulated(3, 20, 200, of_pair=2.0)
    model = np.where(a % 2 == 0, pair, np.random.default_rng(0).normal(size=len(a)))
    row = only(perturbation_signs(a, b, effect, {"m": model}, draws=500), "m")
    assert row["high"] - row["low"] > 0.1
    assert row["n_regulators"] == 20


def test_the_strongest_effects_of_each_regulator_are_taken() -> None:
    effect = np.array([1.0, -9, 3, 4, 5, 6, 7, 8, 0.1, 0.2])
    regulator = np.array([0] * 8 + [1] * 2)
    assert module._strongest(regulator, effect, 0.5).tolist() == [1, 4, 5, 6, 7, 8, 9]
    assert module._strongest(regulator, effect, 0.75).tolist() == [1, 3, 4, 5, 6, 7, 8, 9]


def test_groups_are_reported_besides_all_pairs() -> None:
    a, b, effect, _, pair = simulated(4, of_pair=1.0)
    group = np.where(b < 20, "training edge", "no edge").astype(object)
    model = np.where(b < 20, pair, 0.0)
    table = perturbation_signs(a, b, effect, {"m": model}, group=group, shares=(1.0,), draws=99)
    rows = table.query("scorer == 'm'").set_index("pairs")
    assert rows.loc["training edge", "auc"] > 0.6
    assert rows.loc["no edge", "auc"] == pytest.approx(0.5)
    assert rows.loc["training edge", "n_pairs"] < rows.loc["all", "n_pairs"]
