"""The fuzzer sees what it should see, and a short campaign of each kind finds nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import typer
from octoscope.cli.app import app

from tests.fuzz.campaign import MEMORY, judge
from tests.fuzz.forked import Ended, forked
from tests.fuzz.full_disk import NO_MOUNTS
from tests.fuzz.kinds import KINDS
from tests.fuzz.mutations import mutate

ROOT = Path(__file__).parents[2]
RUN = ROOT / "tests/data/stores/plan-3b"


def fails() -> None:
    raise KeyError("shape")


def prints() -> None:
    print("error: a\nb", file=sys.stderr)
    sys.exit(1)


def says_nothing() -> None:
    sys.exit(2)


def takes_memory() -> None:
    allocated = bytearray(MEMORY + (64 << 20))
    allocated[::4096] = bytes(len(allocated[::4096]))


def computes() -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (lambda: sys.exit(3), "0 lines on stderr"),
        (lambda: print("warning: a", file=sys.stderr), ""),
        (fails, "traceback"),
        (prints, "2 lines on stderr"),
        (says_nothing, "0 lines on stderr"),
        (lambda: os.abort(), "exit code -6"),
        (lambda: sys.exit(70), "exit code 70"),
        (takes_memory, "memory"),
        (computes, "hangs"),
    ],
    ids=["quiet", "warns", "fails", "prints", "nothing", "aborts", "code", "memory", "hangs"],
)
def test_what_breaks_a_promise_is_seen(call: object, fault: str) -> None:
    # touching a gigabyte takes a slow machine more than a second
    cpu = 1 if fault == "hangs" else 60
    assert judge(forked(call, cpu=cpu), lists=False) == fault  # type: ignore[arg-type]


def test_what_sleeps_is_ended() -> None:
    ended = forked(lambda: time.sleep(60), wall=0.5)
    assert ended.hung
    assert ended.seconds < 30


def test_a_seed_gives_the_same_change(tmp_path: Path) -> None:
    changed = []
    for _ in range(2):
        path = tmp_path / "config.yaml"
        path.write_text("a: 1\nb: [x, y]\n")
        what = [mutate(path, Random(7)) for _ in range(1)]
        changed.append((what, path.read_bytes()))
    assert changed[0] == changed[1]


# Kinds whose sound files take seconds to make.
LONG = ("dump", "gnn_folder", "training", "evaluation", "perturbations")


def require_answers(kinds: list[str], n: int, folder: Path) -> None:
    """Run a campaign of these kinds; each must be tried, and every change be answered."""
    chosen = [f for kind in kinds for f in ("--kind", kind)]
    options = ["--n", str(n), "--seed", "28", "--run", str(RUN), "--unproven"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *options, *chosen],
        capture_output=True, text=True, cwd=ROOT, check=False,
        env={**os.environ, "TMPDIR": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"seed 28: {n} changes, 0 faults; exit codes" in done.stdout
    tried = dict(re.findall(r"^(\w+) +(\d+) changes +0 faults", done.stdout, re.MULTILINE))
    assert set(tried) == set(kinds)
    assert sum(map(int, tried.values())) == n


def test_every_kind_of_a_short_campaign_is_answered_in_one_line(tmp_path: Path) -> None:
    require_answers([k for k in KINDS if k not in LONG], 65, tmp_path)


@pytest.mark.slow
def test_kinds_that_take_long_to_make_are_answered_in_one_line(tmp_path: Path) -> None:
    require_answers(list(LONG), 25, tmp_path)


# Commands that no kind names, and which of those that are named read the same files.
NOT_TRIED = {
    "import-napistu": "plan", "run": "plan", "resume": "plan, verify, repair",
    "overlap": "compare models", "models check": "models inspect, atlas info",
    "octopus rate": "octopus info", "gnn evaluate": "gnn inspect", "gnn planted": "gnn inspect",
    "attention dump": "models inspect, atlas info", "compare show": "compare layers",
    "demo": "", "models list": "", "config explain": "", "config schema": "",
}  # fmt: skip


def commands(command: Any, words: str = "") -> Iterator[str]:
    """Yield the names of all commands."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words.strip()
    for name, each in (inner or {}).items():
        yield from commands(each, f"{words} {name}")


def test_every_command_is_in_a_campaign() -> None:
    """Red: a new command whose files nobody changes."""
    texts = [text for kind in KINDS.values() for text in kind.commands]
    every = set(commands(typer.main.get_command(app)))
    assert {c for c in every if not any(t.startswith(f"{c} ") for t in texts)} == set(NOT_TRIED)
    named = {name for others in NOT_TRIED.values() for name in others.split(", ") if name}
    assert named <= every - set(NOT_TRIED)


SHORT = """
import sys, tempfile
from pathlib import Path
from tests.fuzz import campaign, forked, full_disk, histories
forked.import_all()
with tempfile.TemporaryDirectory() as top:  # what campaigns try must succeed on sound files
    sound = campaign.Fixtures(Path(top))
    assert all(sound.folder(name) for name in ("run", "config", "zarr", "network"))
assert histories.main(["--n", "14", "--seed", "3"]) == 0
sys.exit(full_disk.main(["--n", "2"]))
"""


@pytest.mark.slow
def test_a_short_history_of_a_run_loses_nothing_and_a_full_disk_neither(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHORT], capture_output=True, text=True, cwd=ROOT, check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode in (0, NO_MOUNTS), done.stdout + done.stderr
    assert done.stdout.count("nothing lost") == (2 if done.returncode == 0 else 1)


@pytest.mark.slow
def test_two_hundred_histories_of_the_store_lose_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.store_histories", "--n", "200", "--seed", "1"],
        capture_output=True, text=True, cwd=ROOT, check=False,
        env={**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    seen = dict(re.findall(r"([a-z ]+) (\d+)[,;]", done.stdout))
    assert int(seen[" sequences"]) >= 200
    assert all(int(seen[f" {x}"]) >= 10 for x in ("killed", "power cut", "chunk torn", "repair"))


def test_an_answer_is_told_from_its_parts() -> None:
    sound = Ended(2, "", "bad input: a: b. Fix: c\n", 0.1, 0.1, 1 << 20, hung=False)
    assert judge(sound, lists=False) == ""
    progress = Ended(0, "", "16 of 16 cells checked\n", 0.1, 0.1, 1 << 20, hung=False)
    assert judge(progress, lists=False) == ""
