"""Progress of a run: one live view, plain lines without a terminal, ``progress.json``."""

from __future__ import annotations

import time
from contextlib import suppress
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from engine.cluster.dispatch import Work
from engine.cluster.drain import Stopped
from engine.cluster.repair import JOURNAL
from engine.store.lease import LEASE
from engine.store.plan import load_plan
from engine.store.records import read_records
from engine.store.root import RunRoot, to_json

_WRITE_EVERY = 2.0  # seconds between rewrites of progress.json
_LINE_EVERY = 15.0  # seconds between plain lines


class Reporter:
    """Counts work per stage; use as a context manager around a run."""

    def __init__(self, root: RunRoot, console: Console) -> None:
        self._root, self._console = root, console
        self._state: dict[str, dict[str, int]] = {}
        self._started = time.time()
        self._written = self._said = 0.0
        self._bars: dict[str, Any] = {}
        self._live = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[extra]}"),
            TimeRemainingColumn(),
            console=console,
        )

    def __enter__(self) -> Reporter:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()
        ended = "failed" if error else "finished"
        self._write("stopped" if isinstance(error, Stopped) else ended)

    def stage(self, name: str, total: int) -> None:
        """Begin a stage of ``total`` pieces."""
        self._state[name] = {"total": total, "done": 0, "running": 0, "set_aside": 0, "again": 0}
        if self._console.is_terminal:
            self._bars[name] = self._live.add_task(name, total=total, extra="")
        else:
            self._console.print(f"{name}: {total} to do")
        self._write("running")

    def change(self, stage: str, work: Work, what: str) -> None:
        """Note that a piece started, finished, was found, goes again or was set aside."""
        s = self._state[stage]
        s["running"] += {"started": 1, "found": 0}.get(what, -1)
        if what in ("done", "found"):
            s["done"] += 1
        elif what == "set aside":
            s["set_aside"] += 1
            self._console.print(f"set aside: {work.id}")
        elif what == "again":
            s["again"] += 1
            self._console.print(f"trying again: {work.id}")
        now = time.time()
        finished = s["done"] + s["set_aside"] == s["total"]
        if self._console.is_terminal:
            extra = f"{s['running']} running"
            self._live.update(self._bars[stage], completed=s["done"], extra=extra)
        elif finished or now - self._said > _LINE_EVERY:
            self._said = now
            took = now - self._started
            self._console.print(f"{stage}: {s['done']}/{s['total']} done ({took:.0f} s)")
        if finished or now - self._written > _WRITE_EVERY:
            self._write("running")

    def _write(self, status: str) -> None:
        self._written = time.time()
        body = {
            "status": status,
            "started": self._started,
            "updated": self._written,
            "stages": self._state,
        }
        with suppress(OSError):  # a full store stops the work itself; this only tells of it
            self._root.replace("progress.json", to_json(body))


def summary(root: RunRoot) -> dict[str, Any]:
    """Return how far a run is, from records and ``progress.json`` alone."""
    plan = load_plan(root)
    rows: dict[str, Any] = {"state": "finished" if root.exists("_SUCCESS") else "unfinished"}
    sealed = root.read_json("_SUCCESS")
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
            done = len(read_records(root, names, plan.hash))
            if names:
                rows[kind] = f"{done} of {len(names)} committed"
    progress = root.read_json("progress.json")
    if progress is not None:
        age = time.time() - progress["updated"]
        rows["last driver"] = f"{progress['status']}, last seen {age:.0f} s ago"
    aside = (root.read_json("attention.json") or {}).get("set_aside", {})
    rows["set aside"] = len(aside)
    lease = root.read_json(LEASE)
    if lease is not None:
        rows["held by"] = f"process {lease.get('pid')} on {lease.get('host')}"
    if root.exists(JOURNAL):
        rows["repair"] = "in the middle of one; `octoscope resume` goes on"
    return rows
