"""Headlines: the control that explains most, and "beyond" only if every control says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from octoscope.analysis.controlled.mantel_haenszel import OddsRatio
from octoscope.analysis.controlled.verdict_names import BEYOND, CANNOT_TELL
from octoscope.analysis.tables.controlled_rows import judged
from octoscope.analysis.tables.controlled_tables import _summary, _verdicts

from tests.analysis.controlled.test_verdicts import BASE

LABEL = {
    "layer": 0, "gene_set": "all", "view": "logit", "k": 100, "longest": True, "cells": 1000,
    "model": "m", "category": "c", "network_view": "all sources",
}  # fmt: skip


def rows_of(**by_control: Any) -> dict[str, dict[str, Any]]:
    labelled = [(LABEL | {"control": name}, c) for name, c in by_control.items()]
    return {row["control"]: row for row in judged(labelled)}


def test_beyond_needs_every_control() -> None:
    """Red: a pool that is measured well, but only a proxy, decides alone (10 of 12 nulls)."""
    weak = replace(BASE, reliability=0.1, or1=OddsRatio(BASE.or1.log + 0.1, BASE.or1.se))
    rows = rows_of(pearson=weak, pooled=BASE)
    assert rows["pooled"]["headline"]
    assert rows["pooled"]["verdict"] == CANNOT_TELL
    assert rows["pooled"]["reason"].startswith("under the control pearson: ")
    alone = rows_of(pearson=replace(BASE, or1=OddsRatio(BASE.or1.log + 0.1, 0.1)), pooled=BASE)
    assert alone["pooled"]["verdict"] == BEYOND


def test_a_control_that_leaves_nothing_to_compare_is_the_headline() -> None:
    """Red: an undefined odds ratio taken for the weakest explanation."""
    rows = rows_of(pearson=BASE, pooled=replace(BASE, or1=OddsRatio(float("nan"))))
    assert rows["pooled"]["headline"]
    assert not rows["pearson"]["headline"]
    assert rows["pooled"]["verdict"] == CANNOT_TELL


@pytest.mark.parametrize("turned", [False, True])
def test_the_summary_shows_the_clearest_verdict(turned: bool) -> None:
    """Red: the largest lower limit, whatever the verdict."""
    clear = next(iter(rows_of(pearson=BASE).values()))
    strong = replace(BASE, or1=OddsRatio(BASE.or1.log + 1, 0.1), positivity=0.1)
    unclear = next(iter(rows_of(pearson=strong).values())) | {"layer": 1}
    verdicts = _verdicts([unclear, clear] if turned else [clear, unclear], ["logit"])
    assert [r["layer"] for r in verdicts] == [0, 1]
    summary = _summary(verdicts)
    assert summary["sentence"] == next(r["sentence"] for r in verdicts if r["verdict"] == BEYOND)
    assert (summary["n_layers"], summary["n_beyond"], summary["n_cannot_tell"]) == (2, 1, 1)
    assert np.isfinite(clear["e_value"])
