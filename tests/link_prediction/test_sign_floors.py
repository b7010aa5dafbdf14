"""Floors of signs on planted regulators and targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from octoscope.link_prediction import path_sums
from octoscope.link_prediction.links import Links
from octoscope.link_prediction.sign_floors import (
    BOTH,
    REGULATOR,
    STACKED,
    TARGET,
    rates,
    sign_table,
    signed_pairs,
)
from octoscope.link_prediction.signed_paths import SignedTraining, path_features
from octoscope.link_prediction.splits import Split, split_links

from tests.link_prediction.conftest import links_from, pairs_by_degree


@dataclass
class Planted:
    links: Links
    pair: pd.Series  # the propensity of each pair, by its code


def signed(of_regulator: float, of_target: float, of_pair: float = 0.0) -> Planted:
    """Signs of 20,000 pairs from propensities of regulator, target and pair."""
    rng = np.random.default_rng(7)
    n = 1500
    src, dst = pairs_by_degree(rng, n, 20_000)
    regulator, target = rng.normal(size=n), rng.normal(size=n)
    pair = rng.normal(size=len(src))
    lean = of_regulator * regulator[src] + of_target * target[dst] + of_pair * pair
    activates = rng.random(len(src)) < 1 / (1 + np.exp(-lean - 0.5))
    links = links_from(n, src, dst, sign=np.where(activates, 1, -1))
    return Planted(links, pd.Series(pair, index=src * n + dst))


def values(table: pd.DataFrame, split: str, metric: str = "auc") -> dict[str, float]:
    rows = table[(table["split"] == split) & (table["metric"] == metric)]
    return rows.set_index("scorer")["value"].to_dict()


def test_floors_know_the_end_that_decides() -> None:
    links = signed(0, 2).links
    table, conflicting = sign_table(links, split_links(links))
    assert conflicting == 0
    here = values(table, "as asked")
    assert here[TARGET] > 0.75
    assert here[REGULATOR] == pytest.approx(0.5, abs=0.04)
    assert values(table, "new regulators")[TARGET] > 0.75
    assert values(table, "new targets")[BOTH] == pytest.approx(0.5, abs=0.04)
    for area in values(table, "both new").values():
        assert area == 0.5  # nothing is known of either end
    within = values(table, "as asked", "auc_within_regulator")
    assert within[TARGET] > 0.7
    assert within[REGULATOR] == 0.5


def test_a_model_that_knows_targets_gains_nothing_where_targets_decide() -> None:
    """20,000 pairs, 3,000 in test; the model has the rates of targets in other training pairs."""
    links = signed(0, 2).links
    split = split_links(links)
    rng = np.random.default_rng(8)
    pairs = signed_pairs(links, split)
    half = np.flatnonzero((pairs.part == 1) | (pairs.part == 2))
    drawn = rng.choice(half, int((pairs.part == 1).sum()), replace=False)
    up = np.bincount(pairs.dst[drawn], pairs.activates[drawn], links.n)
    total = np.bincount(pairs.dst[drawn], minlength=links.n)
    known = np.log((up + 0.6) / (total - up + 0.4))
    for stacked in (False, True):
        table, _ = sign_table(links, split, {"model": lambda a, b: known[b]}, stacked=stacked)
        row = table.query("scorer == 'model' and metric == 'auc'").iloc[0]
        assert row["best_floor"] in (TARGET, BOTH, STACKED)
        assert row["gain_low"] < 0 < row["gain_high"]
        assert row["gain_high"] - row["gain_low"] < 0.05  # and not for want of pairs
    assert STACKED in set(table["scorer"])


def by_class() -> Links:
    """20,000 pairs; a sign is decided by the classes of both ends, and no end leans to one."""
    rng = np.random.default_rng(3)
    n = 800
    src, dst = pairs_by_degree(rng, n, 20_000)
    kind = rng.integers(0, 2, n)
    activates = (kind[src] == kind[dst]) ^ (rng.random(len(src)) < 0.05)
    return links_from(n, src, dst, sign=np.where(activates, 1, -1))


def test_trees_know_what_paths_say_and_rates_do_not() -> None:
    links = by_class()
    rows = sign_table(links, split_links(links), {"blind": lambda a, b: a * 0.0}, stacked=True)[0]
    areas = values(rows, "as asked")
    assert areas[STACKED] > 0.85
    assert max(areas[REGULATOR], areas[TARGET], areas[BOTH]) < 0.7
    blind = rows.query("scorer == 'blind' and metric == 'auc'").iloc[0]
    assert blind["best_floor"] == STACKED
    assert blind["gain_high"] < -0.3
    floor = rows.query("scorer == @STACKED and metric == 'auc'").iloc[0]
    assert floor["kind"] == "floor"
    assert floor["n_regulators"] <= len(np.unique(links.src))


def test_trees_do_not_know_the_signs_of_test_pairs() -> None:
    """Every sign of test is turned: nothing that trees read may change, so their AUC is 1 less it.

    Red: test pairs among those of training, or of fitting.
    """
    links = by_class()
    split = split_links(links)
    turned = np.where(split.part == 3, -1, 1).astype(np.int8)
    other = links_from(links.n, links.src, links.dst, sign=links.sign * turned)
    areas = [values(sign_table(x, split, stacked=True)[0], "as asked")[STACKED]
             for x in (links, other)]  # fmt: skip
    assert areas[1] == pytest.approx(1 - areas[0], abs=1e-12)


def test_signed_paths_are_products_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red: a step against its direction, a sum of signs for one of what rates leave over."""
    monkeypatch.setattr(path_sums, "SOURCES", 7)
    monkeypatch.setattr(path_sums, "ENTRIES", 50)
    rng = np.random.default_rng(0)
    n = 40
    src, dst = np.divmod(np.sort(rng.choice(n * n, 200, replace=False)), n)
    up = rng.random(200) < 0.6
    train = SignedTraining(n, src, dst, up)
    both = rates(n, src, dst, up)[BOTH]
    a, b = np.divmod(rng.permutation(n * n), n)
    out, into = (np.maximum(np.bincount(e, minlength=n), 1) ** -0.5 for e in (src, dst))

    def step(value: np.ndarray) -> np.ndarray:
        matrix = np.zeros((n, n))
        matrix[src, dst] = value * out[src] * into[dst]
        return matrix

    odds = np.exp(both(src, dst)) / (up.mean() / (1 - up.mean()))
    joined = step(np.ones(200))
    total = joined @ joined.T @ joined
    expected = [total]
    for value in (np.where(up, 1, -1), up - odds / (1 + odds)):
        s = step(value)
        likeness = joined @ joined.T @ s
        expected += [s @ s.T @ s, likeness, likeness / np.maximum(total, 1e-9), s.T @ s, s @ s @ s,
                     s @ s.T, s @ s, s.T]  # fmt: skip
    u, values_of, vt = np.linalg.svd(s)
    expected += [(u[:, :k] * values_of[:k]) @ vt[:k] for k in (8, 32)]
    table = path_features(train, both, a, b)
    assert table.shape == (n * n, len(expected))
    for i, matrix in enumerate(expected):
        np.testing.assert_allclose(table[:, i], matrix[a, b], rtol=1e-3, atol=1e-5, err_msg=str(i))


def test_few_pairs_or_one_sign_have_no_trees() -> None:
    links = signed(0, 2).links
    few = np.flatnonzero(split_links(links).part != 2)
    few = np.append(few, np.flatnonzero(split_links(links).part == 2)[:90])
    small = links_from(links.n, links.src[few], links.dst[few], sign=links.sign[few])
    assert STACKED not in set(sign_table(small, split_links(small), stacked=True)[0]["scorer"])
    table = sign_table(links, split_links(links))[0]
    assert STACKED not in set(table["scorer"])  # they are asked for


def test_a_model_that_knows_pairs_gains() -> None:
    planted = signed(0.5, 0.5, 2)
    links, n = planted.links, planted.links.n
    knows = {"model": lambda a, b: planted.pair.loc[a * n + b].to_numpy()}
    table, _ = sign_table(links, split_links(links), knows)
    for metric in ("auc", "auc_within_regulator"):
        row = table[(table["scorer"] == "model") & (table["metric"] == metric)].iloc[0]
        assert row["gain_low"] > 0.05


def test_intervals_are_by_regulator() -> None:
    links = signed(2, 0).links
    table, _ = sign_table(links, split_links(links))
    row = table.query("split == 'new targets' and scorer == @REGULATOR and metric == 'auc'").iloc[0]
    assert row["n_regulators"] < row["n_pairs"] / 2
    pairs = signed_pairs(links, split_links(links))
    assert row["n_regulators"] <= len(np.unique(pairs.src))
    # 2,000 pairs of their own would give about 0.02
    assert row["high"] - row["low"] > 0.03


def test_conflicting_pairs_are_left_out_and_counted() -> None:
    links = links_from(
        4, np.array([0, 0, 1, 2, 3]), np.array([1, 1, 0, 3, 3]), sign=np.array([1, -1, 1, 0, 1])
    )
    split = Split("pair", np.full(5, 3, np.uint8), {}, "")
    pairs = signed_pairs(links, split)
    assert (pairs.conflicting, pairs.src.tolist(), pairs.dst.tolist()) == (1, [1], [0])


def test_a_network_without_signs_has_no_rows(degree_only: Links) -> None:
    table, _ = sign_table(degree_only, split_links(degree_only))
    assert len(table) == 0
    assert "value" in table
