"""SIGKILL of the driver at every named point, and of workers: resumed to the same bytes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from octoscope.pipeline.run_analyses import run_analysis, steps
from octoscope.planning.frozen_config import run_config
from octoscope.results.cell_tables import CELLS, REFUSED, VOCABULARY_COUNTS
from octoscope.store.parquet import VOCABULARY
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot

from tests.conftest import octoscope, tables_of
from tests.faults.runs import KEEP, crash, ray_nodes, start, until, workers
from tests.here import here

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

pytestmark = pytest.mark.timeout(1200)  # the first test that asks for the sweep waits for it


@dataclass
class Swept:
    """A run that was killed at every point in turn, and what was found on the way."""

    run: Path
    last: Path  # a copy as it was before the run was sealed
    resumed: subprocess.CompletedProcess[str]
    stray: Path  # what a writer killed inside a write leaves
    states: list[str] = field(default_factory=list)
    computed_again: list[str] = field(default_factory=list)
    sealed: list[str] = field(default_factory=list)
    lost: dict[str, bool] = field(default_factory=dict)  # whether the unit killed has no record
    records: int = 0


@pytest.fixture(scope="module")
def swept(small_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    folder = tmp_path_factory.mktemp("swept")
    run, last = folder / "run", folder / "last"
    state = Swept(run, last, subprocess.CompletedProcess([], 1), run / ".plan.json.0a.partial")
    done: dict[Path, bytes] = {}

    def note_again(where: str) -> None:
        if any(not p.exists() or p.read_bytes() != body for p, body in done.items()):
            state.computed_again.append(where)

    with ray_nodes(cpus=2) as cluster:
        address = ("--address", cluster.address)
        for where in SWEEP:
            crash(small_config, run, where, *address)  # from the second on, this resumes
            state.states.append(json.loads(here("status", str(run), "--json").stdout)["state"])
            if (run / "_SUCCESS").exists():
                state.sealed.append(where)
            note_again(where)
            done = {p: p.read_bytes() for p in run.rglob("record.json")}
            unit = where.partition("@")[2]
            state.lost[where] = not any(unit in str(p) for p in done)
        state.records = len(done)
        shutil.copytree(run, last)
        state.stray.write_text("half")
        state.resumed = octoscope("resume", str(run), *address)
    note_again("resume")
    return state


@pytest.mark.slow
def test_a_run_killed_at_every_point_in_turn_gives_the_same_bytes(
    finished_run: Path, swept: Swept
) -> None:
    assert swept.resumed.returncode == 0, swept.resumed.stderr
    assert tables_of(swept.run) == tables_of(finished_run)
    assert here("verify", str(swept.run)).returncode == 0


@pytest.mark.slow
def test_what_was_committed_before_a_kill_is_not_computed_again(swept: Swept) -> None:
    assert swept.records == 8 + 2 + 4  # units, pair counts, matrices
    assert swept.computed_again == []


@pytest.mark.slow
def test_a_kill_leaves_a_record_only_where_it_came_after_one(swept: Swept) -> None:
    of_units = {where: lost for where, lost in swept.lost.items() if ".h" in where}
    assert of_units == {where: "after-record" not in where for where in of_units}
    assert len(of_units) == 4


@pytest.mark.slow
def test_a_killed_run_is_unfinished_and_what_a_writer_left_is_swept(swept: Swept) -> None:
    assert set(swept.states) == {"unfinished"}
    assert swept.sealed == []
    assert not swept.stray.exists()


def test_every_named_point_is_swept() -> None:
    engine = Path(__file__).parents[2] / "engine"
    named = [
        point
        for path in engine.rglob("*.py")
        for point in re.findall(r'crash_point\("([^"]+)"', path.read_text())
    ]
    assert sorted(where.partition("@")[0] for where in SWEEP) == sorted(named)


@pytest.mark.slow
def test_dask_on_threads_gives_the_bytes_of_dask_on_ray(
    finished_run: Path, swept: Swept, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(swept.last, tmp_path / "run"))
    root = RunRoot(run)
    plan, config = load_plan(root), run_config(root)
    for top in ("tables", "topk", "union"):
        shutil.rmtree(run / top)
    (run / "tables").mkdir()
    for name in (VOCABULARY, VOCABULARY_COUNTS, CELLS, REFUSED):  # not written by an analysis
        shutil.copy(finished_run / name, run / name)
    blocks = plan.finished_blocks(set())
    assert config.network is not None
    for analysis in steps(plan, blocks, network=True):
        run_analysis(root, analysis, blocks, config.network)
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
