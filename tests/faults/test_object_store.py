"""A whole run in an object store: killed, resumed, verified, repaired; no secret in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from octoscope.store.run_dir import RunRoot

from tests.conftest import octoscope, tables_of
from tests.faults.runs import crash
from tests.here import here
from tests.s3 import SECRET


def fetched(url: str, to: Path) -> Path:
    """Copy a run from the store to a folder."""
    root = RunRoot(url)
    for name in root.files():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_bytes(root.read(name) or b"")
    return to


@pytest.mark.slow
def test_a_run_on_s3_is_killed_resumed_and_repaired_to_the_same_bytes(
    bucket: str, small_config: Path, finished_run: Path, tmp_path: Path
) -> None:
    url = f"{bucket}/run"
    crash(small_config, url, "after-data@h1.00000008")
    assert "unfinished" in here("status", url).stdout
    before = {
        n: RunRoot(url).read(n) for n in RunRoot(url).files("units") if n.endswith("record.json")
    }
    assert before
    resumed = here("resume", url)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    root = RunRoot(url)
    assert all(root.read(n) == body for n, body in before.items())
    assert here("verify", url).returncode == 0
    run = fetched(url, tmp_path / "run")
    assert tables_of(run) == tables_of(finished_run)
    assert not [f for f in root.files("units") if not f.endswith("record.json")]
    assert f"{url}/report/index.html" in here("report", url).stdout
    # damage and repair
    root.remove(["topk/tiny.parquet"])
    damaged = here("verify", url)
    assert damaged.returncode == 1
    assert "topk/tiny.parquet: missing" in damaged.stderr
    repaired = here("repair", url)
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    again = fetched(url, tmp_path / "again")
    assert tables_of(again) == tables_of(finished_run)
    # secrets of the environment are in no object, and in no message
    for path in (*again.rglob("*"), *run.rglob("*")):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path
    for completed in (resumed, damaged, repaired):
        assert SECRET not in completed.stdout + completed.stderr


@pytest.mark.slow
def test_a_store_that_cannot_be_written_is_refused_before_anything_runs(
    bucket: str, small_config: Path
) -> None:
    refused = octoscope(
        "plan", str(small_config), "--out", f"{bucket}/run", "--no-calibrate",
        env={"AWS_SECRET_ACCESS_KEY": "wrong"},
    )  # fmt: skip
    assert refused.returncode in (1, 2)
    assert "Traceback" not in refused.stderr
    assert f"{bucket}/run" in refused.stderr
    for url, message in (
        ("sftp://host/run", "no conditional create"),
        ("s3://key:hidden@bucket/run", "holds credentials"),
    ):
        refused = here("plan", str(small_config), "--out", url, "--no-calibrate")
        assert refused.returncode == 2
        assert message in refused.stderr
        assert "hidden" not in refused.stderr
    # in memory there is no run for other processes
    refused = here("plan", str(small_config), "--out", "memory://run", "--no-calibrate")
    assert refused.returncode == 2
    assert "this process" in refused.stderr


def test_a_run_from_a_folder_is_the_same_run_in_a_store(bucket: str, finished_run: Path) -> None:
    root = RunRoot(f"{bucket}/copied")
    for path in sorted(finished_run.rglob("*")):
        if path.is_file():
            root.replace(path.relative_to(finished_run).as_posix(), path.read_bytes())
    sound = here("verify", root.url)
    assert sound.returncode == 0, sound.stderr
