"""The folder in which a conversion grows: who works on it, what it is of, how far it has come.

Next to the target, ``<target>.partial`` holds the unfinished store, a state file and a lock. The
state counts what is on disk for certain: it is written after what it counts was flushed.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from octoscope.bounded_reads import read_bounded
from octoscope.errors import InputError
from octoscope.json_values import parse_json
from octoscope.store.backends import LocalObjects, is_half_written

STATE, LOCK, STORE = "convert.json", "convert.lock", "store"
BY_ROW = "by-row"  # counts of a source that lie by column; made anew by each attempt
_FORMAT = 1  # of the state file, and of what a conversion writes for the same arguments


class PartialStore:
    """Hold the folder of an unfinished target; use as a context manager around the work.

    What was begun stays when the work ends early, killed or not, once it has cost a pass over the
    counts.

    Attributes
    ----------
    store
        The unfinished store.
    by_row
        Where counts may lie while the target is made.
    nonzero
        Number of counts in the whole target; None until frames and row pointers are written.
    shards
        Shards of counts written so far.

    Raises
    ------
    InputError
        If the target exists, another process writes it, or something else is in the folder.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self.folder = target.with_name(f"{target.name}.partial")
        self.store = self.folder / STORE
        self.by_row = self.folder / BY_ROW
        self.nonzero: int | None = None
        self.shards = 0
        self._of: dict[str, Any] = {}
        self._lock: TextIO | None = None

    def __enter__(self) -> PartialStore:
        self._refuse_existing()
        self.folder.mkdir(parents=True, exist_ok=True)
        names = {n for n in os.listdir(self.folder) if not is_half_written(n)} - {LOCK}
        if names - {STATE, STORE, BY_ROW} or (STORE in names and STATE not in names):
            raise InputError(str(self.folder), "is no unfinished conversion", "move or delete it")
        busy = InputError(str(self.folder), "another process writes it", "wait until it has ended")
        try:
            self._lock = (self.folder / LOCK).open("a")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            here = os.stat(self.folder / LOCK)
        except (BlockingIOError, FileNotFoundError):
            self._release()
            raise busy from None
        if not os.path.samestat(here, os.fstat(self._lock.fileno())):
            self._release()  # it ended, and took its lock away, between our two steps
            raise busy
        try:
            self._refuse_existing()  # another may have ended before we held the lock
        except InputError:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.by_row, ignore_errors=True)
        begun = bool(self._of)
        if begun and self.nonzero is None:
            shutil.rmtree(self.store, ignore_errors=True)
        if self.nonzero is None and (begun or not (self.folder / STATE).exists()):
            self._remove()
        self._release()

    def begin(self, of: dict[str, Any]) -> None:
        """Start, or go on where the last attempt ended; ``of`` holds JSON values that must agree.

        Raises
        ------
        InputError
            If the folder is of something else, or its state cannot be read.
        """
        of = {"format": _FORMAT, **of}
        state = self._read()
        if state is not None:
            differs = [k for k in {**of, **state["of"]} if of.get(k) != state["of"].get(k)]
            if differs:
                raise InputError(
                    str(self.folder),
                    f"was begun with another {', '.join(differs)}",
                    "give the arguments it was begun with, or delete it",
                )
        self._of = of
        for path in self.folder.rglob("*.partial"):  # what a writer leaves when it is killed
            if path.is_file():
                path.unlink()
        if state is not None and state["nonzero"] is not None and self.store.is_dir():
            self.nonzero, self.shards = state["nonzero"], state["shards"]
            return
        shutil.rmtree(self.store, ignore_errors=True)
        self._write()

    def note(self, written: Iterable[Path], *, nonzero: int, shards: int) -> None:
        """Flush what was written to disk, then count it."""
        for path in written:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        self.nonzero, self.shards = nonzero, shards
        self._write()

    def finish(self) -> None:
        """Give the store its name, in one step, and leave nothing else behind."""
        os.replace(self.store, self._target)
        self._remove()

    def _refuse_existing(self) -> None:
        if os.path.lexists(self._target):
            raise InputError(
                str(self._target), "exists", "choose a new path; nothing is overwritten"
            )

    def _read(self) -> dict[str, Any] | None:
        path = self.folder / STATE
        try:
            state = parse_json(read_bounded(path))
            return {"of": dict(state["of"]), "nonzero": state["nonzero"], "shards": state["shards"]}
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, OSError):
            raise InputError(
                str(path), "is no state of a conversion", f"delete {self.folder}"
            ) from None

    def _write(self) -> None:
        state = {"of": self._of, "nonzero": self.nonzero, "shards": self.shards}
        LocalObjects(self.folder).write(STATE, json.dumps(state, indent=1).encode())

    def _remove(self) -> None:
        """Remove the folder if nothing but state, lock and counts by row are in it."""
        shutil.rmtree(self.by_row, ignore_errors=True)
        for name in (STATE, LOCK):
            (self.folder / name).unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None
