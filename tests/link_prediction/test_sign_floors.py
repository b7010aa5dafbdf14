"""Floors of signs on planted regulators and targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from octoscope.link_prediction.links import Links
from octoscope.link_prediction.sign_floors import (
    BOTH,
    REGULATOR,
    TARGET,
    sign_table,
    signed_pairs,
)
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
    table, _ = sign_table(links, split, {"model": lambda a, b: known[b]})
    row = table.query("scorer == 'model' and metric == 'auc'").iloc[0]
    assert row["best_floor"] in (TARGET, BOTH)
    assert row["gain_low"] < 0 < row["gain_high"]
    assert row["gain_high"] - row["gain_low"] < 0.05  # and not for want of pairs


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
