"""Drivers: two at once, leases, death, signals that stop them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from octoscope.cluster.signals import Stopped, StopSignals
from octoscope.errors import InputError
from octoscope.json_values import to_json
from octoscope.store.lease import LEASE, Lease
from octoscope.store.manifest import verify
from octoscope.store.run_dir import RunRoot

from tests.conftest import octoscope, tables_of
from tests.faults.runs import KEEP, start, until, workers
from tests.here import here


def lease_of(root: RunRoot, **changes: object) -> None:
    root.replace(LEASE, to_json(root.read_json(LEASE) | changes))


def test_a_lease_keeps_others_out_until_it_is_given_back(tmp_path: Path) -> None:
    root = RunRoot(tmp_path)
    with Lease(root, 60) as lease:
        with pytest.raises(InputError, match=r"works on this run, last seen \d+ s ago"):
            Lease(root, 60, steal=True).__enter__()
        assert not lease.lost
    assert not root.exists(LEASE)
    with Lease(root, 0):
        assert not root.exists(LEASE)  # switched off


def test_a_dead_driver_of_this_machine_holds_nothing(tmp_path: Path) -> None:
    root = RunRoot(tmp_path)
    with Lease(root, 60):
        mine = root.read(LEASE)
        assert mine is not None
    for changes in ({"pid": 2**22 + 1}, {"started": 1.0}):  # no such process; another of its number
        root.replace(LEASE, mine)
        lease_of(root, **changes)
        with Lease(root, 60):
            assert root.read_json(LEASE)["pid"] == os.getpid()


def test_an_expired_lease_of_another_machine_is_taken_only_when_asked(tmp_path: Path) -> None:
    root = RunRoot(tmp_path)
    with Lease(root, 60):
        mine = root.read(LEASE)
        assert mine is not None
    root.replace(LEASE, mine)
    lease_of(root, machine="elsewhere", host="node7", seen=time.time() - 30)
    with pytest.raises(InputError, match="node7.*give --steal in 30 s"):
        Lease(root, 60, steal=True).__enter__()
    lease_of(root, seen=time.time() - 61)
    with pytest.raises(InputError, match="no sign of life for 61 s.*--steal"):
        Lease(root, 60).__enter__()
    with Lease(root, 60, steal=True):
        assert root.read_json(LEASE)["host"] != "node7"


def test_a_driver_notices_that_its_lease_was_taken_and_keeps_it_alive(tmp_path: Path) -> None:
    root = RunRoot(tmp_path)
    with Lease(root, 0.4) as lease:
        first = root.read_json(LEASE)["seen"]
        until(lambda: root.read_json(LEASE)["seen"] > first, 5)
        assert not lease.lost
        lease_of(root, id="another")
        until(lambda: lease.lost, 5)
    assert root.read_json(LEASE)["id"] == "another"  # not ours to give back


@pytest.mark.slow
def test_a_second_driver_is_told_who_holds_the_run_and_a_dead_one_leaves_nothing(
    small_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    first = start("run", str(small_config), "--out", str(run), *KEEP)
    until(lambda: workers(first.pid))
    running = workers(first.pid)
    for worker in running:
        worker.suspend()  # the run must outlast the two that ask, on a busy machine too
    for more in ((), ("--steal",)):
        second = here("resume", str(run), *more)
        assert second.returncode == 2, second.stdout + second.stderr
        assert f"process {first.pid}" in second.stderr.replace("\n", " ")
    assert workers(first.pid)
    for worker in running:
        worker.resume()
    first.kill()
    first.communicate()
    until(lambda: not workers(first.pid), 60)  # it leaves no actor
    assert here("resume", str(run)).returncode == 0  # it is dead: no --steal needed


@pytest.mark.slow
def test_two_drivers_at_once_give_the_same_tables(
    small_config: Path, finished_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    off = ("--set", "execution.advanced.lease=0")
    assert here(
        "plan", str(small_config), "--out", str(run), *KEEP, *off, "--no-calibrate"
    ).returncode == 0  # fmt: skip
    both = [start("resume", str(run)) for _ in range(2)]
    ended = [p.communicate(timeout=400) for p in both]
    assert [p.returncode for p in both] == [0, 0], ended
    assert tables_of(run) == tables_of(finished_run)
    assert verify(RunRoot(run)) == []
    rest = [f for f in RunRoot(run).files("units") if not f.endswith("record.json")]
    assert rest == []


@pytest.mark.slow
def test_a_driver_that_was_stopped_and_wakes_changes_nothing(
    small_config: Path, finished_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    sleeper = start("run", str(small_config), "--out", str(run), *KEEP)
    until(lambda: list(run.glob("units/*/attempt-*")))
    family = [sleeper.pid, *(p.pid for p in psutil.Process(sleeper.pid).children(recursive=True))]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    lease_of(RunRoot(run), machine="elsewhere", seen=0)  # as another machine would see it
    done = octoscope("resume", str(run), "--steal")
    assert done.returncode == 0, done.stdout + done.stderr
    files = {f: (run / f).read_bytes() for f in RunRoot(run).files() if f != "progress.json"}
    for pid in reversed(family):
        os.kill(pid, signal.SIGCONT)
    out, err = sleeper.communicate(timeout=300)
    assert sleeper.returncode in (0, 1), out + err
    assert tables_of(run) == tables_of(finished_run)
    assert verify(RunRoot(run)) == []
    after = {f: (run / f).read_bytes() for f in RunRoot(run).files() if f != "progress.json"}
    assert {f: after.get(f) for f in files} == files
    # what it was writing when it woke lost, and no reader sees it
    assert all("/attempt-" in f or f.endswith(".partial") for f in after.keys() - files.keys())


@pytest.mark.slow
def test_signals_let_running_units_finish_and_resume_does_the_rest(
    finished_run: Path, small_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    commands = (("run", str(small_config), "--out", str(run), *KEEP), ("resume", str(run)))
    # A terminal sends SIGINT to the whole group, Ray's processes too; `kill`, a scheduler's wrapper
    # and a container's runtime send SIGTERM to the driver.
    ways = ((signal.SIGINT, os.killpg), (signal.SIGTERM, os.kill))
    for (number, send), command in zip(ways, commands, strict=True):
        before = set(run.glob("units/*/attempt-*"))
        process = start(*command)
        until(lambda seen=before: set(run.glob("units/*/attempt-*")) - seen)
        send(process.pid, number)
        out, err = process.communicate(timeout=100)
        assert process.returncode == 128 + number, out + err
        assert b"octoscope resume" in err
        assert json.loads((run / "progress.json").read_text())["status"] == "stopped"
        assert not (run / LEASE).exists()
        begun = {p.parent for p in run.glob("units/*/attempt-*")}
        assert all((unit / "record.json").exists() for unit in begun)  # none was cut off
        assert 0 < len(begun) < 8
    assert here("resume", str(run)).returncode == 0
    assert tables_of(run) == tables_of(finished_run)


_WAITS = """
import sys, time, ray
from octoscope.cluster.signals import Stopped, StopSignals

ray.init(address="local", num_cpus=1, include_dashboard=False)

@ray.remote
def slow():
    time.sleep(100)

with StopSignals(grace=60) as stop_signals:
    try:
        with stop_signals.promptly():
            wait = slow.remote()
            print("waiting", flush=True)
            ray.get(wait)
    except Stopped as stopped:
        sys.exit(stopped.exit_code)
"""


@pytest.mark.slow
def test_a_signal_ends_a_wait_for_ray() -> None:
    """As of the analysis: an error of a handler that is no KeyboardInterrupt waits for the task."""
    waiting = {
        number: subprocess.Popen(
            [sys.executable, "-c", _WAITS], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    for process in waiting.values():
        assert process.stdout is not None
        while process.stdout.readline().strip() != b"waiting":
            assert process.poll() is None
    time.sleep(2)
    sent = time.time()
    for number, process in waiting.items():
        process.send_signal(number)
    for number, process in waiting.items():
        _, err = process.communicate(timeout=200)
        assert process.returncode == 128 + number, err
    assert time.time() - sent < 60


@pytest.mark.slow
def test_a_signal_ends_the_analysis(finished_run: Path, tmp_path: Path) -> None:
    """On threads, as few matrices are analysed; `test_a_signal_ends_a_wait_for_ray` is of Ray."""
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    (run / "_SUCCESS").unlink()  # units and matrices are there, the analysis is what is left
    process = start("resume", str(run))
    assert process.stdout is not None
    while not process.stdout.readline().startswith(b"analysis: "):
        assert process.poll() is None
    sent = time.time()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert time.time() - sent < 30
    assert json.loads((run / "progress.json").read_text())["status"] == "stopped"
    assert here("resume", str(run)).returncode == 0
    assert tables_of(run) == tables_of(finished_run)


@pytest.mark.slow
def test_grace_is_bounded(small_config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(
        "run", str(small_config), "--out", str(run), *KEEP, "--set", "execution.advanced.grace=3",
        env={"OCTOSCOPE_CRASH_AT": "hang:after-data@units"},
    )  # fmt: skip
    until(lambda: list(run.glob("units/*/attempt-*/sums.zarr")))
    sent = time.time()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, out + err
    assert time.time() - sent > 3  # it waited for the unit
    assert not list(run.glob("units/*/record.json"))


def test_a_request_is_noted_carried_out_and_hurried() -> None:
    before = signal.getsignal(signal.SIGTERM)

    def wait_for_work(stop_signals: StopSignals) -> None:
        with stop_signals.patience():
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop_signals.stop_requested()  # nothing new, and what runs goes on
            os.kill(os.getpid(), signal.SIGTERM)
            with pytest.raises(Stopped):
                stop_signals.stop_requested()  # the second ends the grace

    with StopSignals(grace=60) as stop_signals:
        assert not stop_signals.stop_requested()
        with pytest.raises(Stopped) as stopped:
            wait_for_work(stop_signals)
        assert stopped.value.exit_code == 143
        with pytest.raises(Stopped) as stopped, stop_signals.promptly():  # nobody asks: on the spot
            os.kill(os.getpid(), signal.SIGINT)
        assert stopped.value.exit_code == 130
    assert signal.getsignal(signal.SIGTERM) is before
