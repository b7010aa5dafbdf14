"""The cost model of docs/scale.md against what a unit really commits."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import zarr
from octoscope.config import parse_config
from octoscope.extract.unit_work import UnitRunner
from octoscope.planning.freeze import prepare
from octoscope.planning.frozen_config import run_config

from tests.conftest import small_tree

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_bytes_and_objects_of_a_unit_are_those_of_the_format(
    small_atlas: Path, tmp_path: Path
) -> None:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from scale_model import Inputs, objects, unit_bytes
    finally:
        sys.path.remove(str(BENCHMARKS))
    tree = small_tree(small_atlas)
    tree["execution"]["advanced"] = {"tile": 16}  # four chunks along 63 genes
    root, plan = prepare(parse_config(tree, "c"), str(tmp_path / "run"))
    m = plan.model("tiny")
    # the first unit of a category also writes the checkpoint's embeddings of genes
    later = next(u for u in plan.units if u != plan.first_unit(u.model, u.category))
    record = UnitRunner(root, plan, run_config(root), "tiny").run(later)
    modelled = Inputs(genes=len(m.axis), layers=len(m.layers), tile=plan.tile)
    assert len(record.objects) == objects(modelled)
    group = zarr.open_group(root.zarr(f"{record.folder}/sums.zarr"), mode="r")
    square = [a for _, a in group.arrays() if a.shape[-2:] == (len(m.axis), len(m.axis))]
    assert sum(int(np.prod(a.shape)) * a.dtype.itemsize for a in square) == unit_bytes(modelled)
