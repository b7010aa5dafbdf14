"""The sentence of each verdict has its numbers, and no others."""

from __future__ import annotations

from typing import Any

import pytest
from octoscope.analysis.controlled.sentences import sentence
from octoscope.analysis.controlled.verdict_names import VERDICTS

ROW: dict[str, Any] = {
    "model": "scgpt", "layer": 3, "category": "T cell", "control": "pearson, pooled",
    "n_edges": 1234, "n_pairs": 10_000, "reason": None, "network_view": "all sources",
    "or0": 4.0, "or0_low": 3.25, "or0_high": 5.0, "or1": 3.0, "or1_low": 2.5, "or1_high": 3.75,
    "or1_corrected": 2.9, "or1_corrected_low": 2.25, "or1_corrected_high": 3.5,
    "e_value": 3.41, "bound": 1.2,
}  # fmt: skip
START = "scgpt, layer 3, T cell: "
EDGES = "1,234 of the 10,000 strongest pairs are network edges (all sources)"
BEFORE = "odds ratio 4.00 (3.25 to 5.00) at like degree and expression"
AFTER = "3.00 (2.50 to 3.75) at like co-expression too (pearson, pooled)"
WANT = {
    "beyond co-expression": (
        f"{EDGES}: {BEFORE}, {AFTER}; error in co-expression can leave 1.20, and corrected for it "
        "the odds ratio is 2.90 (2.25 to 3.50). A missing control could explain it only with odds "
        "ratios of 3.41 with both the list and the edges."
    ),
    "no more than co-expression": f"{EDGES}: {BEFORE}, {AFTER}.",
    "not enriched beyond degree and expression": f"{EDGES}: {BEFORE}.",
    "cannot tell": "",
}


@pytest.mark.parametrize("verdict", [v for v in VERDICTS if v != "cannot tell"])
def test_a_verdict_names_its_numbers_and_its_control(verdict: str) -> None:
    """Red: `or1` for `or0`; the bound for the E-value."""
    assert sentence(ROW | {"verdict": verdict}) == f"{START}{verdict}. {WANT[verdict]}"


def test_what_cannot_be_told_names_the_reason() -> None:
    """Red: numbers that are undefined are printed as nan."""
    undefined = {name: float("nan") for name in ROW if name[:2] in ("or", "bo", "e_")}
    row = ROW | undefined | {"verdict": "cannot tell"}
    because = f"{START}cannot tell, because"
    assert sentence(row | {"reason": "too few edges"}) == f"{because} too few edges. {EDGES}."
    assert sentence(row) == f"{because} the numbers are undefined. {EDGES}."
    assert set(WANT) == set(VERDICTS)


def test_an_odds_ratio_without_an_interval_stands_alone() -> None:
    """Red: `(nan to nan)`."""
    row = ROW | {"or0_low": float("nan"), "or0_high": float("nan")}
    text = sentence(row | {"verdict": "not enriched beyond degree and expression"})
    assert text.endswith("odds ratio 4.00 at like degree and expression.")
