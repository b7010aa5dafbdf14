"""`models list | inspect | check`, and whole-data-set statistics."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from octoscope.atlas import Atlas
from octoscope.config import AtlasConfig
from octoscope.demo.demo import checkpoint
from octoscope.probe.gene_statistics import gene_statistics

from tests.conftest import octoscope
from tests.here import here
from tests.models.parity import DATA


def test_list_names_every_family_with_its_source() -> None:
    rows = json.loads(here("models", "list", "--json").stdout)
    assert {r["family"] for r in rows} >= {"scgpt", "scprint", "aidocell"}
    assert all(r["source"] and r["licence"] and r["files"] for r in rows)
    text = here("models", "list").stdout
    assert "AIDO.Cell-100M" in text


@pytest.mark.slow
def test_inspect_and_check_tell_what_a_run_would_do(small_atlas: Path) -> None:
    inspected = here("models", "inspect", checkpoint("scprint-demo"), "--json")
    rows = json.loads(inspected.stdout)
    assert (rows["family"], rows["layers"], rows["heads"], rows["d"]) == ("scprint", 3, 4, 64)
    assert len(rows["sha256"]["model.ckpt"]) == 64
    shown = here(
        "models", "inspect", str(DATA / "geneformer/v1/checkpoint"),
        "--option", "dictionaries=v1/dictionaries", "--json",
    )  # fmt: skip
    rows = json.loads(shown.stdout)
    assert rows["variant"] == "V1, custom size"
    assert "token_dictionary_gc30M_like.pkl" in rows["sha256"]
    checked = here(
        "models", "check", checkpoint("scprint-demo"), str(small_atlas),
        "--option", "context=most expr", "--option", "max_len=50", "--dtype", "bfloat16", "--json",
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
    rows = json.loads(checked.stdout)
    assert rows["tokens per cell, largest"] == rows["tokens per cell, bound"] == 58
    assert rows["matched genes"] == rows["model genes"] == 600
    assert rows["dtype"] == "bfloat16"
    assert rows["seconds per cell, all layers"] > 0
    bad = here("models", "check", checkpoint("scprint-demo"), str(small_atlas), "--dtype", "int8")
    assert bad.returncode == 2
    assert "--dtype: 'int8'" in bad.stderr


@pytest.mark.slow
def test_check_measures_the_memory_of_a_long_input(small_atlas: Path) -> None:
    # in a process of its own: memory that an earlier test freed would hide the growth
    checked = octoscope(
        "models", "check", checkpoint("aidocell-demo"), str(small_atlas),
        "--option", "context=shared", "--json",
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
    short = json.loads(checked.stdout)
    assert short["tokens per cell, bound"] == short["matched genes"] + 2
    # the bins of the value embedding alone: tokens x 50 floats
    least = short["tokens per cell, bound"] * 50 * 4
    assert least < short["peak bytes of one cell's forward pass"] < 50 * least


def test_statistics_over_batches_equal_the_whole(
    small_atlas: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octoscope.probe.gene_statistics._BATCH", 7)
    atlas = Atlas(AtlasConfig(path=str(small_atlas)))
    groups = [np.arange(0, 24), np.arange(24, 48)]
    got = gene_statistics(atlas, groups)
    dense = atlas.read(np.arange(48)).counts.toarray().astype(float)
    scaled = np.log1p(dense / dense.sum(1, keepdims=True) * 1e4)
    assert got.cells.tolist() == [24, 24]
    assert np.allclose(got.total, dense.sum(0))
    for c, rows in enumerate(groups):
        assert np.allclose(got.mean[c], scaled[rows].mean(0))
        assert np.allclose(got.variance[c], scaled[rows].var(0), atol=1e-12)
