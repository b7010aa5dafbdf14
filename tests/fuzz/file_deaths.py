"""Deaths at any change of a file: a process of its own kills itself before its nth one.

Python reports each file that it opens for writing, renames, links or removes before it does so
(:func:`sys.addaudithook`), so nothing of the product is replaced. A power cut is such a death after
which what was not flushed may be lost. Names are lost in the order in which they were given, as
file systems with a journal do it: those after the death.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from tests.fuzz.forked import Ended, forked

Stamp = tuple[int, int, int]  # inode, bytes, time: content that is on disk
_CHANGES = {"os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"}
_WRITES = os.O_WRONLY | os.O_RDWR


@dataclass(frozen=True)
class Death:
    """How a process ended, how many changes it had begun, and what it had flushed."""

    ended: Ended
    changes: int
    flushed: frozenset[Stamp]

    @property
    def died(self) -> bool:
        return self.ended.code == -signal.SIGKILL


def die_at(call: Callable[[], Any], folder: Path, nth: int) -> Death:
    """Call in a child, which dies of SIGKILL before its ``nth`` change of a file in a folder."""
    top = str(folder)
    notes = os.memfd_create("notes")

    def child() -> None:
        as_usual, begun = os.fsync, 0

        def flush(file: Any) -> None:
            as_usual(file)
            os.write(notes, b"%d %d %d\n" % _stamp(os.fstat(file)))

        def before(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal begun
            opens = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES
            if not (opens or event in _CHANGES):
                return
            path = arguments[0]
            if not isinstance(path, str | bytes | os.PathLike) or not os.fsdecode(path).startswith(
                top
            ):
                return
            begun += 1
            os.write(notes, b".\n")
            if begun == nth:
                if opens:  # a file that was just made, and holds nothing yet
                    os.open(path, arguments[2], 0o666)
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(before)
        with mock.patch.object(os, "fsync", flush):
            call()

    try:
        ended = forked(child, cpu=120, wall=600)
        lines = os.pread(notes, 1 << 24, 0).decode().splitlines()
    finally:
        os.close(notes)
    stamps = (tuple(map(int, line.split())) for line in lines if line != ".")
    return Death(ended, lines.count("."), frozenset(stamps))  # type: ignore[arg-type]


def stamps_of(folder: Path) -> frozenset[Stamp]:
    """Return the content of all files as it is: what was there before a process began."""
    return frozenset(_stamp(p.stat()) for p in folder.rglob("*") if p.is_file())


def cut_power(folder: Path, on_disk: frozenset[Stamp], rng: Random) -> list[str]:
    """Lose some of what is not on disk; returns the files that lost bytes."""
    torn = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or _stamp(path.stat()) in on_disk:
            continue
        raw = path.read_bytes()
        lost = rng.choice([raw, b"", raw[: len(raw) // 2], bytes(len(raw))])
        if lost != raw:
            path.write_bytes(lost)
            torn.append(path.relative_to(folder).as_posix())
    return torn


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_size, status.st_mtime_ns
