"""Pieces of work that fail, hang or poison, and fleets that never start."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.conftest import octoscope, tables_of
from tests.faults.runs import KEEP, crash

UNIT = "units/tiny.c0001.h0.00000000"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "more", "reason"),
    [
        (f"worker:after-data@{UNIT}", (), "ActorDiedError"),
        (f"hang:after-data@{UNIT}", ("--set", "execution.unit_timeout=8"), "no answer within 8 s"),
    ],
    ids=["kills its worker every time", "hangs every time"],
)
def test_a_poison_unit_is_set_aside_listed_and_tried_again_by_resume(
    where: str,
    more: tuple[str, ...],
    reason: str,
    finished_run: Path,
    small_config: Path,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    ended = octoscope(
        "run", str(small_config), "--out", str(run), *KEEP, *more,
        env={"OCTOSCOPE_CRASH_AT": where},
    )  # fmt: skip
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert ended.stdout.count(f"trying again: {UNIT}") == 2  # three attempts
    told = json.loads((run / "run.json").read_text())
    assert list(told["set_aside"]) == [UNIT]
    if "hang" in where:
        assert reason in told["set_aside"][UNIT]
    assert told["cells"][0]["used"] == 24  # the rest finished
    page = (run / "report/index.html").read_text()
    assert "Incomplete." in page
    assert UNIT in page
    assert octoscope("verify", str(run)).returncode == 0
    assert octoscope("resume", str(run), "--set", "execution.unit_timeout=600").returncode == 0
    assert tables_of(run) == tables_of(finished_run)
    assert octoscope("verify", str(run)).returncode == 0
    assert not list((run / "units").rglob("*.zarr"))
    assert "Incomplete." not in (run / "report/index.html").read_text()


@pytest.mark.slow
def test_a_fleet_that_cannot_start_ends_in_time(small_config: Path, tmp_path: Path) -> None:
    started = time.time()
    ended = octoscope(
        "run", str(small_config), "--out", str(tmp_path / "run"),
        "--set", "execution.actors=99", "--set", "execution.start_timeout=10",
    )  # fmt: skip
    assert ended.returncode == 1
    assert "did not start within 10 s" in ended.stderr
    assert "Lower execution.actors" in ended.stderr
    assert time.time() - started < 100


@pytest.mark.slow
def test_how_a_run_executes_may_change_on_resume_and_its_result_may_not(
    finished_run: Path, small_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    crash(small_config, run, "after-record@h1.00000000")
    refused = octoscope("resume", str(run), "--set", "top_k=51")
    assert refused.returncode == 2
    assert "--set top_k" in refused.stderr
    more = ("--set", "execution.actors=2", "--set", "execution.attempts=5")
    resumed = octoscope("resume", str(run), *more)
    assert resumed.returncode == 0, resumed.stderr
    assert tables_of(run) == tables_of(finished_run)
