"""Pieces of work that fail, hang or poison, and fleets that never start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from octoscope.config import load_config
from octoscope.extract.unit_work import UnitRunner
from octoscope.planning.freeze import prepare
from octoscope.store.commits import record_path

from tests.conftest import octoscope, tables_of
from tests.faults.runs import KEEP, until
from tests.here import here

KILLS = "units/tiny.c0001.h0.00000000"  # its worker, every time
HANGS = "units/tiny.c0001.h1.00000008"
SHORT = "units/tiny.c0001.h0.00000008"  # of memory, even for one cell


@pytest.mark.slow
def test_units_that_kill_hang_or_do_not_fit_are_quarantined_listed_and_tried_again_by_resume(
    finished_run: Path, small_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    ended = octoscope(
        "run", str(small_config), "--out", str(run), *KEEP, "--set", "execution.unit_timeout=15",
        env={"OCTOSCOPE_CRASH_AT": f"worker:after-data@{KILLS},hang:after-data@{HANGS},"
             f"memory:mid-layer@{SHORT}"},
    )  # fmt: skip
    assert ended.returncode == 3, ended.stdout + ended.stderr
    answer = json.loads((run / "run.json").read_text())
    assert sorted(answer["quarantined"]) == [KILLS, SHORT, HANGS]
    assert "no answer within 15 s" in answer["quarantined"][HANGS]
    assert "out of memory with one cell" in answer["quarantined"][SHORT]
    assert f"trying again: {SHORT}" not in ended.stdout  # it would be as short again
    assert answer["cells"][0]["used"] == 24  # the rest finished
    page = (run / "report/index.html").read_text()
    assert "Incomplete." in page
    for unit in (KILLS, HANGS):
        assert ended.stdout.count(f"trying again: {unit}") == 2  # three attempts
    assert all(unit in page for unit in (KILLS, SHORT, HANGS))
    assert here("verify", str(run)).returncode == 0
    assert here("resume", str(run), "--set", "execution.unit_timeout=600").returncode == 0
    assert tables_of(run) == tables_of(finished_run)
    assert here("verify", str(run)).returncode == 0
    assert not list((run / "units").rglob("*.zarr"))
    assert "Incomplete." not in (run / "report/index.html").read_text()


@pytest.mark.slow
def test_a_fleet_that_cannot_start_ends_in_time(small_config: Path, tmp_path: Path) -> None:
    started = time.time()
    ended = octoscope(
        "run", str(small_config), "--out", str(tmp_path / "run"),
        "--set", "execution.threads=64", "--set", "execution.start_timeout=10",
    )  # fmt: skip
    assert ended.returncode == 1
    assert "no actor of tiny started within 10 s" in ended.stderr
    assert "Lower execution.threads" in ended.stderr
    assert time.time() - started < 100


ONE_UNIT = """
import sys
from octoscope.config import load_config
from octoscope.extract.unit_work import UnitRunner
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot

root = RunRoot(sys.argv[2])
plan = load_plan(root)
runner = UnitRunner(root, plan, load_config(sys.argv[1]), "tiny")
print(runner.run(plan.units[0]).attempt)
"""


@pytest.mark.slow
def test_a_worker_that_sleeps_while_another_does_its_piece_loses(
    small_config: Path, tmp_path: Path
) -> None:
    """Stopped beyond its deadline, and on a machine where the driver cannot end it."""
    root, plan = prepare(load_config(small_config), str(tmp_path / "run"))
    unit = plan.units[0]
    sleeper = subprocess.Popen(
        [sys.executable, "-c", ONE_UNIT, str(small_config), root.url],
        env={**os.environ, "OCTOSCOPE_CRASH_AT": "stop:after-data"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: psutil.Process(sleeper.pid).status() == psutil.STATUS_STOPPED)
    winner = UnitRunner(root, plan, load_config(small_config), "tiny").run(unit)
    record = root.read(record_path(unit.work))
    sleeper.send_signal(signal.SIGCONT)
    out, err = sleeper.communicate(timeout=200)
    assert sleeper.returncode == 0, err
    assert out.strip() == winner.attempt
    assert root.read(record_path(unit.work)) == record
    kept = {record_path(unit.work), *winner.objects}
    assert set(root.files(unit.work)) == kept  # the sleeper took away what it had written
