"""What a run found in each category, against its tables."""

from __future__ import annotations

from pathlib import Path

from octoscope.results.category_findings import category_findings
from octoscope.results.run_results import Results


def test_each_category_has_its_own_strongest_layer(finished_run: Path) -> None:
    """Red: rows of all categories under the name of one."""
    results = Results.open(finished_run)
    table = category_findings(results, "panel", "marginal")
    assert table["category"].tolist() == ["T cell", "macrophage"]
    cells = results.tables["cells"].set_index("category")["used"]
    assert "overlap" in set(table["strongest_by"])
    for row in table.to_dict("records"):
        of = results.tables["overlap"].query("view == 'marginal'")
        of = of[of["category"] == row["category"]]
        known = of.dropna(subset=["fold_over_null"])
        assert row["strongest_by"] == ("overlap" if len(known) else "reliability")
        assert (row["n_pairs"] is None) == known.empty
        best = known.sort_values(["q", "fold_over_null"], ascending=[True, False])
        for column in ("layer", "n_pairs", "n_edges", "null_low", "q"):
            assert best.empty or row[column] == best[column].iloc[0], column
        assert row["n_matrices"] == 2
        assert row["n_cells"] == cells[row["category"]]
        assert row["closest_eval_model"] is None  # there is no other model
        assert row["n_beyond"] is None  # unknown is not zero
