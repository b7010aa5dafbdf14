"""Reports the progress of a run: live view, plain or JSON lines, ``progress.json``.

``octoscope status`` shows the same from the run directory alone.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from rich.console import Console
from rich.live import Live

from octoscope.cluster import live_view
from octoscope.cluster.dispatch import Change, Work
from octoscope.cluster.run_stats import RunStats
from octoscope.cluster.signals import Stopped
from octoscope.errors import InputError, OctoscopeError, in_one_line
from octoscope.json_values import to_json
from octoscope.store.commits import done_among
from octoscope.store.lease import read_lease
from octoscope.store.manifest import JOURNAL, read_success
from octoscope.store.plan_file import load_plan
from octoscope.store.progress_file import DAMAGED, PROGRESS, last_seen
from octoscope.store.run_dir import RunRoot

_WRITE_EVERY = 5.0  # seconds between rewrites of progress.json
_LINE_EVERY = 15.0  # seconds between plain lines
_QUIET = 60.0  # seconds without a change after which a plain line is printed
_MOST_RECORDS = 1000  # more records than this are not asked for while a driver reports them
_STAGE_OF = {"units": "attention"}
_SILENT = 60.0  # seconds after which a driver counts as gone
_ASIDE = ("quarantined", "again")


class Reporter:
    """Counts work per stage and actor; use as a context manager around a run.

    Parameters
    ----------
    log
        ``text``: a live view on a terminal, else plain lines; ``json``: one JSON object per event,
        with run, stage, unit and actor.
    """

    def __init__(self, root: RunRoot, console: Console, log: str = "text") -> None:
        self._root, self._console, self._json = root, console, log == "json"
        self._run_stats = RunStats(earlier=last_seen(root))
        self._last_line = 0.0
        self._other_sets: set[str] = set()  # instruction sets that were warned of
        self._stage: str | None = None  # stage of the last plain line, while it runs
        self._ended = threading.Event()
        # in a thread: a unit or a table may take an hour, in which nothing changes
        self._reporter = threading.Thread(
            target=self._report_regularly, name="progress", daemon=True
        )
        self._live = None
        if console.is_terminal and not self._json:
            self._live = Live(
                console=console,
                get_renderable=lambda: live_view.render(self._run_stats.snapshot()),
                refresh_per_second=2,
            )

    def __enter__(self) -> Reporter:
        if self._live is not None:
            self._live.start()
        self._reporter.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: Any
    ) -> None:
        if self._live is not None:
            self._live.stop()
        self._ended.set()
        self._reporter.join()
        if error is None:
            self._write("finished")
        elif isinstance(error, Stopped | KeyboardInterrupt | SystemExit):
            self._write("stopped")
        else:
            self._write("failed", error=_text(error))

    def stage(self, name: str, works: Iterable[Work]) -> None:
        """Begin a stage."""
        groups = Counter(w.group for w in works)
        self._run_stats.stage(name, dict(groups))
        self._say("stage", f"{name}: {groups.total()} to do", stage=name, total=groups.total())

    def actor(self, name: str, what: str, process: dict[str, Any]) -> None:
        """Note that an actor started, was lost or stopped."""
        self._run_stats.actor(name, what, process)
        if what == "lost" or self._json:
            self._say("actor", f"actor {name}: {what}", actor=name, what=what, **process)
        other = process.get("instruction_set") if "planned_with" in process else None
        if other is not None and other not in self._other_sets:
            self._other_sets.add(other)
            text = (
                f"warning: actor {name} computes with {other}, the run was planned with "
                f"{process['planned_with']}: last bits of results may differ"
            )
            self._say("warning", text, actor=name, what=text)

    def timeline(self) -> dict[str, Any]:
        """Return when each stage ran and what the actors did; see :meth:`RunStats.timeline`."""
        return self._run_stats.timeline()

    def change(self, stage: str, change: Change) -> None:
        """Note that a piece started, finished, was found, is tried again or was quarantined."""
        ended = self._run_stats.change(stage, change).ended
        work = change.work.id
        if self._json and change.what != "found":
            details = dict(change.metrics)
            if change.error is not None:
                details["error"] = f"{type(change.error).__name__}: {change.error}"
            self._say("work", "", stage=stage, unit=work, actor=change.actor, what=change.what,
                      **details)  # fmt: skip
        elif change.what in _ASIDE:
            what = "quarantined" if change.what == "quarantined" else "trying again"
            self._say("work", f"{what}: {work}")
        self._stage = None if ended else stage
        if ended or time.time() - self._last_line > _LINE_EVERY:
            self._line(stage)

    def _line(self, stage: str) -> None:
        """Print the progress of a stage, if there is no live view."""
        if self._live is not None or self._json:
            return
        self._last_line = time.time()
        snapshot = self._run_stats.snapshot()
        self._say("line", live_view.line(stage, snapshot["stages"][stage], snapshot))

    def _say(self, event: str, text: str, **more: Any) -> None:
        if not self._json:
            if self._live is None or event != "stage":  # the view shows the stages
                self._console.print(text, markup=False, highlight=False, soft_wrap=True)
            return
        body = {"time": round(time.time(), 3), "run": self._root.url, "event": event, **more}
        self._console.print(json.dumps(body), markup=False, highlight=False, soft_wrap=True)

    def _report_regularly(self) -> None:
        self._write("running")
        while not self._ended.wait(_WRITE_EVERY):
            self._write("running")
            stage = self._stage
            if stage is not None and time.time() - self._last_line > _QUIET:
                self._line(stage)  # a long unit still runs although nothing changed

    def _write(self, status: str, **more: Any) -> None:
        with suppress(OSError):  # a full store stops the work itself; this is only a report
            body = {"status": status, **more, **self._run_stats.snapshot()}
            self._root.replace(PROGRESS, to_json(body))


def _text(error: BaseException) -> str:
    return str(error) if isinstance(error, OctoscopeError) else in_one_line(error)


@contextmanager
def noted(run: str) -> Iterator[None]:
    """Note in a run's directory why its driver failed before it began, for `octoscope status`.

    Nothing is noted if there is no run yet, the run is finished or another driver is at work. Bad
    input is not noted either: it is not a failure of the run.
    """
    try:
        yield
    except OctoscopeError as error:
        if not isinstance(error, InputError):
            with suppress(OSError, ValueError, OctoscopeError):
                _note(RunRoot(run), error)
        raise


def _note(root: RunRoot, error: OctoscopeError) -> None:
    if not root.exists("plan.json") or root.exists("_SUCCESS"):
        return
    before = last_seen(root)
    if before is None or not _at_work(before):
        failure = {"status": "failed", "error": str(error)}
        root.replace(PROGRESS, to_json(RunStats(earlier=before).snapshot() | failure))


def summary(root: RunRoot) -> dict[str, Any]:
    """Return the progress of a run, from records and ``progress.json`` alone.

    Records are asked one by one. If they are so many that this takes minutes on an object store,
    the counts of a driver that is at work are used; they may be too low.
    """
    plan, progress = load_plan(root), last_seen(root)
    reported_stages = progress["stages"] if progress is not None and _at_work(progress) else None
    rows: dict[str, Any] = {"state": "finished" if root.exists("_SUCCESS") else "unfinished"}
    sealed = read_success(root)
    if sealed is not None and "finished" in sealed:
        rows["finished"] = sealed["finished"]
    if sealed is None:
        works = {
            "units": [u.work for u in plan.units],
            "mean cells": plan.residual_work(),
            "pair counts": plan.pairs_work(),
            "matrices": plan.matrix_work(),
        }
        for kind, names in works.items():
            if reported_stages is not None and len(names) > _MOST_RECORDS:
                stage = _STAGE_OF.get(kind, kind)  # of all models, or of some: "attention, a + b"
                seen = sum(
                    s["done"] for name, s in reported_stages.items() if name.split(",")[0] == stage
                )
                rows[kind] = f"{seen} of {len(names)} committed or more, says the driver"
            elif names:
                done = len(done_among(root, names, plan.hash))
                rows[kind] = f"{done} of {len(names)} committed"
    if progress is not None:
        age = time.time() - progress["updated"]
        rows["last driver"] = f"{progress['status']}, last seen {age:.0f} s ago"
        if "error" in progress:
            rows["error"] = progress["error"]
        if "actor_hours" in progress:
            rows["time"] = live_view.hours(progress)
    elif root.exists(PROGRESS):
        rows["last driver"] = DAMAGED
    rows["quarantined"] = _quarantined(root)
    lease = read_lease(root)
    if lease is not None:
        rows["held by"] = f"process {lease['pid']} on {lease['host']}"
    if root.exists(JOURNAL):
        rows["repair"] = "in the middle of one; `octoscope resume` goes on"
    return rows


def _quarantined(root: RunRoot) -> int | str:
    try:
        body = root.read_json("attention.json")
        return 0 if body is None else len(dict(body["quarantined"]))
    except (ValueError, KeyError, TypeError):
        return "unknown: attention.json is damaged"


def _at_work(progress: dict[str, Any]) -> bool:
    return progress["status"] == "running" and time.time() - progress["updated"] <= _SILENT


def follow(root: RunRoot, console: Console, every: float = 2.0) -> None:
    """Show what a run's driver writes until it ends: live on a terminal, else line by line.

    A driver that has not written for a minute counts as ended: it may have been killed.
    """
    live = console.is_terminal
    last_line: dict[str, str] = {}
    with Live(console=console, auto_refresh=False) if live else nullcontext() as shown:
        while True:
            progress = last_seen(root)
            if progress is None or "actors" not in progress:
                return
            if shown is not None:
                shown.update(live_view.render(progress), refresh=True)
            else:
                for name, stage in live_view.in_order(progress["stages"]):
                    text = live_view.line(name, stage, progress)
                    if last_line.get(name, "").split("(")[0] != text.split("(")[0]:
                        last_line[name] = text
                        console.print(text, markup=False, highlight=False, soft_wrap=True)
            if not _at_work(progress):
                return
            time.sleep(every)
