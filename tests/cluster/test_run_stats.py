"""What is counted while a run goes on, and how it is shown."""

from __future__ import annotations

import io
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from octoscope.cluster import live_view, progress
from octoscope.cluster.dispatch import Change, Outcome, Work, dispatch
from octoscope.cluster.progress import Reporter
from octoscope.cluster.run_stats import RunStats
from octoscope.json_values import to_json
from octoscope.store.progress_file import PROGRESS
from octoscope.store.run_dir import RunRoot
from rich.console import Console

PLACE = {"host": "node7", "pid": 42, "device": "H100", "gpus": 0.5}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def done(work: Work, actor: str, seconds: float, cells: int, waited: float) -> Change:
    metrics = {"seconds": seconds, "cells_used": cells, "wait_seconds": waited}
    return Change(work, "done", actor, metrics)


def two_units() -> tuple[RunStats, Clock]:
    """Two actors of one group: one has done a unit of 300 cells in 10 s, one runs its first."""
    clock = Clock()
    stats = RunStats(clock)
    works = [Work(f"units/u{i}", "scgpt") for i in range(6)]
    stats.stage("attention", {"scgpt": 6})
    for name in ("scgpt.0", "scgpt.1"):
        stats.actor(name, "started", PLACE)
    stats.change("attention", Change(works[0], "started", "scgpt.0"))
    stats.change("attention", Change(works[1], "started", "scgpt.1"))
    clock.now += 10
    stats.change("attention", done(works[0], "scgpt.0", 10.0, 300, 0.5))
    return stats, clock


def test_a_timeline_has_each_stage_and_each_analysis() -> None:
    stats, clock = two_units()
    stats.stage("analysis", {"tables": 1, "overlap": 1, "never ran": 1})
    for name, seconds in (("tables", 4.0), ("overlap", 6.0)):
        work = Work(name, name)
        stats.change("analysis", Change(work, "started"))
        clock.now += seconds
        stats.change("analysis", Change(work, "done", metrics={"seconds": seconds}))
    timeline = stats.timeline()
    rows = [(s["stage"], s["began"], s["seconds"], s["pieces"]) for s in timeline["stages"]]
    assert rows == [
        ("attention", 0.0, 20.0, 1),  # it has not ended
        ("analysis: tables", 10.0, 4.0, 1),
        ("analysis: overlap", 14.0, 6.0, 1),
    ]
    assert (timeline["started"], timeline["seconds"]) == (1000.0, 20.0)
    one = timeline["stages"][0]
    assert (one["cells"], one["busy"], one["waited"]) == (300, 10.0, 0.5)
    assert [(a["name"], a["pieces"], a["held"]) for a in timeline["actors"]] == [
        ("scgpt.0", 1, 20.0), ("scgpt.1", 0, 20.0),
    ]  # fmt: skip


def test_rates_waiting_time_left_and_gpu_hours() -> None:
    stats, clock = two_units()
    s = stats.snapshot()
    stage = s["stages"]["attention"]
    assert (stage["done"], stage["running"], stage["total"]) == (1, 1, 6)
    assert stage["cells_per_second"] == pytest.approx(30)
    assert stage["wait_share"] == pytest.approx(0.05)
    assert stage["seconds_left"] == pytest.approx(5 * 10 / 2)  # five pieces, two actors
    assert s["actor_hours"] == pytest.approx(2 * 10 / 3600, abs=1e-5)
    assert s["gpu_hours"] == pytest.approx(2 * 0.5 * 10 / 3600, abs=1e-5)
    first, second = s["actors"]
    assert (first["state"], first["pieces"], first["cells"]) == ("idle", 1, 300)
    assert (second["state"], second["work"]) == ("running", "units/u1")


def test_lost_and_stopped_actors_hold_nothing_more_and_do_not_shorten_the_rest() -> None:
    stats, clock = two_units()
    stats.actor("scgpt.1", "lost", {})
    stats.change("attention", Change(Work("units/u1", "scgpt"), "again", "scgpt.1"))
    before = stats.snapshot()
    assert before["stages"]["attention"]["seconds_left"] == pytest.approx(50)  # one is left
    assert before["actors"][1]["state"] == "lost"
    stats.actor("scgpt.0", "stopped", {})
    clock.now += 3600
    assert stats.snapshot()["gpu_hours"] == before["gpu_hours"]
    stats.actor("scgpt.0", "started", PLACE)
    clock.now += 3600
    assert stats.snapshot()["gpu_hours"] == pytest.approx(before["gpu_hours"] + 0.5, abs=1e-5)


def test_time_left_is_unknown_until_every_group_has_ended_a_piece() -> None:
    clock = Clock()
    stats = RunStats(clock)
    stats.stage("attention", {"a": 1, "b": 2})
    stats.actor("a.0", "started", PLACE)
    stats.change("attention", Change(Work("units/a", "a"), "started", "a.0"))
    stats.change("attention", done(Work("units/a", "a"), "a.0", 4, 1, 0))
    assert stats.snapshot()["stages"]["attention"]["seconds_left"] is None
    for i in range(2):
        stats.change("attention", Change(Work(f"units/b{i}", "b"), "found"))
    stage = stats.snapshot()["stages"]["attention"]
    assert stage["seconds_left"] == 0
    assert stage["done"] == 3


def test_a_step_that_no_actor_runs_is_named_and_tells_nothing_of_the_next() -> None:
    clock = Clock()
    stats = RunStats(clock)
    steps = [Work(name, name) for name in ("layers", "consensus")]
    stats.stage("analysis", {w.group: 1 for w in steps})

    def step_line() -> str:
        snapshot = stats.snapshot()
        return live_view.line("analysis", snapshot["stages"]["analysis"], snapshot)

    stats.change("analysis", Change(steps[0], "started"))
    clock.now += 3
    assert step_line() == "analysis: 0/2 done, layers running (3 s)"
    stats.change("analysis", Change(steps[0], "done", metrics={"seconds": 3.0}))
    assert step_line() == "analysis: 1/2 done (3 s)"
    stats.change("analysis", Change(steps[1], "started"))
    assert step_line() == "analysis: 1/2 done, consensus running (3 s)"


def test_earlier_drivers_hours_are_kept() -> None:
    stats = RunStats(Clock(), earlier={"gpu_hours": 2.5, "actor_hours": 4.0})
    assert stats.snapshot()["gpu_hours"] == 2.5
    assert stats.snapshot()["actor_hours"] == 4.0


def test_the_view_shows_each_actor_and_the_line_says_the_same() -> None:
    stats, clock = two_units()
    snapshot = stats.snapshot()
    out = Console(file=io.StringIO(), width=160)
    out.print(live_view.render(snapshot, clock.now))
    shown = out.file.getvalue()  # type: ignore[attr-defined]
    for text in ("1/6", "30", "5.0 %", "25 s", "scgpt.0", "node7:42", "H100 x 0.5", "units/u1"):
        assert text in shown
    line = live_view.line("attention", snapshot["stages"]["attention"], snapshot)
    assert line.startswith("attention: 1/6 done, 1 running, 30 cells/s, waited for data 5.0 %")
    assert "25 s left" in line


def test_a_view_of_very_many_actors_stays_short_and_escapes_names() -> None:
    stats = RunStats(Clock())
    for i in range(1000):
        stats.actor(f"[red]m[/red].{i}", "started", PLACE)
    out = Console(file=io.StringIO(), width=160)
    out.print(live_view.render(stats.snapshot(), 1000.0))
    shown = out.file.getvalue()  # type: ignore[attr-defined]
    assert len(shown.splitlines()) < 30
    assert "and 980 more" in shown
    assert "[red]m[/red].0" in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (119, "119 s"), (125, "2 min"), (7260, "2 h 01"), (None, "")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert live_view.duration(seconds) == text


class Fleet:
    """One actor, in process; every second piece fails once."""

    def __init__(self) -> None:
        self.at: list[Work] = []
        self.failed: set[str] = set()

    def idle(self, group: str) -> list[str]:
        return [] if self.at else ["g.0"]

    def submit(self, work: Work, actor: str, ahead: Work | None = None) -> None:
        self.at.append(work)

    def wait(self, timeout: float) -> list[Outcome]:
        work = self.at.pop()
        if work.id.endswith("1") and work.id not in self.failed:
            self.failed.add(work.id)
            return [Outcome(work, ConnectionError("died"))]
        return [Outcome(work, metrics={"seconds": 0.5, "cells_used": 8, "wait_seconds": 0.1})]

    def abandon(self, work: Work) -> None:
        raise AssertionError


def ran(root: RunRoot, log: str) -> str:
    """Run three pieces under a reporter; returns what was printed."""
    out = Console(file=io.StringIO(), width=200)
    works = [Work(f"units/u{i}", "g") for i in range(3)]
    with Reporter(root, out, log) as reporter:
        reporter.actor("g.0", "started", PLACE)
        reporter.stage("attention", works)
        dispatch(
            works, Fleet(), lambda _: False, attempts=3, timeout=9,
            on_change=lambda change: reporter.change("attention", change),
        )  # fmt: skip
    return str(out.file.getvalue())  # type: ignore[attr-defined]


def test_lines_without_a_terminal_and_progress_json(tmp_path: Path) -> None:
    root = RunRoot(tmp_path)
    text = ran(root, "text")
    assert "attention: 3 to do" in text
    assert "trying again: units/u1" in text
    assert "attention: 3/3 done" in text
    progress: dict[str, Any] = root.read_json(PROGRESS)
    assert progress["status"] == "finished"
    assert progress["stages"]["attention"]["cells"] == 24
    assert progress["stages"]["attention"]["again"] == 1
    assert progress["actors"][0]["pieces"] == 3


def test_json_lines_carry_run_unit_and_actor(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in ran(RunRoot(tmp_path), "json").splitlines()]
    assert {e["run"] for e in lines} == {str(tmp_path)}
    work = [(e["unit"], e["actor"], e["what"]) for e in lines if e["event"] == "work"]
    assert ("units/u0", "g.0", "done") in work
    again = next(e for e in lines if e.get("what") == "again")
    assert again["error"] == "ConnectionError: died"


def test_a_driver_that_says_nothing_new_still_shows_that_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_WRITE_EVERY", 0.05)
    root = RunRoot(tmp_path)
    with Reporter(root, Console(file=io.StringIO())) as reporter:
        reporter.stage("attention", [Work("units/u0", "g")])
        time.sleep(0.3)
        first = root.read_json(PROGRESS)["updated"]
        time.sleep(0.3)
        assert root.read_json(PROGRESS)["updated"] > first
        assert root.read_json(PROGRESS)["status"] == "running"


def test_plain_lines_go_on_while_a_long_unit_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_WRITE_EVERY", 0.05)
    monkeypatch.setattr(progress, "_QUIET", 0.1)
    out, work = io.StringIO(), Work("units/u0", "g")
    with Reporter(RunRoot(tmp_path), Console(file=out, width=200)) as reporter:
        reporter.stage("attention", [work])
        reporter.actor("g.0", "started", PLACE)
        reporter.change("attention", Change(work, "started", "g.0"))
        before = out.getvalue().count("attention: 0/1 done")
        time.sleep(0.5)
        assert out.getvalue().count("attention: 0/1 done") > before
        reporter.change("attention", done(work, "g.0", 1.0, 3, 0.0))
        text = out.getvalue()
        time.sleep(0.3)
        assert out.getvalue() == text  # a stage that has ended is printed once


def test_follow_ends_with_the_driver_and_says_each_change_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, (stats, _) = RunRoot(tmp_path), two_units()

    def write(status: str) -> None:
        body = {"status": status, **stats.snapshot(), "updated": time.time()}
        root.replace(PROGRESS, to_json(body))

    write("running")
    out = Console(file=io.StringIO(), width=200)
    following = threading.Thread(target=progress.follow, args=(root, out, 0.05))
    following.start()
    time.sleep(0.3)
    assert following.is_alive()
    write("finished")
    following.join(5)
    assert not following.is_alive()
    assert str(out.file.getvalue()).count("attention: 1/6 done") == 1  # type: ignore[attr-defined]
    monkeypatch.setattr(progress, "_SILENT", -1.0)  # a driver that was killed
    write("running")
    progress.follow(root, out, 60)
