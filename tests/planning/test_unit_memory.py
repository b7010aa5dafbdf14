"""Row blocks: the largest that fit, queries and keys kept where they can be, and said so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from octoscope.api.plan import PlannedRun
from octoscope.cli import plan_text
from octoscope.config import parse_config
from octoscope.errors import DamagedRunError, InputError
from octoscope.planning.freeze import prepare
from octoscope.planning.resolve import make_plan
from octoscope.planning.unit_memory import IMPORTS, UnitMemory
from octoscope.run_plan.values import Plan, RowBlocks
from octoscope.store.plan_file import load_plan, save_plan
from octoscope.store.run_dir import RunRoot

from tests.conftest import small_tree

# of 1,000 genes: 10 bytes a row and beside them 1,000, or 1,500 where queries and keys are kept
UNIT = UnitMemory(genes=1000, turns=1, fixed=600, per_row=10, work=400, queries=500)


@pytest.mark.parametrize(
    ("limit", "want"),
    [
        (11_000, None),  # all rows fit
        (10_999, (512, True)),  # two blocks, of which the second is not a small rest
        (6_620, (512, True)),
        (6_619, (384, True)),
        (1_500 + 1280, (128, True)),
        (1_500 + 1279, (128, False)),  # layers run again before there is no plan at all
        (1_000 + 1279, None),  # not a tile fits: refused
    ],
    ids=str,
)
def test_the_largest_blocks_that_fit(limit: int, want: tuple[int, bool] | None) -> None:
    blocks = UNIT.blocks(limit, 128)
    assert (None if blocks is None else (blocks.rows, blocks.keep_queries)) == want


def test_chosen_blocks_fit_and_fewer_would_not() -> None:
    rng, seen = np.random.default_rng(0), set()
    for limit, tile, queries in zip(
        rng.integers(0, 12_000, 500), rng.integers(1, 300, 500), rng.integers(0, 3000, 500),
        strict=True,
    ):  # fmt: skip
        unit = UnitMemory(1000, turns=1, fixed=600, per_row=10, work=400, queries=int(queries))
        blocks = unit.blocks(int(limit), int(tile))
        if blocks is None:
            least = RowBlocks(rows=int(tile), keep_queries=False)
            assert unit.bytes(None) <= limit or unit.bytes(least) > limit
            continue
        seen.add(blocks.keep_queries)
        assert unit.bytes(blocks) <= limit < unit.bytes(None)
        assert blocks.rows % tile == 0
        fewer = -(-1000 // (blocks.count(1000) - 1))  # rows of each, if there were a block less
        whole_tiles = -(-fewer // int(tile)) * int(tile)
        assert unit.bytes(blocks.model_copy(update={"rows": whole_tiles})) > limit
    assert seen == {True, False}


def test_sums_that_are_held_between_turns_are_not_divided() -> None:
    assert UnitMemory(1000, turns=2, fixed=0, per_row=10, work=0, queries=0).blocks(100, 16) is None


@pytest.fixture
def tree(small_atlas: Path) -> dict[str, Any]:
    tree = small_tree(small_atlas) | {"gene_sets": [{"name": "every", "kind": "model"}]}
    tree |= {"accumulate": "every", "moments": 2, "heads": ["mean", "max", 0, 1], "network": None}
    tree["models"][0] |= {"layers": [0], "options": {"max_length": 200}}
    tree["execution"]["advanced"] = {"tile": 16, "micro_batch": 1, "batch_cells": 1, "cache": "1MB"}
    return tree


def test_the_plan_divides_what_does_not_fit_and_says_so(
    tree: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = make_plan(parse_config(tree, "c"), None)
    assert not whole.row_blocks
    assert "row_blocks" not in whole.model_dump(mode="json")  # as in plans of earlier versions
    needs = IMPORTS + whole.needs["device_bytes"]
    tree["execution"]["memory"] = f"{needs / 1e6 - 20:.3f}MB"
    plan = make_plan(parse_config(tree, "c"), None)
    blocks, genes = plan.row_blocks["tiny"], len(plan.model("tiny").axis)
    assert blocks.rows % 16 == 0
    assert 1 < blocks.count(genes) < 9
    assert plan.needs["device_bytes"] <= whole.needs["device_bytes"] - 2e7
    assert plan.needs["scratch_bytes"] == whole.needs["scratch_bytes"]
    plan_text.show_plan(PlannedRun(parse_config(tree, "c"), plan))
    text = " ".join(capsys.readouterr().out.split())
    assert f"in {blocks.count(genes)} blocks of {blocks.rows} rows" in text
    assert "so that a layer runs once" in text
    again = RowBlocks(rows=blocks.rows, keep_queries=False)
    plan = plan.model_copy(update={"row_blocks": {"tiny": again}})
    text = plan_text.row_block_sentences(PlannedRun(parse_config(tree, "c"), plan))[0]
    assert f"runs {blocks.count(genes)} times over a unit's cells" in text


def test_several_working_sets_are_refused_with_the_setting_that_divides(
    tree: dict[str, Any],
) -> None:
    needs = IMPORTS + make_plan(parse_config(tree, "c"), None).needs["device_bytes"]
    tree["execution"]["memory"] = f"{needs / 1e6 - 20:.3f}MB"
    tree["execution"]["advanced"] |= {"macro_batches": 8, "working_set": "250kB"}
    with pytest.raises(InputError, match=r"say execution\.advanced\.macro_batches: 1"):
        make_plan(parse_config(tree, "c"), None)


def test_a_gpu_gets_the_blocks_that_its_share_holds(tree: dict[str, Any]) -> None:
    needs = make_plan(parse_config(tree, "c"), None).needs["device_bytes"]
    tree["execution"] |= {
        "device": "cuda",
        "device_memory": f"{needs / 5e5 - 40:.3f}MB",
        "gpus": 0.5,
    }
    plan = make_plan(parse_config(tree, "c"), None)
    assert plan.row_blocks["tiny"].rows < len(plan.model("tiny").axis)
    assert plan.needs["device_bytes"] <= needs - 2e7


def test_a_run_goes_on_under_its_plan_where_memory_is_another(
    small_atlas: Path, tmp_path: Path
) -> None:
    root, plan = prepare(parse_config(small_tree(small_atlas), "c"), str(tmp_path / "run"))
    blocks = {"tiny": RowBlocks(rows=32, keep_queries=True)}
    divided = plan.model_copy(update={"row_blocks": blocks})
    assert divided.hash == plan.hash
    save_plan(root, divided)  # accepted: it is the same run
    other = RunRoot(tmp_path / "other")
    save_plan(other, divided)
    assert load_plan(other).row_blocks == blocks
    assert load_plan(other).hash == load_plan(root).hash


@pytest.mark.parametrize("rows", [0, -32, 33])
def test_blocks_that_are_no_whole_tiles_are_damage(
    rows: int, small_atlas: Path, tmp_path: Path
) -> None:
    _, plan = prepare(parse_config(small_tree(small_atlas), "c"), str(tmp_path / "run"))
    wrong = {"tiny": RowBlocks(rows=rows, keep_queries=True)}
    root = RunRoot(tmp_path / "other")
    save_plan(root, Plan.model_copy(plan, update={"row_blocks": wrong}))
    with pytest.raises(DamagedRunError, match="row blocks of 'tiny'"):
        load_plan(root)
