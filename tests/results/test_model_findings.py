"""What a run found of each model, against its tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from octoscope.results.model_findings import (
    cells_used,
    findings,
    genes_not_ranked,
    shown_as,
    why_undecided,
)
from octoscope.results.run_results import Results


def test_the_strongest_matrix_is_that_of_the_smallest_q(finished_run: Path) -> None:
    results = Results.open(finished_run)
    table = findings(results, "panel", "marginal")
    assert table["model"].tolist() == ["tiny"]
    row = table.iloc[0]
    overlap = results.tables["overlap"].query("view == 'marginal'")
    best = overlap.sort_values(["q", "fold_over_null"], ascending=[True, False]).iloc[0]
    assert (row["category"], row["layer"]) == (best["category"], best["layer"])
    for column in ("n_pairs", "n_edges", "edge_rate", "low", "high", "null_mean", "q"):
        assert row[column] == best[column], column
    assert row["n_enriched"] == (overlap["q"] < 0.05).sum()
    stats = results.tables["stats"].query("view == 'marginal'")
    same = stats[(stats["category"] == best["category"]) & (stats["layer"] == best["layer"])]
    assert row["half_centred"] == same["half_centred"].iloc[0]
    assert row["halves_median"] == stats["half_centred"].median()
    assert row["n_saturated"] == (stats["top_share"] > 0.1).sum()
    assert row["agreement_n"] is None  # there is no other model
    assert row["n_beyond"] is None  # unknown is not zero


def test_a_view_that_a_model_lacks_is_its_first(finished_run: Path) -> None:
    m = Results.open(finished_run).plan.models[0]
    assert shown_as(m, "panel", "logit") == ("panel", "logit")
    assert shown_as(m, "another", "correlation") == ("panel", "marginal")


def test_cells_and_genes_that_did_not_count(finished_run: Path) -> None:
    results = Results.open(finished_run)
    assert cells_used(results) == {"tiny": 48}
    absent = genes_not_ranked(results)
    m = results.plan.models[0]
    names = m.gene_sets_absent["panel"]
    expected = [["tiny", "panel", len(m.gene_sets["panel"]), len(names), ", ".join(names)]]
    assert absent.to_numpy(object).tolist() == (expected if names else [])
    assert isinstance(why_undecided(results), pd.DataFrame)
    assert why_undecided(results).empty
