"""Memory and disk that run out: smaller steps with the same bytes, stops that can be resumed."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from octoscope.config import load_config, parse_config
from octoscope.errors import InputError, MemoryShortError
from octoscope.extract.accelerator import Accelerator
from octoscope.extract.oom_retry import OomRetry
from octoscope.extract.unit_work import UnitRunner
from octoscope.planning.freeze import prepare
from octoscope.planning.frozen_config import run_config
from octoscope.run_plan.values import Plan
from octoscope.store.backends import RemoteObjects
from octoscope.store.commits import Record, read_record
from octoscope.store.run_dir import RunRoot

from tests.conftest import five_families, octoscope, tables_of
from tests.faults.runs import KEEP
from tests.here import here

FAMILIES = ("tiny", "scprint", "aidocell", "scfoundation", "geneformer")


@pytest.fixture(scope="module")
def five(small_atlas: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunRoot, Plan]:
    config = parse_config(five_families(small_atlas), "test")
    return prepare(config, str(tmp_path_factory.mktemp("five") / "run"))


def computed(root: RunRoot, plan: Plan, model: str, folder: Path, **how: Any) -> dict[str, Any]:
    """Compute a model's first unit at another place; returns the digests of its objects."""
    run = RunRoot(folder)
    runner = UnitRunner(run, plan, run_config(root), model)
    if "least" in how:  # the device holds fewer cells at once
        layer, seen = runner._model.layer, how["seen"]

        def limited(i: int, residual: torch.Tensor, mask: torch.Tensor) -> Any:
            seen.append(len(residual))
            if len(residual) > how["least"]:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return layer(i, residual, mask)

        runner._model.layer = limited  # type: ignore[method-assign]
    unit = next(u for u in plan.units if u.model == model and u.stop - u.start > 4)
    record = runner.run(unit, how.get("halvings", 0))
    return objects(record)


def objects(record: Record) -> dict[str, Any]:
    cut = len(record.folder) + 1
    return {name[cut:]: digest for name, digest in record.objects.items()}


@pytest.mark.parametrize("model", FAMILIES)
def test_out_of_memory_halves_the_batch_and_keeps_the_bytes(
    model: str, five: tuple[RunRoot, Plan], tmp_path: Path
) -> None:
    whole = computed(*five, model, tmp_path / "whole")
    seen: list[int] = []
    assert computed(*five, model, tmp_path / "two", least=2, seen=seen) == whole
    assert seen[:3] == [8, 4, 2]
    assert set(seen[3:]) == {2}  # remembered: no layer tries 8 again
    assert computed(*five, model, tmp_path / "one", least=1, seen=[]) == whole
    assert computed(*five, model, tmp_path / "killed", halvings=2) == whole


def test_less_than_one_cell_is_an_error_with_sizes(
    five: tuple[RunRoot, Plan], tmp_path: Path
) -> None:
    message = r"unit.*layer 0: out of memory with one cell of \d+ tokens x 64 \(.* GB free\)"
    with pytest.raises(MemoryShortError, match=message):
        computed(*five, "tiny", tmp_path / "none", least=0, seen=[])
    assert not list(tmp_path.rglob("record.json"))


def test_errors_that_are_not_about_memory_are_not_retried() -> None:
    class Broken:
        def layer(self, *_: Any) -> None:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    physical = OomRetry(Broken(), Accelerator(torch.device("cpu")))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="shapes"):
        physical.layer(0, torch.zeros(4, 2, 2), torch.ones(4, 2, dtype=torch.bool), "units/u")
    assert physical.at_once is None


LIMITED = """
import resource, sys
import torch
from octoscope.planning.freeze import prepare
from octoscope.extract.unit_work import UnitRunner
from octoscope.config import load_config
from octoscope.store.run_dir import RunRoot

root, plan = prepare(load_config(sys.argv[1]), sys.argv[2] + "/run")
first, second = [u for u in plan.units if u.stop - u.start == 8][:2]
steps, objects = [], []
for limit in (False, True):
    runner = UnitRunner(RunRoot(f"{sys.argv[2]}/{limit}"), plan, load_config(sys.argv[1]), "tiny")
    runner.run(first)  # threads, caches and pools are there from now on
    inner, steps_here = runner._model.layer, []
    def layer(i, residual, mask):  # what a wide model needs: 32 MB a cell
        torch.empty(len(residual), 1 << 23).fill_(0)
        steps_here.append(len(residual))
        return inner(i, residual, mask)
    runner._model.layer = layer
    if limit:
        now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + (160 << 20), resource.RLIM_INFINITY))
    record = runner.run(second)
    cut = len(record.folder) + 1
    objects.append({n[cut:]: d for n, d in record.objects.items()})
    steps.append(steps_here)
assert set(steps[0]) == {8}, steps
assert max(steps[1]) < 8, steps
assert objects[0] == objects[1]
"""


@pytest.mark.slow
def test_a_real_memory_limit_halves_the_batch_and_keeps_the_bytes(
    small_config: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(small_config), str(tmp_path)],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


class SmallDisk(MemoryFileSystem):
    """A store that takes ``room`` bytes and then has no space left."""

    protocol = "memory"
    cachable = False
    room = 0

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kw: Any) -> Any:
        if len(value) > SmallDisk.room:
            raise OSError(errno.ENOSPC, "No space left on device", path)
        SmallDisk.room -= len(value)
        return super().pipe_file(path, value, mode=mode, **kw)


def test_a_store_that_fills_up_leaves_nothing_half_done(
    five: tuple[RunRoot, Plan], tmp_path: Path
) -> None:
    _, plan = five
    config = run_config(five[0])
    root = RunRoot("memory://small-disk/run", RemoteObjects(SmallDisk(), f"/{tmp_path.name}/run"))
    runner = UnitRunner(root, plan, config, "tiny")
    unit = next(u for u in plan.units if u.model == "tiny" and u.stop - u.start > 4)
    whole = UnitRunner(RunRoot(tmp_path), plan, config, "tiny").run(unit)
    needed = sum(d["bytes"] for d in whole.objects.values())
    for room in (0, needed // 3, needed - 1, needed + 100):  # the last: no room for the record
        SmallDisk.room = room
        with pytest.raises(OSError, match="No space left") as caught:
            runner.run(unit)
        assert caught.value.errno == errno.ENOSPC
        assert read_record(root, unit.work, plan.hash) is None
    SmallDisk.room = 10 * needed
    assert objects(runner.run(unit)) == objects(whole)


FULL = """
import resource, signal, sys
from octoscope.planning.freeze import prepare
from octoscope.config import load_config
from octoscope.extract.unit_work import UnitRunner
from octoscope.store.commits import read_record

root, plan = prepare(load_config(sys.argv[1]), sys.argv[2])
runner = UnitRunner(root, plan, load_config(sys.argv[1]), "tiny")
unit = plan.units[0]
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for limit in (100, 3000, 6000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        runner.run(unit)
        raise SystemExit(f"{limit} bytes were enough")
    except OSError as error:
        assert error.errno == 27, error
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_record(root, unit.work, plan.hash) is None
runner.run(unit)
assert read_record(root, unit.work, plan.hash) is not None
"""


@pytest.mark.slow
def test_a_limit_on_file_sizes_leaves_nothing_half_done(small_config: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(small_config), str(tmp_path / "run")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_a_run_whose_store_is_full_stops_and_goes_on_when_there_is_space(
    finished_run: Path, small_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    for point in ("after-data@units/tiny.c0001", "mid-finalise@c0001"):
        ended = octoscope(
            "run", str(small_config), "--out", str(run), *KEEP,
            env={"OCTOSCOPE_CRASH_AT": f"full:{point}"},
        )  # fmt: skip
        assert ended.returncode == 1, ended.stdout + ended.stderr
        assert "No space left on device; free some space, then `octoscope resume`" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert not (run / "_SUCCESS").exists()
        assert not (run / "manifest.json").exists()
        assert list(run.glob("units/*/record.json"))
    assert here("resume", str(run)).returncode == 0
    assert tables_of(run) == tables_of(finished_run)


def test_a_plan_that_cannot_fit_on_the_disk_is_refused(
    small_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(InputError, match=r"GB of disk at .* are free.*another run directory"):
        prepare(load_config(small_config), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
