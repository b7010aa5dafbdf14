"""SIGKILL of the driver at every named point, and of workers: resumed to the same bytes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from octoscope.pipeline.run_analyses import run_all
from octoscope.planning.freeze import run_config
from octoscope.results.cell_tables import CELLS, REFUSED
from octoscope.store.fault_injection import POINTS
from octoscope.store.parquet import VOCABULARY
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot

from tests.conftest import octoscope, tables_of
from tests.faults.runs import KEEP, crash, start, until, workers

SWEEP = [
    "before-write@c0000.h0.00000008",
    "mid-layer@c0000.h1.00000000",
    "after-data@c0000.h1.00000008",
    "after-record@c0001.h0.00000000",
    "mid-reduce@c0001.l000",
    # the same matrix: another that a second worker had in hand may be committed by now
    "mid-finalise@c0001.l000",
    "before-success",
]


@pytest.mark.slow
def test_a_run_killed_at_every_point_in_turn_gives_the_same_bytes(
    finished_run: Path, small_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done: dict[Path, bytes] = {}
    for where in SWEEP:
        crash(small_config, run, where)  # from the second on, this resumes the one before
        assert not (run / "_SUCCESS").exists()
        # what had been committed was not computed again
        assert all(p.read_bytes() == body for p, body in done.items()), where
        done = {p: p.read_bytes() for p in run.rglob("record.json")}
        lost = "after-record" not in where
        unit = where.partition("@")[2]
        assert not unit.startswith("c0000.h") or any(unit in str(p) for p in done) != lost
    assert len(done) == 8 + 2 + 4  # units, pair counts, matrices
    resumed = octoscope("resume", str(run))
    assert resumed.returncode == 0, resumed.stderr
    assert all(p.read_bytes() == body for p, body in done.items())
    assert tables_of(run) == tables_of(finished_run)
    assert octoscope("verify", str(run)).returncode == 0


@pytest.mark.slow
def test_kill_then_resume_gives_the_same_bytes(
    finished_run: Path, small_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    crash(small_config, run, "after-data@h1.00000008")
    told = json.loads(octoscope("status", str(run), "--json").stdout)
    assert told["state"] == "unfinished"
    before = {p: p.read_bytes() for p in (run / "units").rglob("record.json")}
    assert before
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
    assert [where.partition("@")[0] for where in SWEEP] == list(POINTS)


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
    (run / "tables").mkdir()
    for name in (VOCABULARY, CELLS, REFUSED):  # not written by an analysis
        shutil.copy(finished_run / name, run / name)
    blocks = plan.finished_blocks(set())
    assert config.network is not None
    run_all(root, plan, blocks, config.network)
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
    assert b"quarantined" not in out
    assert tables_of(run) == tables_of(finished_run)
