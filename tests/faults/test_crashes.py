"""Kill -9 of the driver at named points, damage on disk: found, and resumed to the same bytes."""

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

from engine.cluster import analyse
from engine.config import load_config
from engine.store.crash import POINTS
from engine.store.plan import load_plan
from engine.store.root import RunRoot
from engine.store.tables import VOCABULARY
from tests.conftest import octoscope, tables_of


def crash(config: Path, run: Path, where: str) -> None:
    """Run until the crash point kills the driver; the process must have died of SIGKILL."""
    command = [sys.executable, "-c", "from engine.cli import main; main()"]
    command += ["run", str(config), "--out", str(run), "--set", "keep_dense=fp32"]
    env = os.environ | {"OCTOSCOPE_CRASH_AT": where}
    died = subprocess.run(command, env=env, capture_output=True, timeout=200, check=False)
    assert died.returncode == -signal.SIGKILL, died.stdout
    assert not (run / "_SUCCESS").exists()


@pytest.mark.parametrize(
    "where",
    [
        pytest.param("before-write@h1.00000008", marks=pytest.mark.slow),
        "after-data@h1.00000008",
        pytest.param("after-record@c0001.h0.00000000", marks=pytest.mark.slow),
        pytest.param("in-finalise@c0001.l002", marks=pytest.mark.slow),
        pytest.param("before-success", marks=pytest.mark.slow),
    ],
)
def test_kill_then_resume_gives_the_same_bytes(
    where: str, finished_run: Path, small_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    crash(small_config, run, where)
    told = json.loads(octoscope("status", str(run), "--json").stdout)
    assert told["state"] == "unfinished"
    before = {p: p.read_bytes() for p in (run / "units").rglob("record.json")}
    assert before or where.startswith("before-write")
    stray = run / ".plan.json.0a.partial"  # what a writer killed inside a write leaves
    stray.write_text("half")
    resumed = octoscope("resume", str(run))
    assert resumed.returncode == 0, resumed.stderr
    assert not stray.exists()
    assert tables_of(run) == tables_of(finished_run)
    assert octoscope("verify", str(run)).returncode == 0
    # what had been committed was not computed again
    assert all(p.read_bytes() == body for p, body in before.items())


@pytest.mark.slow
def test_dask_on_threads_gives_the_bytes_of_dask_on_ray(
    finished_run: Path, small_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    crash(small_config, run, "before-success")
    root = RunRoot(run)
    plan, config = load_plan(root), load_config(run / "config.yaml")
    for top in ("tables", "topk", "union"):
        shutil.rmtree(run / top)
    genes = run / VOCABULARY  # written when the run was prepared, not by an analysis
    genes.parent.mkdir()
    shutil.copy(finished_run / VOCABULARY, genes)
    blocks = analyse.finished_blocks(plan, set())
    assert config.network is not None
    analyse.collect(root, plan, blocks, config.network)
    analyse.layers(root, plan, blocks, "threads")
    analyse.overlap(root, plan, blocks, config.network, "threads")
    assert tables_of(run) == tables_of(finished_run)


def test_every_named_point_is_swept() -> None:
    import inspect

    marks = inspect.getsource(sys.modules[__name__])
    assert all(f'"{point}' in marks for point in POINTS)


def workers() -> list[psutil.Process]:
    found = []
    for p in psutil.process_iter(["name"]):
        if (p.info["name"] or "").startswith("ray::Worker"):
            found.append(p)
    return found


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_nothing_is_lost(
    finished_run: Path, small_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-c", "from engine.cli import main; main()"]
    command += ["run", str(small_config), "--out", str(run), "--set", "keep_dense=fp32"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.time() + 120
    while not list(run.glob("units/*/attempt-*")) and time.time() < deadline:
        time.sleep(0.05)
    victims = workers()
    assert victims
    for victim in victims:
        victim.kill()
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert b"set aside" not in out
    assert tables_of(run) == tables_of(finished_run)


@pytest.mark.slow
def test_a_poison_unit_is_set_aside_listed_and_tried_again_by_resume(
    finished_run: Path, small_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    unit = "units/tiny.c0001.h0.00000000"
    ended = octoscope(
        "run", str(small_config), "--out", str(run), "--set", "keep_dense=fp32",
        env={"OCTOSCOPE_CRASH_AT": f"worker:after-data@{unit}"},  # kills its worker every time
    )  # fmt: skip
    assert ended.returncode == 3, ended.stderr
    told = json.loads((run / "run.json").read_text())
    assert list(told["set_aside"]) == [unit]
    assert told["cells"][0]["used"] == 24  # the rest finished
    page = (run / "report/index.html").read_text()
    assert "Incomplete." in page
    assert unit in page
    assert octoscope("verify", str(run)).returncode == 0
    assert octoscope("resume", str(run)).returncode == 0
    assert tables_of(run) == tables_of(finished_run)
    assert octoscope("verify", str(run)).returncode == 0
    assert not list((run / "units").rglob("*.zarr"))


@pytest.mark.slow
def test_a_dead_driver_leaves_no_worker(small_config: Path, tmp_path: Path) -> None:
    crash(small_config, tmp_path / "run", "after-data@h1.00000008")
    deadline = time.time() + 30
    while time.time() < deadline:
        left = workers()
        if not left:
            return
        time.sleep(0.5)
    pytest.fail(f"{len(left)} workers outlived their driver")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_cleanly_and_resume_finishes(
    number: signal.Signals, finished_run: Path, small_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-c", "from engine.cli import main; main()"]
    command += ["run", str(small_config), "--out", str(run), "--set", "keep_dense=fp32"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.time() + 120
    while not list(run.glob("units/*/record.json")) and time.time() < deadline:
        time.sleep(0.1)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert json.loads((run / "progress.json").read_text())["status"] == "failed"
    assert octoscope("resume", str(run)).returncode == 0
    assert tables_of(run) == tables_of(finished_run)


@pytest.fixture
def copy(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "copy"))


def dense_chunk(run: Path) -> Path:
    return next(p for p in sorted(run.glob("matrices/*/*/dense.zarr/sums/c/**/*")) if p.is_file())


def test_verify_finds_a_flipped_bit(copy: Path) -> None:
    for victim in (dense_chunk(copy), copy / "tables/stats.parquet"):
        raw = bytearray(victim.read_bytes())
        raw[len(raw) // 2] ^= 1
        victim.write_bytes(raw)
        found = octoscope("verify", str(copy))
        assert found.returncode == 1
        assert f"{victim.relative_to(copy)}: content does not match" in found.stderr


def test_verify_finds_missing_truncated_and_foreign_objects(copy: Path) -> None:
    missing = dense_chunk(copy)
    missing.unlink()
    cut = copy / "topk/tiny.parquet"
    cut.write_bytes(cut.read_bytes()[:100])
    (copy / "tables/mine.parquet").write_bytes(b"x")
    found = json.loads(octoscope("verify", str(copy), "--json").stdout)
    faults = {f["object"]: f["what"] for f in found}
    assert faults[str(missing.relative_to(copy))] == "missing"
    assert "100 bytes" in faults["topk/tiny.parquet"]
    assert faults["tables/mine.parquet"] == "not part of the run"
    assert len(faults) == 3


@pytest.mark.slow
def test_verify_finds_damage_in_an_unfinished_run(small_config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    crash(small_config, run, "in-finalise@c0001.l002")
    assert octoscope("verify", str(run)).returncode == 0
    victim = next(p for p in sorted(run.glob("units/*/*/sums.zarr/pairs/c/**/*")) if p.is_file())
    victim.unlink()
    found = octoscope("verify", str(run))
    assert found.returncode == 1
    assert "missing" in found.stderr


def test_readers_refuse_a_run_without_success_or_with_another_manifest(copy: Path) -> None:
    manifest = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(manifest.replace("tables/stats", "tables/other"))
    refused = octoscope("report", str(copy))
    assert refused.returncode == 1
    assert "does not match _SUCCESS" in refused.stderr
    (copy / "_SUCCESS").unlink()
    refused = octoscope("report", str(copy))
    assert refused.returncode == 1
    assert "octoscope resume" in refused.stderr


def test_resume_refuses_changed_inputs(copy: Path, tmp_path: Path) -> None:
    (copy / "_SUCCESS").unlink()
    config = copy / "config.yaml"
    config.write_text(config.read_text().replace("top_k: 50", "top_k: 51"))
    refused = octoscope("resume", str(copy))
    assert refused.returncode == 2
    assert "top_k" in refused.stderr
