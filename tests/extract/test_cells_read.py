"""Inputs are the inputs: a run that meets other counts than before stops and names them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
import zarr
from octoscope.atlas import Atlas
from octoscope.atlas.cell_digests import CRC32C, XXH3
from octoscope.config import parse_config
from octoscope.errors import InputError, OctoscopeWarning
from octoscope.extract.coexpression_work import CoexpressionRunner
from octoscope.extract.unit_work import UnitRunner
from octoscope.pipeline.repair_plan import Repair, open_repair
from octoscope.planning import freeze
from octoscope.planning.freeze import prepare, replan
from octoscope.planning.frozen_config import run_config
from octoscope.run_plan.values import COEXPRESSION, Plan, Unit
from octoscope.store.commits import CELLS_READ, record_path, sweep
from octoscope.store.run_dir import RunRoot

from tests.conftest import small_tree
from tests.here import here


@pytest.fixture
def atlas(small_atlas: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_atlas, tmp_path / "atlas.zarr"))


def tree_of(atlas: Path) -> dict[str, Any]:
    """Two models and co-expression, whose units have 8, 5 and 80 cells of the same cells."""
    tree = small_tree(atlas) | {"coexpression": ["pearson"]}
    tree["models"] = [m | {"layers": [0]} for m in tree["models"]]
    tree["models"].append(tree["models"][0] | {"name": "other"})
    return tree


def planned(atlas: Path, tmp_path: Path) -> tuple[RunRoot, Plan]:
    root, plan = prepare(parse_config(tree_of(atlas), "c"), str(tmp_path / "run"))
    five = [
        Unit(f"other.c{c:04d}.h{h}.{start:08d}", "other", c, h, start, min(start + 5, n))
        for c, category in enumerate(plan.categories)
        for h, n in enumerate(category.cells)
        for start in range(0, n, 5)
    ]
    return root, plan.model_copy(update={"units": [u for u in plan.units if u.model != "other"]
                                         + five})  # fmt: skip


def run(root: RunRoot, plan: Plan, model: str, only: Unit | None = None) -> list[str]:
    """Compute the units of a model in the first category and half; returns their work."""
    kind = CoexpressionRunner if plan.model(model).family == COEXPRESSION else UnitRunner
    runner = kind(root, plan, run_config(root), model)
    units = [u for u in plan.units_of(model, 0, 0) if only in (None, u)]
    for unit in units:
        runner.run(unit)
    return [u.work for u in units]


def change(atlas: Path, cell: int, by: int = 1) -> str:
    """Change one count of a cell in place; returns the cell's name."""
    rows = Atlas(parse_config(tree_of(atlas), "c").atlas)
    index = rows.index_of(parse_config(tree_of(atlas), "c"))
    row = int(index.halves[0][0][cell])
    group = zarr.open_group(atlas, mode="r+")
    at = int(group["X/indptr"][row])
    group["X/data"][at] = group["X/data"][at] + by
    return str(rows.cell_ids[row])


def done(root: RunRoot) -> set[str]:
    return {name for name in root.files() if name.endswith("record.json")}


@pytest.mark.parametrize("second", ["other", "tiny", "coexpression"])
def test_models_of_a_run_must_read_the_same_counts(
    atlas: Path, tmp_path: Path, second: str
) -> None:
    """Whatever cells their units have."""
    root, plan = planned(atlas, tmp_path)
    names = [m.name for m in plan.bases]
    second = next(n for n in names if n.startswith(second[:2]))
    first = next(n for n in names if n != second)
    works = run(root, plan, first)
    run(root, plan, second)  # the same counts
    shutil.rmtree(tmp_path / "run/units")
    run(root, plan, first)
    change(atlas, cell=9)
    before = done(root)
    with pytest.raises(InputError) as raised:
        run(root, plan, second)
    text = str(raised.value)
    assert "atlas.zarr: X/data, chunk 0 (X/data/c/0)" in text
    assert "one has other counts than when" in text
    assert any(work in text for work in works)
    assert "restore the atlas" in text
    units = {record_path(u.work) for u in plan.units_of(second, 0, 0) if u.start <= 9 < u.stop}
    assert units.isdisjoint(done(root))  # those before it read what they had to
    assert before <= done(root)


def test_a_record_says_what_its_unit_read(atlas: Path, tmp_path: Path) -> None:
    root, plan = planned(atlas, tmp_path)
    unit = plan.units_of("tiny", 0, 0)[1]
    (work,) = run(root, plan, "tiny", unit)
    metrics = json.loads(root.read(record_path(work)) or b"")["facts"]
    read = metrics[CELLS_READ]
    assert read["first"] == unit.start
    assert read["ends"][-1] == unit.stop
    assert 10 in read["ends"]  # where a unit of the other model ends
    assert len(read[XXH3]) == 32 * len(read["ends"])


def test_units_of_a_run_go_on_with_the_kind_of_its_plan(atlas: Path, tmp_path: Path) -> None:
    """Red: a run that was planned with CRC32C has two kinds of records, which nothing compares."""
    root, plan = planned(atlas, tmp_path)
    sample = Atlas(parse_config(tree_of(atlas), "c").atlas).sample(CRC32C)
    plan = plan.model_copy(update={"atlas": {**(plan.atlas or {}), "sample": sample}})
    (work,) = run(root, plan, "tiny", plan.units_of("tiny", 0, 0)[0])
    metrics = json.loads(root.read(record_path(work)) or b"")["facts"]
    assert CRC32C in metrics[CELLS_READ]
    body = root.read_json("plan.json")
    body["atlas"]["sample"] = sample
    root.replace("plan.json", json.dumps(body).encode())
    replan(root)
    change(atlas, cell=3)
    with pytest.raises(InputError, match="when the run was planned"):
        replan(root)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_repaired_unit_must_read_what_it_read_before(
    atlas: Path, tmp_path: Path, damaged: bool
) -> None:
    root, plan = planned(atlas, tmp_path)
    works = run(root, plan, "tiny")
    if damaged:  # nothing is known then
        (tmp_path / "run" / record_path(works[0])).write_text("{")
    open_repair(root, Repair(works, []))
    assert done(root) == set()
    run(root, plan, "tiny")
    shutil.rmtree(tmp_path / "run" / works[1])
    shutil.rmtree(tmp_path / "run" / works[0])
    run(root, plan, "tiny")
    open_repair(root, Repair(works, []))
    open_repair(root, Repair(works, []))  # killed, and started again
    change(atlas, cell=1)
    with pytest.raises(InputError, match=r"when units/tiny\S+ \(before the repair\) read them"):
        run(root, plan, "tiny")
    change(atlas, cell=1, by=-1)
    run(root, plan, "tiny")
    sweep(root, plan.hash, root.files())
    assert not [name for name in root.files() if "attempt-before" in name]


@pytest.mark.parametrize("command", ["resume", "run", "overlap"])
def test_a_run_is_not_continued_on_other_counts(atlas: Path, tmp_path: Path, command: str) -> None:
    """Also where nothing is computed yet."""
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(small_tree(atlas)))
    run = str(tmp_path / "run")
    assert here("plan", str(config), "--out", run, "--no-calibrate").returncode == 0
    cell = change(atlas, cell=3)
    words = [command, str(config), "--out", run] if command == "run" else [command, run]
    refused = here(*words)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "X/data, chunk 0" in refused.stderr
    assert "other counts than when the run was planned" in refused.stderr
    assert cell  # it is between the cells that are named
    change(atlas, cell=3, by=-1)
    replan(RunRoot(run))


def test_every_count_can_change_and_is_noticed(
    atlas: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = planned(atlas, tmp_path)
    group = zarr.open_group(atlas, mode="r+")
    group["X/data"][:] = group["X/data"][:] * 2
    with pytest.raises(InputError, match="when the run was planned"):
        replan(root)
    plan = freeze.load_plan(root)
    body = root.read_json("plan.json")
    del body["atlas"]["sample"]  # as earlier versions planned
    root.replace("plan.json", json.dumps(body).encode())
    assert replan(root).units == plan.units
    assert np.all(group["X/data"][:] >= 0)


def unsampled(root: RunRoot) -> None:
    """Let the plan know nothing of the counts themselves, as of cells outside its sample."""
    body = root.read_json("plan.json")
    del body["atlas"]["sample"]
    root.replace("plan.json", json.dumps(body).encode())


def test_counts_that_nothing_has_read_yet_are_noticed_by_their_stored_checksums(
    atlas: Path, tmp_path: Path
) -> None:
    """Red: outside the sample of planning, a run counted what was changed before a unit read it."""
    guarded = tmp_path / "guarded.zarr"
    converted = here("atlas", "convert", str(atlas), str(guarded), "--category", "cell_type")
    assert converted.returncode == 0, converted.stderr
    root, plan = planned(guarded, tmp_path)
    unsampled(root)
    copy = shutil.copytree(guarded, tmp_path / "copy.zarr", copy_function=shutil.copyfile)
    shutil.rmtree(guarded)
    copy.rename(guarded)  # of other times
    assert replan(root).count_files == plan.count_files
    change(guarded, cell=3)
    message = r"guarded\.zarr: X/data, X/data/c/0: holds other bytes than when the run was planned"
    with pytest.raises(InputError, match=message):
        replan(root)
    with pytest.raises(InputError, match=message):
        run(root, plan, "tiny")
    assert done(root) == set()
    change(guarded, cell=3, by=-1)
    replan(root)
    run(root, plan, "tiny")


def test_a_resume_says_what_was_written_since_and_has_no_checksum(
    atlas: Path, tmp_path: Path
) -> None:
    root, plan = planned(atlas, tmp_path)
    os.utime(atlas / "X/indices/c/0", (1, 1))
    message = "X/indices, X/indices/c/0: written after the run was planned"
    with pytest.warns(OctoscopeWarning, match=message):
        assert replan(root).hash == freeze.load_plan(root).hash
    run(root, plan, "tiny", plan.units_of("tiny", 0, 0)[0])  # each unit does not say it again


def test_a_resume_reads_again_what_units_read_of_files_that_were_written_since(
    atlas: Path, tmp_path: Path
) -> None:
    """Red: a count of a cell that was counted already changed, and no unit reads it again."""
    root, _ = planned(atlas, tmp_path)
    unsampled(root)
    plan = freeze.load_plan(root)
    (work,) = run(root, plan, "tiny", plan.units_of("tiny", 0, 0)[0])
    os.utime(atlas / "X/data/c/0", (1, 1))
    with pytest.warns(OctoscopeWarning, match=r"; 8 cells that units had read are the same, oth"):
        replan(root)
    change(atlas, cell=3)
    with pytest.raises(InputError) as raised:
        replan(root)
    text = str(raised.value)
    assert "X/data, chunk 0 (X/data/c/0)" in text
    assert f"one has other counts than when {work} read them" in text
    change(atlas, cell=3, by=-1)
    change(atlas, cell=10)  # that no unit has read
    with pytest.warns(OctoscopeWarning, match="others are counted as they are now"):
        replan(root)
