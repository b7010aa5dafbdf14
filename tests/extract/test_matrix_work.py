"""Reducing units to a matrix: memory does not grow with the number of units."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from octoscope.config import parse_config
from octoscope.extract.matrix_work import MatrixRunner
from octoscope.extract.unit_work import UnitRunner
from octoscope.planning.freeze import prepare
from octoscope.planning.frozen_config import run_config
from octoscope.run_plan.values import Plan
from octoscope.store import tiles
from octoscope.store.run_dir import RunRoot

from tests.conftest import small_tree

TILE = 512  # large, so that tiles outweigh what finalising holds


def reduced(atlas: Path, run: Path, unit_cells: int) -> tuple[RunRoot, Plan, int, np.ndarray]:
    """Compute one category with so many cells a unit; returns the peak of reducing a layer."""
    tree = small_tree(atlas)
    tree["accumulate"] = "wide"
    tree["gene_sets"].append({"name": "wide", "kind": "model"})
    tree["models"][0]["layers"] = [0]
    tree["network"] = tree["edges"] = None
    tree["execution"] |= {
        "unit_cells": unit_cells, "advanced": {"micro_batch": 1, "tile": TILE}
    }  # fmt: skip
    tree["atlas"]["categories"] = ["T cell"]
    root, plan = prepare(parse_config(tree, "test"), str(run))
    runner = UnitRunner(root, plan, run_config(root), "tiny")
    for unit in plan.units:
        runner.run(unit)
    matrices = MatrixRunner(root, plan)
    matrices.pairs("tiny", 0)
    peaks = []
    for _ in range(3):  # other threads of this process are traced too: the least is ours
        gc.collect()
        tracemalloc.start()
        record = matrices.matrix("tiny", 0, 0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    sums = tiles.open_array(root.zarr(f"{record.folder}/dense.zarr"), "sums")[:]
    return root, plan, min(peaks), sums


@pytest.mark.slow
def test_memory_of_a_reduction_does_not_grow_with_its_units(
    small_atlas: Path, tmp_path: Path
) -> None:
    _, few_plan, few, a = reduced(small_atlas, tmp_path / "few", 12)
    _, many_plan, many, b = reduced(small_atlas, tmp_path / "many", 1)
    assert len(few_plan.units) == 2
    assert len(many_plan.units) == 24
    n = len(few_plan.models[0].axis)
    one_tile = 3 * TILE * n * 8  # of one unit
    # 12 units a half, held together, would be 11 tiles more; the tree holds log2(12) + 1
    assert many - few < 6 * one_tile
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
