"""A unit that sums its layers by row blocks commits the bytes of one that sums them at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from octoscope.config import parse_config
from octoscope.extract.unit_work import UnitRunner
from octoscope.planning.freeze import prepare
from octoscope.planning.frozen_config import run_config
from octoscope.run_plan.values import Plan, RowBlocks
from octoscope.store.run_dir import RunRoot

from tests.conftest import small_tree


@pytest.fixture
def planned(small_atlas: Path, tmp_path: Path) -> tuple[RunRoot, Plan]:
    tree = small_tree(small_atlas)
    tree |= {"moments": 2, "estimators": ["per_cell", "mean_residual"], "heads": ["mean", "max"]}
    tree["execution"] |= {
        "unit_cells": 11, "advanced": {"tile": 16, "micro_batch": 4, "batch_cells": 2}
    }  # fmt: skip
    return prepare(parse_config(tree, "c"), str(tmp_path / "run"))


def committed(
    planned: tuple[RunRoot, Plan], folder: Path, blocks: RowBlocks | None, macro: int | None = None
) -> tuple[dict[str, Any], int]:
    """Run a unit; return its objects, and how often the model ran a layer over a batch."""
    root, plan = planned
    models = [m.model_copy(update={"macro_cells": macro}) for m in plan.models]
    plan = plan.model_copy(
        update={"models": models, "row_blocks": {} if blocks is None else {"tiny": blocks}}
    )
    runner = UnitRunner(RunRoot(folder), plan, run_config(root), "tiny")
    passes, layer = [], runner._model.layer
    runner._model.layer = lambda i, *rest: passes.append(i) or layer(i, *rest)  # type: ignore
    record = runner.run(plan.units_of("tiny", 0, 0)[0])
    return {n[len(record.folder) :]: d for n, d in record.objects.items()}, len(passes)


@pytest.mark.parametrize("rows", [16, 48])
@pytest.mark.parametrize("keep", [True, False], ids=["kept", "again"])
def test_row_blocks_change_no_byte_of_a_unit(
    rows: int, keep: bool, planned: tuple[RunRoot, Plan], tmp_path: Path
) -> None:
    genes = len(planned[1].model("tiny").axis)
    assert genes > 48  # so that the last block is smaller, and there are several
    whole, once = committed(planned, tmp_path / "whole", None)
    blocks = RowBlocks(rows=rows, keep_queries=keep)
    parts, passes = committed(planned, tmp_path / "parts", blocks)
    assert parts == whole
    # 11 cells, two at a time in micro-batches of four: 6 batches through layers 0, 1 and 2; the
    # layer between the wanted ones runs once, whatever becomes of the others
    assert once == 6 * 3
    assert passes == (once if keep else 6 * (1 + 2 * blocks.count(genes)))


def test_row_blocks_of_a_unit_in_several_turns_change_no_byte(
    planned: tuple[RunRoot, Plan], tmp_path: Path
) -> None:
    """The plan does not choose this, as it saves nothing; a plan by hand may."""
    whole, _ = committed(planned, tmp_path / "whole", None)
    blocks = RowBlocks(rows=32, keep_queries=False)
    assert committed(planned, tmp_path / "turns", blocks, macro=4)[0] == whole
