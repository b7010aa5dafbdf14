"""Models side by side: medians over categories and layers, mass weighted by the cells of a gene."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from octoscope.analysis.summaries import mass_by_layer, side_by_side


def stats() -> pd.DataFrame:
    rows = [
        {"model": m, "category": c, "layer": y, "gene_set": "all", "view": v,
         "n_eligible": 100 * (1 + y), "half_centred": r, "hub_key_share": 0.5}
        for m in ("a", "b") for c in ("T cell", "B cell") for y in (0, 1) for v in ("lift", "logit")
        for r in [0.1 * y + 0.2 * (c == "B cell") if m == "a" else np.nan]
    ]  # fmt: skip
    return pd.DataFrame(rows)


def mass() -> pd.DataFrame:
    return pd.DataFrame({
        "model": "a", "category": "T cell", "layer": [0, 0, 1, 1], "gene": ["x", "y"] * 2,
        "cells": [30, 10, 30, 10], "to_kept": 0.5, "to_outside": 0.1,
        "to_cls": [0.4, 0.0, 0.1, 0.1], "to_end": [0.0, 0.0, 0.1, np.nan],
    })  # fmt: skip


def of(table: pd.DataFrame, **where: str) -> pd.Series:
    for column, value in where.items():
        table = table[table[column] == value]
    (row,) = table.to_dict("records")
    return pd.Series(row)


def test_the_spread_is_over_categories_and_layers_of_one_gene_set_and_view() -> None:
    table = side_by_side(stats(), mass())
    row = of(table, model="a", view="lift", measure="half_centred")
    assert row["n"] == 4
    assert row[["median", "smallest", "largest"]].tolist() == pytest.approx([0.15, 0.0, 0.3])
    assert of(table, model="b", view="logit", measure="n_eligible")["median"] == 150


def test_what_is_not_known_has_no_n_and_no_median() -> None:
    row = of(side_by_side(stats(), mass()), model="b", view="lift", measure="half_centred")
    assert row["n"] == 0
    assert np.isnan(row["median"])


@pytest.mark.filterwarnings("error")
def test_what_attends_to_nothing_has_no_row_of_it() -> None:
    table = side_by_side(stats(), mass().iloc[:0])
    assert set(table["measure"]) == {"n_eligible", "half_centred", "hub_key_share"}


def test_attention_on_special_tokens_counts_each_gene_with_its_cells() -> None:
    table = side_by_side(stats(), mass())
    for view in ("lift", "logit"):
        row = of(table, model="a", view=view, measure="special")
        assert row["n"] == 2  # a matrix each, of either layer
        assert row[["smallest", "largest"]].tolist() == pytest.approx([0.175, 0.3])
    assert not ((table["model"] == "b") & (table["measure"] == "special")).any()


def test_attention_by_layer_has_the_interval_of_its_query_genes() -> None:
    table = pd.DataFrame({
        "model": "a", "category": "T cell", "layer": 0, "gene": list("uvwxyz"),
        "cells": [30, 10, 20, 0, 5, 40], "to_kept": [0.5, 0.9, 0.2, np.nan, 0.4, 0.6],
        "to_cls": [0.5, 0.1, 0.8, np.nan, 0.6, 0.4], "to_end": np.nan,
    })  # fmt: skip
    shares = mass_by_layer(table).set_index("to")
    assert list(shares.index) == ["kept", "cls"]  # no such token in this model
    used = table[table["cells"] > 0]

    def share(of: pd.DataFrame) -> float:
        return float(np.average(of["to_kept"], weights=of["cells"]))

    without = np.array([share(used.drop(index=i)) for i in used.index])
    error = np.sqrt(4 / 5 * ((without - without.mean()) ** 2).sum())
    row = shares.loc["kept"]
    assert row["share"] == pytest.approx(share(used))
    assert (row["low"], row["high"]) == pytest.approx(
        (share(used) - 1.959964 * error, share(used) + 1.959964 * error)
    )
    assert (row["n_genes"], row["n_cells"]) == (5, 40)
    assert shares["share"].sum() == pytest.approx(1)


def test_a_network_adds_the_edge_rate_over_its_null() -> None:
    assert "fold_over_null" not in set(side_by_side(stats(), mass())["measure"])
    tested = stats()[["model", "category", "layer", "gene_set", "view"]].assign(fold_over_null=2.0)
    row = of(side_by_side(stats(), mass(), tested), model="b", view="lift",
             measure="fold_over_null")  # fmt: skip
    assert (row["n"], row["median"]) == (4, 2.0)
