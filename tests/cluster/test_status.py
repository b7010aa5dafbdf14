"""`status` of a run whose files are damaged: one line each, and no traceback."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from octoscope.cluster.progress import Reporter
from octoscope.errors import DamagedRunError, InputError
from octoscope.json_values import parse_json
from octoscope.store.lease import Lease, read_lease
from octoscope.store.plan_file import load_plan
from octoscope.store.progress_file import last_seen
from octoscope.store.run_dir import RunRoot
from rich.console import Console

from tests.here import Done, here

STORES = Path(__file__).parents[1] / "data/stores"
FILES = ("plan.json", "progress.json", "lease.json", "attention.json", "_SUCCESS",
         "units/tiny.c0000.h0.00000000/record.json")  # fmt: skip
LEASE: dict[str, Any] = {
    "id": "a", "host": "far", "machine": "b", "pid": 1, "started": 1.0, "seen": 2.0, "seconds": 60.0
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """An unfinished run that another machine drives."""
    run = Path(shutil.copytree(STORES / "plan-3b", tmp_path / "run"))
    (run / "_SUCCESS").rename(tmp_path / "_SUCCESS")
    (run / "lease.json").write_text(json.dumps(LEASE))
    with Reporter(RunRoot(run), Console(quiet=True)) as reporter:
        reporter.stage("attention", [])
        process = {"host": "far", "pid": 1, "device": "cpu", "gpus": 0}
        reporter.actor("tiny.0", "started", process)
    return run


def status(run: Path, *more: str) -> Done:
    """Return what it says; anything but its own errors would be raised here."""
    return here("status", str(run), *more)


def refusal(done: Done) -> None:
    assert done.returncode in (0, 1, 2)
    assert len(done.stderr.strip().splitlines()) == (done.returncode != 0), done.stderr


@pytest.mark.parametrize("name", FILES)
def test_every_way_to_cut_a_file_is_told(run: Path, tmp_path: Path, name: str) -> None:
    if name == "_SUCCESS":
        (tmp_path / "_SUCCESS").rename(run / "_SUCCESS")
    sound = (run / name).read_bytes()
    assert status(run).returncode == 0
    for length in {0, 1, len(sound) // 3, len(sound) // 2, len(sound) - 2}:
        (run / name).write_bytes(sound[:length])
        for more in ((), ("--json",), ("--watch",)):
            done = status(run, *more)
            refusal(done)
            text = done.stdout + done.stderr
            assert name in text or name == "lease.json", text
    hostile = (b"[]", b"1", b"null", b'"x"', b"{}", b"[" * 3000, b'{"a":' * 3000,
               b"9" * 5000, b"\xff\xfe", b'{"a": "\\ud800"}', b'{"a": 1, "a": 2}')  # fmt: skip
    for raw in hostile:
        (run / name).write_bytes(raw)
        refusal(status(run))


def changed(value: Any, rng: random.Random) -> Any:
    """Put a value of another kind in a random place of a JSON value."""
    odd = [
        None,
        True,
        -1,
        10**30,
        1e308,
        float("nan"),
        "",
        "../x",
        "[/red]",
        [],
        {},
        ["a"],
        {"a": 1},
    ]
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(sorted(value))
        if rng.random() < 0.2:
            return {k: v for k, v in value.items() if k != key}
        return value | {key: changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        return [*value[:at], changed(value[at], rng), *value[at + 1 :]]
    return rng.choice(odd)


@pytest.mark.parametrize("name", FILES)
def test_values_of_another_kind_are_told(run: Path, tmp_path: Path, name: str) -> None:
    if name == "_SUCCESS":
        (tmp_path / "_SUCCESS").rename(run / "_SUCCESS")
    sound, rng = json.loads((run / name).read_bytes()), random.Random(name)
    for _ in range(30):
        (run / name).write_text(json.dumps(changed(sound, rng)))
        refusal(status(run))


def test_damage_is_named(run: Path, tmp_path: Path) -> None:
    for name in ("progress.json", "attention.json", "lease.json"):
        (run / name).write_text("{")
    rows = json.loads(status(run, "--json").stdout)
    assert rows["last driver"] == "unknown: progress.json is damaged"
    assert rows["quarantined"] == "unknown: attention.json is damaged"
    assert rows["held by"] == "process -1 on ?"
    (run / "_SUCCESS").write_text("{")
    assert "_SUCCESS: not JSON" in status(run).stderr
    assert "octoscope repair" in status(run).stderr


def test_a_driver_starts_over_a_damaged_report(run: Path) -> None:
    (run / "progress.json").write_text('{"status": "running", "updated": "x"}')
    root = RunRoot(run)
    assert last_seen(root) is None
    with Reporter(root, Console(quiet=True)):
        pass
    assert last_seen(root) is not None


def test_a_damaged_lease_is_one_that_expired(run: Path) -> None:
    root = RunRoot(run)
    for body in ([], {"pid": "x"}, {"seen": float("nan")}, {"seconds": True}):
        (run / "lease.json").write_text(json.dumps(body))
        lease = read_lease(root)
        assert lease is not None
        assert lease["seen"] == 0
        with pytest.raises(InputError, match="--steal"), Lease(root, 60):
            raise AssertionError
        with Lease(root, 60, steal=True):
            pass


def test_a_pipe_or_a_device_is_not_waited_for(run: Path) -> None:
    os.remove(run / "progress.json")
    os.mkfifo(run / "progress.json")
    done = status(run)
    assert done.returncode == 1
    assert "is no regular file" in done.stderr
    os.remove(run / "progress.json")
    os.symlink("/dev/zero", run / "progress.json")
    assert "is no regular file" in status(run).stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p["units"][0].update(model="none"), "no model 'none'"),
        (lambda p: p["units"][0].update(id="../x"), "'../x' is no name"),
        (lambda p: p["units"][0].update(category=9), "no half 0 of category 9"),
        (lambda p: p["units"][0].update(stop=10**9), "no cells 0 to 1000000000"),
        (lambda p: p["models"][0].update(base="x"), "no model 'x'"),
    ],
)
def test_a_plan_whose_parts_do_not_fit_is_no_plan(run: Path, change: Any, message: str) -> None:
    plan = json.loads((run / "plan.json").read_text())
    change(plan)
    (run / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(DamagedRunError, match=message):
        load_plan(RunRoot(run))


def test_json_is_read_with_bounds() -> None:
    assert parse_json(b'{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}
    for raw, message in (
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' is there twice"),
        (b"1" * 5000, "digits"),
        (b"{", "Expecting"),
        (b"\xff", "decode"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_json(raw)
