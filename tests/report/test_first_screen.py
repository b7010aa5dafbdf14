"""Sentences of the first screen, from rows of findings."""

from __future__ import annotations

from typing import Any

import pytest
from octoscope.report.first_screen import finding, headline
from octoscope.report.limits import Line
from octoscope.report.page_parts import folded

ONE = "(one for each layer, category and attention variant)"
COUNTS = {"n_beyond": 0, "n_no_more": 0, "n_not_enriched": 0, "n_cannot_tell": 0}
ROW: dict[str, Any] = {
    "model": "m", "attends": True, "gene_set": "g", "view": "lift", "n_matrices": 4,
    "n_saturated": 0, "n_tested": 4, "n_enriched": 0, "n_pairs": 300, "n_edges": 0,
    "edge_rate": 0.0, "low": 0.0, "high": 0.0, "null_mean": 0.02, "null_low": 0.0,
    "null_high": 0.05, "fold_over_null": 0.0, "q": 1.0, "strongest_by": "overlap",
    "category": "T cell", "layer": 2, "half_pairs": 1234, "half_centred": 0.4,
    "half_centred_low": 0.3, "half_centred_high": 0.5, "half_null_low": -0.1,
    "half_null_high": 0.1, "half_q": 0.002, "n_halves": 4, "n_reliable": 0, "halves_median": 0.4,
    "halves_smallest": 0.1, "halves_largest": 0.6, "agreement_n": None,
    "agreement_n_significant": None, **COUNTS, "verdict": None,
}  # fmt: skip


def sentences_of(row: dict[str, Any], why: str | None = None) -> dict[str, str]:
    return dict(finding(row, why).sentences)


def test_none_found_is_no_certainty() -> None:
    """Red: 0 of 300 pairs, 0 % (0 % to 0 %)."""
    text = sentences_of(ROW)["Strongest layer"]
    assert "none of its 300 strongest pairs is a network edge" in text
    assert "0 % to 0 %" not in text
    assert "The null expects 2.0 % (0 % to 5.0 %)" in text
    constant = sentences_of(ROW | {"n_edges": 3, "edge_rate": 1.0, "low": 1.0, "high": 1.0})
    assert "95 % interval not defined" in constant["Strongest layer"]


def test_a_run_that_shows_nothing_says_so() -> None:
    lines = headline([ROW], None, network=True)
    assert lines[0] == "This run shows nothing beyond chance."
    assert "0 of 4 matrices repeat between the two halves" in " ".join(lines)
    lines = headline([ROW | {"n_reliable": 4, "n_no_more": 3, "n_cannot_tell": 1}], None, True)
    start = "This run shows no molecular wiring beyond co-expression"
    assert lines[0] == f"{start} in the 3 matrices of which it can tell."
    lines = headline([ROW | {"n_reliable": 4, "n_no_more": 4}], None, True)
    assert lines[0] == f"{start}."
    assert lines[1].startswith(f"0 of 4 matrices {ONE} hold more network edges")
    assert headline([], None, network=True)[0].startswith("This run has no finished matrices")


def test_what_cannot_be_told_is_not_denied() -> None:
    """Red: no wiring, of a run without a single decided layer."""
    lines = headline([ROW | {"n_reliable": 4, "n_cannot_tell": 4}], None, network=True)
    assert lines[0] == "This run cannot tell molecular wiring from co-expression."
    lines = headline([ROW | {"n_reliable": 4}], "nothing was measured", network=True)
    assert lines[0] == "This run shows no overlap with the network beyond the null."
    lines = headline([ROW | {"n_reliable": 4, "n_tested": 0}], "no genes", network=True)
    assert "no overlap" not in lines[0]


def test_what_is_found_is_counted() -> None:
    lines = headline([ROW | {"n_beyond": 2, "n_no_more": 1, "n_reliable": 4}], None, network=True)
    assert lines[0].startswith(f"2 of 3 matrices {ONE} hold more network edges")
    unknown = headline([ROW | {"n_enriched": 1}], "nothing was measured; do", network=True)
    assert "1 of 4 tested matrices has more network edges" in unknown[0]
    assert "cannot be told: nothing was measured." in unknown[0]  # the fix stands below
    assert sentences_of(ROW, "nothing was measured; do")["After co-expression"].endswith("; do.")


def test_what_a_run_has_not_compared_is_not_said() -> None:
    assert "Other models" not in sentences_of(ROW)
    assert "comparison" not in " ".join(headline([ROW], None, network=False))
    alone = sentences_of(ROW | {"strongest_by": "reliability"})["Strongest layer"]
    assert "by the largest reliability of 4 matrices" in alone


def test_agreement_has_n_null_and_interval() -> None:
    agreed = {
        "k": 50, "eval_model": "other", "n": 8, "median_quantile": 0.2, "smallest": 0.1,
        "largest": 0.3, "null_median": 0.5, "n_significant": 3, "best_category": "B cell",
        "best_query_layer": 1, "best_eval_layer": 0, "best_n_pairs": 50, "best_low": 0.05,
        "best_high": 0.2, "best_null_low": 0.4, "best_null_high": 0.6, "best_q": 0.00001,
    }  # fmt: skip
    text = sentences_of(ROW | {f"agreement_{k}": v for k, v in agreed.items()})["Other models"]
    assert "Closest is other: the 50 strongest pairs have there a median quantile of 0.20" in text
    assert "over 8 comparisons (0.10 to 0.30), the null 0.50; q is below 0.05 in 3." in text
    assert "50 pairs: 0.10 (95 % interval 0.050 to 0.20; null 0.40 to 0.60; q < 0.0001)" in text


@pytest.mark.parametrize("details", [["<i>"], ["<i>", "b"], []])
def test_lines_are_text(details: list[str]) -> None:
    shown = folded(Line("<b>", details))
    assert "&lt;b&gt;" in shown
    assert ("<details>" in shown) == bool(details)
    assert "<i>" not in shown
