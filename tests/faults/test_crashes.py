"""SIGKILL of the driver at every named point, and of workers: resumed to the same bytes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from engine.cluster import analyse
from engine.cluster.frozen import run_config
from engine.store.crash import POINTS
from engine.store.plan import load_plan
from engine.store.root import RunRoot
from engine.store.tables import VOCABULARY
from tests.conftest import octoscope, tables_of
from tests.faults.runs import KEEP, crash, start, until, workers


@pytest.mark.parametrize(
    "where",
    [
        pytest.param("before-write@h1.00000008", marks=pytest.mark.slow),
        "after-data@h1.00000008",
        pytest.param("after-record@c0001.h0.00000000", marks=pytest.mark.slow),
        pytest.param("mid-layer@c0000.h1", marks=pytest.mark.slow),
        pytest.param("mid-reduce@c0001.l000", marks=pytest.mark.slow),
        pytest.param("mid-finalise@c0001.l002", marks=pytest.mark.slow),
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
    assert before or where.startswith(("before-write", "mid-layer"))
    stray = run / ".plan.json.0a.partial"  # what a writer killed inside a write leaves
    stray.write_text("half")
    resumed = octoscope("resume", str(run))
    assert resumed.returncode == 0, resumed.stderr
    assert not stray.exists()
    assert tables_of(run) == tables_of(finished_run)
    assert octoscope("verify", str(run)).returncode == 0
    # what had been committed was not computed again
    assert all(p.read_bytes() == body for p, body in before.items())


def test_every_named_point_is_swept() -> None:
    import inspect

    marks = inspect.getsource(sys.modules[__name__])
    assert all(f'"{point}' in marks for point in POINTS)


@pytest.mark.slow
def test_dask_on_threads_gives_the_bytes_of_dask_on_ray(
    finished_run: Path, small_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    crash(small_config, run, "before-success")
    root = RunRoot(run)
    plan, config = load_plan(root), run_config(root)
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


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_nothing_is_lost(
    finished_run: Path, small_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = start("run", str(small_config), "--out", str(run), *KEEP)
    until(lambda: list(run.glob("units/*/attempt-*")))
    victims = workers(process.pid)
    assert victims
    for victim in victims:
        victim.kill()
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert b"set aside" not in out
    assert tables_of(run) == tables_of(finished_run)
