"""Files and folders of another user: finished runs are read, all else is one line that names one.

Commands run in children of a process without threads, and without the rights of a superuser: where
this process has them, files are given to another user; else rights are taken away from the files.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from octoscope.demo.demo import data

from tests.conftest import small_tree
from tests.fuzz.forked import Ended, command, forked, import_all

RUN = Path(__file__).parents[1] / "data/stores/plan-3b"
NOBODY = 65534
_CAPABILITIES_3 = 0x20080522  # of capset(2): sets of 64 bits

Ask = Callable[..., Ended]

pytestmark = pytest.mark.slow


def serve() -> None:
    """Run each line of standard input, a list of arguments, in a child that has no rights."""
    header, none = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, none) == 0
    import_all()
    for line in sys.stdin:
        ended = forked(command(*json.loads(line)), cpu=60, wall=300)
        print(json.dumps(asdict(ended)), flush=True)


@pytest.fixture(scope="module")
def without_rights() -> Iterator[Ask]:
    """Run commands that may do only what modes of files allow."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.test_rights"], cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdin is not None
    assert server.stdout is not None

    def ask(*arguments: str) -> Ended:
        print(json.dumps(arguments), file=server.stdin, flush=True)
        return Ended(**json.loads(server.stdout.readline()))  # type: ignore[union-attr]

    yield ask
    server.stdin.close()
    server.wait()


def give_away(folder: Path) -> None:
    """Let others only read a folder, as if another user had made it."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        else:
            path.chmod(0o555 if path.is_dir() else 0o444)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that belongs to somebody else after the test has filled and given it away."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
        for path in (Path(name), *Path(name).rglob("*")):
            if path.is_dir():
                path.chmod(0o755)


def one_line(ended: Ended) -> str:
    assert ended.code in (1, 2), ended.stdout + ended.stderr
    (line,) = ended.stderr.strip().splitlines()
    return line


def contents(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_finished_run_of_another_user_is_read_and_not_changed(
    folder: Path, tmp_path: Path, without_rights: Ask
) -> None:
    run = Path(shutil.copytree(RUN, folder / "run"))
    (run / "tables/stats.parquet").unlink()  # something to repair
    give_away(folder)
    before = contents(run)
    assert without_rights("status", str(run)).code == 0
    assert "stats.parquet" in without_rights("verify", str(run)).stderr
    line = one_line(without_rights("repair", str(run)))
    assert f"{run}/" in line
    assert "ermission denied. Fix: check the rights to it" in line
    assert contents(run) == before
    os.chmod(run / "tables", 0o755)
    shutil.copy(RUN / "tables/stats.parquet", run / "tables")
    assert without_rights("verify", str(run)).code == 0
    page = tmp_path / "page.html"
    completed = without_rights("report", str(run), "--out", str(page))
    assert (completed.code, completed.stdout.strip()) == (0, str(page))
    assert b"<html" in page.read_bytes()


def test_a_planned_run_of_another_user_is_not_resumed(
    small_config: Path, folder: Path, without_rights: Ask
) -> None:
    run = folder / "run"
    completed = without_rights("plan", str(small_config), "--out", str(run), "--no-calibrate")
    assert completed.code == 0, completed.stderr
    give_away(folder)
    before = contents(run)
    line = one_line(without_rights("resume", str(run)))
    assert f"{run}/" in line
    assert "ermission denied. Fix: check the rights to it" in line
    assert contents(run) == before


@pytest.mark.parametrize(
    "closed",
    ["config.yaml", "a.zarr/X", "a.zarr/X/data/c", "model/best_model.pt", "model"],
)
def test_an_input_that_may_not_be_read_is_named(
    closed: str, small_atlas: Path, folder: Path, tmp_path: Path, without_rights: Ask
) -> None:
    shutil.copytree(small_atlas, folder / "a.zarr")
    shutil.copytree(data("checkpoints/scgpt-demo"), folder / "model")
    tree = small_tree(folder / "a.zarr")
    tree["models"][0]["path"] = str(folder / "model")
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    (folder / closed).chmod(0)
    plan = ("plan", str(folder / "config.yaml"), "--out", str(tmp_path / "run"), "--no-calibrate")
    line = one_line(without_rights(*plan))
    _, _, problem = line.partition(": ")  # the file comes first
    assert problem.startswith(str(folder / closed))
    assert "ermission denied" in line
    assert "Fix: check the " in line
    assert not (tmp_path / "run/plan.json").exists()


def test_a_folder_that_may_not_be_written_is_named(
    small_config: Path, small_atlas: Path, folder: Path, without_rights: Ask
) -> None:
    give_away(folder)
    for words in (
        ("plan", str(small_config), "--out", "TARGET", "--no-calibrate"),
        ("atlas", "convert", str(small_atlas), "TARGET", "--category", "cell_type"),
        ("report", str(RUN), "--out", "TARGET"),
        ("octopus", "export", "demo", "TARGET", "--format", "parquet"),
    ):
        target = str(folder / "new.parquet")
        line = one_line(without_rights(*(target if w == "TARGET" else w for w in words)))
        assert str(folder) in line
        assert "ermission denied" in line
    assert list(folder.iterdir()) == []


if __name__ == "__main__":
    serve()
