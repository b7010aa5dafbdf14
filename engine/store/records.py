"""Attempts and commit records: data is visible only through a record that is created once."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from engine.errors import DamagedRunError
from engine.store.crash import crash_point
from engine.store.root import RunRoot, to_json


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
    facts
        What the work reports about itself (cells, refusals, seconds).
    """

    work: str
    attempt: str
    plan: str
    objects: dict[str, dict[str, Any]]
    facts: dict[str, Any]

    @property
    def folder(self) -> str:
        """Folder that holds the data, relative to the run."""
        return f"{self.work}/{self.attempt}"


def record_path(work: str) -> str:
    """Return where the record of a piece of work is."""
    return f"{work}/record.json"


def new_attempt(root: RunRoot, work: str) -> str:
    """Make the folder of a fresh attempt; returns its path relative to the run."""
    folder = f"{work}/attempt-{uuid.uuid4().hex}"
    root.at(folder).mkdir(parents=True)
    crash_point("before-write", work)
    return folder


def commit(root: RunRoot, folder: str, plan: str, facts: dict[str, Any]) -> Record:
    """Digest what an attempt wrote and make it the result, unless another attempt was first.

    The loser's data is deleted; either way the winner's record is returned.
    """
    work, attempt = folder.rsplit("/", 1)
    crash_point("after-data", work)
    objects = {name: root.digest(name) for name in root.files(folder)}
    body = {
        "schema": "octoscope-record/1",
        "work": work,
        "attempt": attempt,
        "plan": plan,
        "objects": objects,
        "facts": facts,
    }
    won = root.create_once(record_path(work), to_json(body))
    crash_point("after-record", work)
    if not won:
        root.remove_tree(folder)
    record = read_record(root, work, plan)
    assert record is not None
    return record


def read_record(root: RunRoot, work: str, plan: str) -> Record | None:
    """Return the record of a piece of work, or None if it is not done.

    Raises
    ------
    DamagedRunError
        If the record belongs to another plan or cannot be read.
    """
    try:
        body = root.read_json(record_path(work))
    except ValueError as error:
        raise DamagedRunError(f"{record_path(work)}: not JSON ({error})") from None
    if body is None:
        return None
    if body.get("plan") != plan:
        raise DamagedRunError(f"{record_path(work)}: belongs to another plan")
    return Record(body["work"], body["attempt"], plan, body["objects"], body["facts"])


def sweep(root: RunRoot, works: Iterable[str], plan: str) -> int:
    """Delete attempts that did not win; returns how many.

    The driver calls this once, after all work is committed. At the start of a resume a worker
    of the last driver may still be writing: taking its folder away would let it commit the rest.
    """
    swept = 0
    for work in works:
        folder = root.at(work)
        if not folder.is_dir():
            continue
        record = read_record(root, work, plan)
        for child in folder.iterdir():
            if child.is_dir() and (record is None or child.name != record.attempt):
                root.remove_tree(f"{work}/{child.name}")
                swept += 1
            elif child.name.endswith(".partial"):
                child.unlink(missing_ok=True)
    return swept
