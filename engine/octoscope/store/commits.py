"""Attempts and commit records: data is visible only through a record that is created once."""

from __future__ import annotations

import tempfile
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from zarr.abc.store import Store
from zarr.core.buffer import Buffer
from zarr.storage import WrapperStore

from octoscope.digests import digest_of
from octoscope.errors import DamagedRunError
from octoscope.json_values import parse_json, to_json
from octoscope.store.backends import AT_ONCE, is_half_written
from octoscope.store.fault_injection import crash_point
from octoscope.store.instruction_set import instruction_set
from octoscope.store.run_dir import RunRoot

SCHEMA = "octoscope-record/1"
CELLS_READ = "cells_read"  # metric of a unit: digests of the counts that it read
# An attempt that never wins: no reader sees it, and it is swept when the run is sealed.
_BEFORE = "attempt-before/cells_read.json"

T = TypeVar("T")


@dataclass(frozen=True)
class Record:
    """The winning attempt of one piece of work.

    Attributes
    ----------
    work
        ``<kind>/<id>``, its folder in the run.
    attempt
        Folder of the attempt, relative to ``work``.
    objects
        Path relative to the run -> bytes and sha256.
    metrics
        What the work reports about itself (cells, refusals, seconds); ``facts`` in the file.
    digest
        Bytes and sha256 of the record itself.
    """

    work: str
    attempt: str
    plan: str
    objects: dict[str, dict[str, Any]]
    metrics: dict[str, Any]
    digest: dict[str, Any]

    @property
    def folder(self) -> str:
        """Folder that holds the data, relative to the run."""
        return f"{self.work}/{self.attempt}"


def record_path(work: str) -> str:
    """Return where the record of a piece of work is."""
    return f"{work}/record.json"


class Attempt:
    """One try at a piece of work: objects in a folder of its own, digested as they are written.

    Nothing of it is seen by readers before :meth:`commit`. Nothing is listed or read back.
    """

    def __init__(self, root: RunRoot, work: str) -> None:
        self.root, self.work = root, work
        self.name = f"attempt-{uuid.uuid4().hex}"
        self.folder = f"{work}/{self.name}"
        self._objects: dict[str, dict[str, Any]] = {}
        crash_point("before-write", work)

    def zarr(self, name: str) -> Store:
        """Return a Zarr store inside the attempt."""
        prefix = f"{self.folder}/{name}"
        return _Noting(self.root.zarr(prefix), self._note, prefix)

    def write(self, name: str, data: bytes) -> None:
        """Write one object."""
        self.root.replace(f"{self.folder}/{name}", data)
        self._note(f"{self.folder}/{name}", data)

    def _note(self, name: str, data: bytes) -> None:
        self._objects[name] = digest_of(data)

    @contextmanager
    def room(self) -> Iterator[Path]:
        """Yield a folder on this machine for files that are gone before the commit.

        On the run's own disk where it has one.
        """
        parent = self.root.folder
        if parent is not None:
            parent = parent / self.folder
            parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(suffix=".partial", dir=parent) as folder:
            yield Path(folder)

    def commit(self, plan: str, metrics: dict[str, Any]) -> Record:
        """Make what was written the result, unless another attempt was first.

        The loser's data is deleted; in both cases the winner's record is returned. The instruction
        set of this machine is added to the metrics.
        """
        crash_point("after-data", self.work)
        body = {
            "schema": SCHEMA,
            "work": self.work,
            "attempt": self.name,
            "plan": plan,
            "objects": self._objects,
            "facts": metrics | {"instruction_set": instruction_set()},
        }
        self.root.create_once(record_path(self.work), to_json(body))
        crash_point("after-record", self.work)
        record = read_record(self.root, self.work, plan)
        if record is None:
            raise DamagedRunError(f"{record_path(self.work)}: vanished after it was written")
        # Compare names: the result of the create may be wrong. If its first answer was lost and the
        # request repeated, the second answer says that the name exists.
        if record.attempt != self.name:
            self.root.remove(self._objects)
        return record


class _Noting(WrapperStore[Store]):
    """A store that digests what is written to it; a value written again replaces the first."""

    def __init__(self, store: Store, note: Callable[[str, bytes], None], prefix: str) -> None:
        super().__init__(store)
        self._note, self._prefix = note, prefix

    def _with_store(self, store: Store) -> _Noting:
        return type(self)(store, self._note, self._prefix)

    async def set(self, key: str, value: Buffer) -> None:
        await self._store.set(key, value)
        self._note(f"{self._prefix}/{key}", value.to_bytes())

    async def _set_many(self, values: Iterable[tuple[str, Buffer]]) -> None:
        for key, value in values:
            await self.set(key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        if not await self._store.exists(key):
            await self.set(key, value)


def read_record(root: RunRoot, work: str, plan: str) -> Record | None:
    """Return the record of a piece of work, or None if it is not done.

    Raises
    ------
    DamagedRunError
        If the record belongs to another plan or cannot be read.
    """
    raw = root.read(record_path(work))
    if raw is None:
        return None
    try:
        body = parse_json(raw)
        if body["plan"] != plan:
            raise DamagedRunError(f"{record_path(work)}: belongs to another plan")
        parts = (body["attempt"], plan, body["objects"], body["facts"])
        wrong = not isinstance(parts[0], str) or "/" in parts[0]
        if wrong or not all(isinstance(part, dict) for part in parts[2:]):
            raise TypeError("attempt, objects or facts")
        if not all(isinstance(x, dict) and {"bytes", "sha256"} <= x.keys()
                   for x in body["objects"].values()):  # fmt: skip
            raise TypeError("objects")
    except ValueError as error:
        raise DamagedRunError(f"{record_path(work)}: not JSON ({error})") from None
    except (KeyError, TypeError) as error:
        raise DamagedRunError(f"{record_path(work)}: not a record ({error!r})") from None
    return Record(work, *parts, digest=digest_of(raw))


def keep_cells_read(root: RunRoot, work: str) -> None:
    """Keep what a unit read beside its record, which is about to be removed for a repair."""
    try:
        read = parse_json(root.read(record_path(work)) or b"{}")["facts"][CELLS_READ]
    except (ValueError, KeyError, TypeError, DamagedRunError):  # none, damaged, or of before
        return
    root.replace(f"{work}/{_BEFORE}", to_json(read))


def read_before(root: RunRoot, work: str) -> Any:
    """Return what a unit read before its record was removed for a repair; None: not known."""
    try:
        return root.read_json(f"{work}/{_BEFORE}")
    except ValueError:
        return None


def each_record(root: RunRoot, works: Iterable[str], plan: str) -> Iterator[Record]:
    """Yield the records of all work that is done, in the order of ``works``; few are held.

    Raises
    ------
    DamagedRunError
        As :func:`read_record`.
    """
    for record in at_once(lambda work: read_record(root, work, plan), works):
        if record is not None:
            yield record


def done_among(root: RunRoot, works: Iterable[str], plan: str) -> set[str]:
    """Return which work is done; like :func:`each_record`, but nothing of a record is kept.

    Raises
    ------
    DamagedRunError
        As :func:`read_record`.
    """

    def done(work: str) -> str | None:
        return None if read_record(root, work, plan) is None else work

    return {work for work in at_once(done, works) if work is not None}


def at_once(call: Callable[[str], T], works: Iterable[str]) -> Iterator[T]:
    """Call for each, several at a time; yields in order and holds no more than is in flight."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        pending: deque[Future[T]] = deque()
        for work in works:
            pending.append(pool.submit(call, work))
            if len(pending) == 2 * AT_ONCE:  # more than there are threads: none of them waits
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def sweep(root: RunRoot, plan: str, names: Iterable[str]) -> int:
    """Delete what is left of attempts that did not win, and half-written files; returns how many.

    The driver calls this once, after all work is committed. At the start of a resume a worker
    of the last driver may still be writing: taking its folder away would let it commit the rest.
    """
    names = list(names)
    works = dict.fromkeys(work_of_object(name)[0] for name in names if work_of_object(name)[0])
    winners = {r.work: r.attempt for r in each_record(root, works, plan)}
    lost = []
    for name in names:
        work, attempt = work_of_object(name)
        if is_half_written(name) or (attempt and attempt != winners.get(work)):
            lost.append(name)
    root.remove(lost)
    return len(lost)


def work_of_object(name: str) -> tuple[str, str]:
    """Return the work and the attempt that an object belongs to; '' for both if to none."""
    parts = name.split("/")
    if len(parts) > 3 and parts[2].startswith("attempt-"):
        return "/".join(parts[:2]), parts[2]
    return "", ""
