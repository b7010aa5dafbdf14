"""The lease of a driver: keeps two drivers from doing the same work twice.

It saves work only. Without it, or with a clock that is wrong, two drivers still give one result:
that rests on records that are created once.
"""

from __future__ import annotations

import math
import os
import platform
import threading
import time
import uuid
from contextlib import suppress
from typing import Any

import psutil

from octoscope.errors import InputError
from octoscope.json_values import to_json
from octoscope.store.run_dir import RunRoot

LEASE = "lease.json"
_CLOCK_STEP = 2.0  # seconds that a correction of the clock may move the start of a process


class Lease:
    """Hold a run directory; use as a context manager around the work.

    Parameters
    ----------
    seconds
        Without a sign of life for so long the lease has expired. 0: no lease is taken.
    steal
        Take an expired lease of a driver on another machine.

    Raises
    ------
    InputError
        If another driver holds the run. A driver that died on this machine holds nothing.
    """

    def __init__(self, root: RunRoot, seconds: float, *, steal: bool = False) -> None:
        self._root, self._seconds, self._steal = root, seconds, steal
        self._id = uuid.uuid4().hex
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost = False

    def __enter__(self) -> Lease:
        if self._seconds > 0:
            self._acquire()
            self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is None:
            return
        self._ended.set()
        self._thread.join()
        with suppress(OSError):  # it expires by itself
            if self._is_own():
                self._root.remove([LEASE])

    def _body(self) -> bytes:
        process = psutil.Process()
        return to_json(
            {
                "id": self._id,
                "host": platform.node(),
                "machine": _machine(),
                "pid": process.pid,
                "started": process.create_time(),
                "seen": time.time(),
                "seconds": self._seconds,
            }
        )

    def _acquire(self) -> None:
        for _ in range(3):  # a released or taken lease may change hands in between
            if self._root.create_once(LEASE, self._body()):
                return
            present = read_lease(self._root)
            if present is None:
                continue
            if present["id"] == self._id:  # the first answer of a repeated request was lost
                return
            self._refuse_if_alive(present)
            self._root.remove([LEASE])
        raise InputError(self._root.at(LEASE), "another driver took the run", "wait for it")

    def _refuse_if_alive(self, lease: dict[str, Any]) -> None:
        if lease["machine"] == _machine():
            try:
                started = psutil.Process(lease["pid"]).create_time()
                alive = abs(started - lease["started"]) < _CLOCK_STEP
            except psutil.Error:
                alive = False
            if not alive:
                return
        age = time.time() - lease["seen"]
        expired = age > lease["seconds"]
        if expired and self._steal:
            return
        who = f"a driver (process {lease['pid']} on {lease['host']})"
        if expired:
            problem = f"{who} has given no sign of life for {age:.0f} s"
            fix = "give --steal if it is dead (nothing is lost if it is not)"
        else:
            problem = f"{who} works on this run, last seen {max(age, 0):.0f} s ago"
            remaining = lease["seconds"] - age
            fix = f"wait for it; if it is dead, give --steal in {max(remaining, 1):.0f} s"
        raise InputError(self._root.at(LEASE), problem, fix)

    def _is_own(self) -> bool:
        present = read_lease(self._root)
        return present is not None and present["id"] == self._id

    def _beat(self) -> None:
        while not self._ended.wait(self._seconds / 4):
            try:
                if not self._is_own():
                    self.lost = True
                    return
                self._root.replace(LEASE, self._body())
            except OSError:  # the store is away or full: the work itself will find out
                continue


def read_lease(root: RunRoot) -> dict[str, Any] | None:
    """Return the lease of a run; None if no driver holds it."""
    try:
        body = root.read_json(LEASE)
    except ValueError:
        body = {}
    return None if body is None else _lease_of(body)


def _lease_of(body: Any) -> dict[str, Any]:
    """Return the content of a lease; an expired one of an unknown driver if it is damaged."""
    none: dict[str, Any] = {"id": "", "host": "?", "machine": "", "pid": -1, "started": 0.0,
                            "seen": 0.0, "seconds": 0.0}  # fmt: skip
    lease = none | body if isinstance(body, dict) else none
    fits = all(
        isinstance(lease[name], str if isinstance(value, str) else int | float)
        and not isinstance(lease[name], bool)
        for name, value in none.items()
    )
    return lease if fits and math.isfinite(lease["seen"] + lease["seconds"]) else none


def _machine() -> str:
    """Return what tells process ids of this machine (or container) from another's."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as handle:
            boot = handle.read().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return f"{platform.node()}/{psutil.boot_time():.0f}"
