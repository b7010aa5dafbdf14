"""Statistics of a run: stages, actors, rates. Uses no terminal and no store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from octoscope.cluster.dispatch import Change

ANALYSIS = "analysis"  # the stage whose pieces are analyses


@dataclass
class Group:
    """Work of one group of actors in a stage: pieces to do, ended, and the seconds of those.

    An analysis is a group of its own.
    """

    remaining: int = 0
    timed: int = 0
    seconds: float = 0.0
    since: float | None = None  # when its first piece began


@dataclass
class Stage:
    """Counts of pieces; cells and seconds of those that were done here.

    ``work``: the piece that runs, where no actor runs it; '' for none.
    """

    total: int
    since: float
    until: float | None = None
    done: int = 0
    running: int = 0
    quarantined: int = 0
    again: int = 0
    cells: int = 0
    seconds: float = 0.0
    wait_seconds: float = 0.0
    work: str = ""
    groups: dict[str, Group] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do."""
        return self.done + self.quarantined == self.total


@dataclass
class Actor:
    """One actor, also after it stopped.

    Attributes
    ----------
    state
        idle, running, lost (its process or node is gone; Ray starts it again) or stopped.
    work, since
        What it runs, and from when; '' and when it fell idle otherwise.
    held
        Seconds that it has held its CPUs and GPUs, up to ``counted``.
    """

    name: str
    where: str = ""
    device: str = "cpu"
    gpus: float = 0.0
    state: str = "idle"
    work: str = ""
    since: float = 0.0
    pieces: int = 0
    cells: int = 0
    seconds: float = 0.0
    wait_seconds: float = 0.0
    held: float = 0.0
    counted: float = 0.0


class RunStats:
    """Adds up the changes that the dispatcher and the fleet report.

    Parameters
    ----------
    clock
        Seconds since the epoch: what is stored is read on other machines.
    earlier
        ``actor_hours`` and ``gpu_hours`` of the drivers before this one.
    """

    def __init__(
        self, clock: Callable[[], float] = time.time, earlier: Mapping[str, Any] | None = None
    ) -> None:
        self._clock, self._earlier = clock, earlier or {}
        self.started = clock()
        self.stages: dict[str, Stage] = {}
        self.actors: dict[str, Actor] = {}
        self._lock = threading.Lock()  # the live view reads from its own thread

    def stage(self, name: str, groups: dict[str, int]) -> None:
        """Begin a stage; ``groups``: pieces by group of actors."""
        with self._lock:
            stage = Stage(sum(groups.values()), self._clock())
            stage.groups = {group: Group(remaining=n) for group, n in groups.items()}
            self.stages[name] = stage

    def change(self, stage: str, change: Change) -> Stage:
        """Add a change of a piece of work; returns its stage."""
        with self._lock:
            s = self.stages[stage]
            group = s.groups[change.work.group]
            s.running += {"started": 1, "found": 0}.get(change.what, -1)
            if change.what == "started" and group.since is None:
                group.since = self._clock()
            if change.what in ("done", "found"):
                s.done += 1
            elif change.what == "quarantined":
                s.quarantined += 1
            elif change.what == "again":
                s.again += 1
            if change.what in ("done", "found", "quarantined"):
                group.remaining -= 1
            if not change.actor:
                s.work = change.work.id if change.what == "started" else ""
            actor = self.actors.get(change.actor)
            if actor is not None:
                self._of_actor(actor, change)
            if change.what == "done" and "seconds" in change.metrics:
                f = change.metrics
                group.timed += 1
                group.seconds += f["seconds"]
                for counts in (s, actor) if actor is not None else (s,):
                    counts.cells += f.get("cells_used", 0)
                    counts.seconds += f["seconds"]
                    counts.wait_seconds += f.get("wait_seconds", 0.0)
            if s.ended:
                s.until = self._clock()
            return s

    def _of_actor(self, actor: Actor, change: Change) -> None:
        if change.what == "started":
            actor.state, actor.work = "running", change.work.id
        elif actor.work == change.work.id:
            actor.work = ""
            actor.pieces += change.what == "done"
            if actor.state == "running":
                actor.state = "idle"
        actor.since = self._clock()

    def actor(self, name: str, what: str, process: dict[str, Any]) -> None:
        """Add that an actor started, was lost or stopped."""
        with self._lock:
            now = self._clock()
            actor = self.actors.setdefault(name, Actor(name, counted=now))
            self._count_seconds(actor, now)
            actor.state = {"started": "idle"}.get(what, what)
            actor.since = now
            if process:
                actor.where = f"{process['host']}:{process['pid']}"
                actor.device, actor.gpus = process["device"], process["gpus"]

    def _count_seconds(self, actor: Actor, now: float) -> None:
        if actor.state in ("idle", "running"):
            actor.held += now - actor.counted
        actor.counted = now

    def snapshot(self) -> dict[str, Any]:
        """Return everything as plain values, for ``progress.json`` and views.

        Per stage and actor beside its counts ``cells_per_second`` (of a stage: of all actors, since
        it began; of an actor: while it had a unit) and ``wait_share`` (of the seconds in which
        replicas had a unit: waited for cells). Per stage ``seconds_left`` (None before anything
        was timed): of each group the pieces left, times their mean seconds, over its actors; the
        longest. In all ``actor_hours`` and ``gpu_hours`` that were held, earlier drivers included.
        """
        with self._lock:
            now = self._clock()
            for actor in self.actors.values():
                self._count_seconds(actor, now)
            actors = list(self.actors.values())
            return {
                "started": self.started,
                "updated": now,
                "stages": {name: self._stage(s, now) for name, s in self.stages.items()},
                "actors": [asdict(a) | _rates(a, a.seconds) for a in actors],
                "actor_hours": self._hours("actor_hours", sum(a.held for a in actors)),
                "gpu_hours": self._hours("gpu_hours", sum(a.held * a.gpus for a in actors)),
            }

    def timeline(self) -> dict[str, Any]:
        """Return when each stage and analysis of this driver ran, and what its actors did.

        ``started`` is in seconds since the epoch, ``began`` in seconds after it. ``busy`` adds up
        the seconds of all pieces, ``waited`` those in which they waited for cells.
        """
        body, stages = self.snapshot(), []
        with self._lock:
            for name, s in self.stages.items():
                if name == ANALYSIS:  # its groups run one after the other
                    stages += [
                        _ran(f"{name}: {group}", g.since - self.started, g.seconds, g.timed, g)
                        for group, g in s.groups.items()
                        if g.since is not None
                    ]
                elif s.total:
                    took = (s.until or self._clock()) - s.since
                    stages.append(_ran(name, s.since - self.started, took, s.done, s))
        names = ("name", "where", "device", "gpus", "pieces", "cells", "held")
        return {
            "started": self.started,
            "seconds": body["updated"] - self.started,
            "stages": stages,
            "actors": [
                {n: a[n] for n in names} | {"busy": a["seconds"], "waited": a["wait_seconds"]}
                for a in body["actors"]
            ],
            "actor_hours": body["actor_hours"],
            "gpu_hours": body["gpu_hours"],
        }

    def _hours(self, name: str, seconds: float) -> float:
        return round(self._earlier.get(name, 0.0) + seconds / 3600, 5)

    def _stage(self, s: Stage, now: float) -> dict[str, Any]:
        counts = asdict(s)
        counts.pop("groups")
        return counts | {
            **_rates(s, (s.until or now) - s.since),
            "seconds_left": 0.0 if s.ended else self._seconds_remaining(s),
        }

    def _seconds_remaining(self, s: Stage) -> float | None:
        seconds = [0.0]
        for name, group in s.groups.items():
            if not group.remaining:
                continue
            if not group.timed:
                return None
            hands = sum(a.name.rsplit(".", 1)[0] == name and a.state in ("idle", "running")
                        for a in self.actors.values())  # fmt: skip
            seconds.append(group.remaining * group.seconds / group.timed / max(1, hands))
        return max(seconds)


def _ran(
    name: str, began: float, seconds: float, pieces: int, counts: Stage | Group
) -> dict[str, Any]:
    """Return one row of a timeline."""
    cells, waited = getattr(counts, "cells", 0), getattr(counts, "wait_seconds", 0.0)
    return {
        "stage": name, "began": began, "seconds": seconds, "pieces": pieces, "cells": cells,
        "busy": counts.seconds, "waited": waited,
    }  # fmt: skip


def _rates(counts: Stage | Actor, took: float) -> dict[str, float | None]:
    """Return cells per second of ``took``, and the share of waiting; None where none were used."""
    some = counts.cells and counts.seconds
    return {
        "cells_per_second": counts.cells / took if counts.cells and took > 0 else None,
        "wait_share": counts.wait_seconds / counts.seconds if some else None,
    }
