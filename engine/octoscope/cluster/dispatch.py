"""The dispatcher: chooses which work runs next, is tried again or is quarantined.

It uses a :class:`Fleet` and asks the store for records. It does not use Ray, so tests run it with
an in-process fleet.
"""

from __future__ import annotations

import errno
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from octoscope.errors import InputError, OctoscopeError, StoreFullError, in_one_line

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_HOPELESS = 3  # tries that raised an error, where nothing of a group is done, at least
_OTHERS = (OctoscopeError, OSError, MemoryError)  # not of the code that the work runs


@dataclass(frozen=True, slots=True)
class Work:
    """A piece of work: its folder in the run, and the group of actors that can do it."""

    id: str
    group: str


@dataclass(frozen=True)
class Outcome:
    """The outcome of a submitted piece of work; ``error`` is None on success.

    ``metrics``: what the worker measured (seconds, cells). ``preempted``: its node was taken away,
    so the failure is not due to the work. ``raised``: by the work itself; its actor lives on.
    """

    work: Work
    error: BaseException | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    preempted: bool = False
    raised: bool = False


@dataclass(frozen=True)
class Change:
    """What happened to a piece of work: found, started, done, again or quarantined.

    ``error``: why it is tried again or was quarantined.
    """

    work: Work
    what: str
    actor: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    error: BaseException | None = None


class Fleet(Protocol):
    """Actors that run work."""

    def idle(self, group: str) -> list[str]:
        """Return the names of a group's actors that take a piece now."""
        ...

    def submit(self, work: Work, actor: str, ahead: Work | None = None) -> None:
        """Start a piece of work on an idle actor.

        ``ahead``: what this actor will probably get next, so that it can already read its cells.
        """
        ...

    def wait(self, timeout: float) -> list[Outcome]:
        """Return what finished, waiting up to ``timeout`` seconds for the first."""
        ...

    def abandon(self, work: Work) -> None:
        """Kill whatever runs a piece of work; it will not be reported."""
        ...


@dataclass
class Result:
    """Outcome of a dispatch: pieces done here, found done, and quarantined with the reason."""

    done: list[str] = field(default_factory=list)
    existing: list[str] = field(default_factory=list)
    quarantined: dict[str, str] = field(default_factory=dict)


def dispatch(
    works: Iterable[Work],
    fleet: Fleet,
    is_done: Callable[[str], bool],
    *,
    attempts: int,
    timeout: float,
    known: Container[str] | None = None,
    on_change: Callable[[Change], None] = lambda change: None,
    stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Result:
    """Run every piece of work that is not done.

    After an attempt fails or disappears, the store is asked for its record before the next attempt:
    the work may have been committed although an error came back.

    Parameters
    ----------
    is_done
        Asks the store for a record.
    known
        Work that was just found done, so that it is not asked one by one; None: ask ``is_done``.
    attempts
        Tries per piece before it is quarantined; those that a preempted node ended do not count.
        Faults that a retry cannot repair (:class:`OctoscopeError`) are quarantined at once.
    timeout
        Seconds after which a running piece counts as hung.
    stop
        Called repeatedly; once True nothing new starts, and running work is waited for.

    Raises
    ------
    InputError
        When a worker finds bad input: all other work would fail too.
    StoreFullError
        When the store is full: all other work would fail too.
    OctoscopeError
        When the first tries of a group all raised an error, so that its code is at fault: a plug-in
        with a mistake, for instance.
    """
    result = Result()
    raised: Counter[str] = Counter()  # by group: tries in which the work raised an error
    most: dict[str, float] = {}  # of them, before the group is given up; no bound with any done
    waiting: dict[str, deque[Work]] = {}
    for work in works:
        if is_done(work.id) if known is None else work.id in known:
            result.existing.append(work.id)
            most[work.group] = math.inf
            on_change(Change(work, "found"))
        else:
            waiting.setdefault(work.group, deque()).append(work)
    for group, queue in waiting.items():
        most.setdefault(group, min(max(attempts, _HOPELESS), attempts * len(queue)))
    tries: dict[str, int] = {}
    running: dict[Work, tuple[float, str]] = {}  # since when, and where
    # by group and actor: the piece it reads ahead for, taken out of the queue
    kept: dict[str, dict[str, Work]] = {group: {} for group in waiting}
    while any(waiting.values()) or any(kept.values()) or running:
        stopping = stop()
        if stopping and not running:
            break
        for group, queue in waiting.items():
            of = kept[group]
            if stopping or not (queue or of):
                continue
            idle = sorted(fleet.idle(group), key=lambda actor: actor not in of)  # own pieces first
            given = [(actor, _take(queue, of, actor)) for actor in idle[: len(queue) + len(of)]]
            for actor, work in given:
                tries[work.id] = tries.get(work.id, 0) + 1
                ahead = queue.popleft() if queue else None
                if ahead is not None:
                    of[actor] = ahead
                fleet.submit(work, actor, ahead)
                running[work] = clock(), actor
                on_change(Change(work, "started", actor))
        outcomes = fleet.wait(min(timeout, 1.0))
        for work, (since, _) in list(running.items()):
            if clock() - since > timeout and not any(o.work == work for o in outcomes):
                fleet.abandon(work)
                late = TimeoutError(f"no answer within {timeout:g} s")
                outcomes.append(Outcome(work, late))
        for outcome in outcomes:
            work, error = outcome.work, outcome.error
            if work not in running:
                continue  # abandoned before
            _, actor = running.pop(work)
            tries[work.id] -= outcome.preempted
            raised[work.group] += outcome.raised and not isinstance(error, _OTHERS)
            if error is None or is_done(work.id):
                result.done.append(work.id)
                most[work.group] = math.inf
                on_change(Change(work, "done", actor, outcome.metrics))
            elif isinstance(error, InputError):
                raise error
            elif isinstance(error, OSError) and error.errno in _FULL:
                raise StoreFullError(
                    f"{work.id}: {error.strerror}; free some space, then `octoscope resume`"
                ) from error
            elif (n := raised[work.group]) >= most[work.group]:
                raise OctoscopeError(
                    f"{work.group}: the first {n} tries failed, the last at {work.id}: "
                    f"{in_one_line(error)}. Repair that; what is committed stays, and "
                    "`octoscope resume` goes on"
                ) from error
            elif isinstance(error, OctoscopeError) or tries[work.id] >= attempts:
                result.quarantined[work.id] = f"{type(error).__name__}: {error}"
                on_change(Change(work, "quarantined", actor, error=error))
            else:
                waiting[work.group].append(work)
                on_change(Change(work, "again", actor, error=error))
    return result


def _take(queue: deque[Work], kept: dict[str, Work], actor: str) -> Work:
    """Take an actor's next piece: its own read-ahead, else the queue's, else another actor's.

    Actors do not end in the order in which they began. If each got the first piece of the queue,
    two actors could each discard what they read and read what the other had.
    """
    own = kept.pop(actor, None)
    if own is not None:
        return own
    # else from the actor that began last: the busiest
    return queue.popleft() if queue else kept.popitem()[1]
