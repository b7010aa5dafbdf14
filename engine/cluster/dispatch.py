"""The dispatcher: which work runs next, what is tried again, what is set aside.

It knows a :class:`Fleet` and a question to the store; it knows neither Ray nor science, so tests
drive it with an in-process fleet.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.errors import InputError, OctoscopeError, StoreFullError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Work:
    """A piece of work: its folder in the run, and the group of actors that can do it."""

    id: str
    group: str


@dataclass(frozen=True)
class Outcome:
    """What came back for a submitted piece of work; ``error`` is None on success.

    ``facts``: what the worker tells of itself (seconds, cells).
    """

    work: Work
    error: BaseException | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """What happened to a piece of work: found, started, done, again or set aside.

    ``error``: why it goes again or was set aside.
    """

    work: Work
    what: str
    actor: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: BaseException | None = None


class Fleet(Protocol):
    """Actors that run work."""

    def idle(self, group: str) -> list[str]:
        """Return the names of a group's actors that take a piece now."""
        ...

    def submit(self, work: Work, actor: str, ahead: Work | None = None) -> None:
        """Start a piece of work on an idle actor.

        ``ahead``: what this actor will probably get next, so that it can read for it meanwhile.
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
    """Outcome of a dispatch: pieces done here, found done, and set aside with the reason."""

    done: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    set_aside: dict[str, str] = field(default_factory=dict)


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

    An attempt that fails or disappears is followed by another only after the store has been asked
    whether its record exists: the effect may have happened although an error came back.

    Parameters
    ----------
    is_done
        Asks the store for a record.
    known
        What was found done just before, so that it is not asked one by one; None: ask ``is_done``.
    attempts
        Tries per piece before it is set aside. Faults that a retry cannot mend
        (:class:`OctoscopeError`) are set aside at once.
    timeout
        Seconds after which a running piece counts as hung.
    stop
        Asked again and again; once True nothing new starts, and what runs is waited for.

    Raises
    ------
    InputError
        When a worker finds bad input: the rest would fail alike.
    StoreFullError
        When the store takes no more bytes; likewise.
    """
    result = Result()
    waiting: dict[str, deque[Work]] = {}
    for work in works:
        if is_done(work.id) if known is None else work.id in known:
            result.found.append(work.id)
            on_change(Change(work, "found"))
        else:
            waiting.setdefault(work.group, deque()).append(work)
    tries: dict[str, int] = {}
    running: dict[Work, tuple[float, str]] = {}  # since when, and where
    claims: dict[str, Work] = {}  # by actor: what it was told to read for
    while any(waiting.values()) or running:
        stopping = stop()
        if stopping and not running:
            break
        for group, queue in waiting.items():
            if not queue or stopping:
                continue
            given = [
                (actor, _take(queue, claims, actor)) for actor in fleet.idle(group)[: len(queue)]
            ]
            for actor, work in given:
                tries[work.id] = tries.get(work.id, 0) + 1
                ahead = _first_unclaimed(queue, claims)
                if ahead is not None:
                    claims[actor] = ahead
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
            if error is None or is_done(work.id):
                result.done.append(work.id)
                on_change(Change(work, "done", actor, outcome.facts))
            elif isinstance(error, InputError):
                raise error
            elif isinstance(error, OSError) and error.errno in _FULL:
                raise StoreFullError(
                    f"{work.id}: {error.strerror}; free some space, then `octoscope resume`"
                ) from error
            elif isinstance(error, OctoscopeError) or tries[work.id] >= attempts:
                result.set_aside[work.id] = f"{type(error).__name__}: {error}"
                on_change(Change(work, "set aside", actor, error=error))
            else:
                waiting[work.group].append(work)
                on_change(Change(work, "again", actor, error=error))
    return result


def _take(queue: deque[Work], claims: dict[str, Work], actor: str) -> Work:
    """Take an actor's next piece from what waits: what it has read for, else what nobody has.

    Actors do not end in the order in which they began: were the first in the queue handed out,
    two actors would each discard what they read and read what the other had.
    """
    own = claims.pop(actor, None)
    work = own if own is not None and own in queue else _first_unclaimed(queue, claims) or queue[0]
    queue.remove(work)
    return work


def _first_unclaimed(queue: deque[Work], claims: dict[str, Work]) -> Work | None:
    claimed = set(claims.values())
    return next((work for work in queue if work not in claimed), None)
