"""The measures of each layer over categories, against the tables of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from octoscope.results.layer_profile import layer_profile
from octoscope.results.run_results import Results


def test_each_layer_has_the_spread_of_its_categories(finished_run: Path) -> None:
    results = Results.open(finished_run)
    table = layer_profile(results, "tiny", "panel", "marginal").set_index(["measure", "layer"])
    assert set(table.index.get_level_values(0)) == {"reliability", "overlap", "special"}
    assert set(table.index.get_level_values(1)) == {0, 2}
    stats = results.tables["stats"].query("view == 'marginal' and layer == 2")
    row = table.loc[("reliability", 2)]
    assert row["n"] == len(stats) == 2
    assert row["median"] == pytest.approx(stats["half_centred"].median())
    assert row["smallest"] == stats["half_centred"].min()
    mass = results.tables["mass_by_layer"].query("layer == 2 and to == 'cls'")
    assert table.loc[("special", 2), "largest"] == pytest.approx(mass["share"].max())
    overlap = results.tables["overlap"].query("view == 'marginal' and layer == 2")
    assert table.loc[("overlap", 2), "median"] == pytest.approx(overlap["fold_over_null"].median())
    assert table.loc[("overlap", 2), "null_low"] < 1 < table.loc[("overlap", 2), "null_high"]


def test_a_measure_that_a_view_has_not_has_no_rows(finished_run: Path) -> None:
    table = layer_profile(Results.open(finished_run), "tiny", "panel", "no such view")
    assert set(table["measure"]) == {"special"}
