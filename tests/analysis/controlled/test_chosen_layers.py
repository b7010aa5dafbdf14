"""A layer is chosen on one half of the genes and tested on the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from octoscope.analysis.controlled.gene_halves import half_of_vertices
from octoscope.analysis.controlled.mantel_haenszel import OddsRatio
from octoscope.analysis.tables.chosen_layers import HalfRow, chosen_layers
from octoscope.analysis.tables.controlled_schema import CONTROLLED_TABLES

from tests.analysis.controlled.test_verdicts import BASE

COLUMNS = [c.name for t in CONTROLLED_TABLES if "chosen" in t.path for c in t.columns]


def row(half: int, layer: int, log: float, variant: str = "m", category: str = "c") -> HalfRow:
    label = {
        "base": "m", "variant": variant, "layer": layer, "category": category, "gene_set": "all",
        "view": "logit", "network_view": "all sources", "control": "pearson", "k": 9,
    }  # fmt: skip
    return HalfRow(label, half, replace(BASE, or1=OddsRatio(log, 0.1)))


def chosen(*rows: HalfRow) -> pd.DataFrame:
    return chosen_layers(rows, COLUMNS).set_index("chosen_on")


def test_the_strongest_of_one_half_is_tested_on_the_other() -> None:
    """Red: tested where it was chosen; the best of the tested half."""
    rows = chosen(
        row(0, 0, 0.9), row(1, 0, 0.1), row(0, 1, 0.2), row(1, 1, 0.8),
        row(0, 2, 0.5, "m.head01"), row(1, 2, 0.85, "m.head01"),
    )  # fmt: skip
    assert rows.loc[0, ["variant", "layer", "n_candidates"]].tolist() == ["m", 0, 3]
    assert rows.loc[0, ["or1_chosen", "or1"]].tolist() == pytest.approx(list(np.exp([0.9, 0.1])))
    assert rows.loc[1, ["variant", "layer"]].tolist() == ["m.head01", 2]
    assert rows.loc[1, ["or1_chosen", "or1"]].tolist() == pytest.approx(list(np.exp([0.85, 0.5])))
    assert (rows["q"] >= rows["p"]).all()
    assert "m layer 0 is the strongest among half 0" in rows["sentence"][0]
    assert f"{np.exp(0.1):.2f} (" in rows["sentence"][0]


def test_categories_are_chosen_apart_and_undefined_layers_never() -> None:
    """Red: one choice for all categories; NaN taken for the largest."""
    nan = float("nan")
    rows = chosen_layers(
        [row(h, y, v, category=c) for c, values in (("a", (nan, 0.1)), ("b", (0.3, nan)))
         for y, v in enumerate(values) for h in (0, 1)], COLUMNS,
    )  # fmt: skip
    assert rows.groupby("category")["layer"].unique().map(list).to_dict() == {"a": [1], "b": [0]}
    none = chosen_layers([row(0, 0, nan), row(1, 0, nan)], COLUMNS)
    assert len(none) == 0
    assert list(none.columns) == COLUMNS


def test_a_layer_that_cannot_be_tested_says_so() -> None:
    """Red: "nan (nan to nan)"."""
    rows = chosen(row(0, 0, 0.5), row(1, 0, float("nan")))
    assert "too few edges to test it" in rows["sentence"][0]


def test_halves_are_equal_random_and_the_same_for_all() -> None:
    """Red: the first half of the vertices; another division with each call."""
    half = half_of_vertices(1001, 4)
    np.testing.assert_array_equal(half, half_of_vertices(1001, 4))
    assert abs(half.sum() - 500) <= 1
    assert 150 < half[:500].sum() < 350
    assert (half != half_of_vertices(1001, 5)).any()
