"""The manifest of a finished run, ``_SUCCESS``, and finding damage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.errors import DamagedRunError
from engine.store.plan import Plan, load_plan
from engine.store.records import Record, read_record
from engine.store.root import RunRoot, to_json

# Written while a run is in progress, or rewritten after it: not part of the result.
_UNTRACKED = ("manifest.json", "_SUCCESS", "progress.json", "logs/")
SCHEMA = "octoscope-manifest/1"


@dataclass(frozen=True)
class Fault:
    """Something wrong with an object of a run."""

    object: str
    what: str


def tracked(path: str) -> bool:
    """Tell whether a file belongs to the result."""
    return not path.startswith(_UNTRACKED)


def write_manifest(root: RunRoot, plan: Plan, keep: list[str]) -> dict[str, Any]:
    """List every object that stays, with its digest; write ``manifest.json``."""
    body = {
        "schema": SCHEMA,
        "plan": plan.hash,
        "objects": {name: root.digest(name) for name in sorted(keep)},
    }
    root.replace("manifest.json", to_json(body))
    return body


def require_success(root: RunRoot) -> dict[str, Any]:
    """Return the manifest of a finished run.

    Raises
    ------
    DamagedRunError
        If the run is incomplete or its manifest does not match ``_SUCCESS``.
    """
    try:
        success = root.read_json("_SUCCESS")
    except ValueError as error:
        raise DamagedRunError(f"{root.path}/_SUCCESS: not JSON ({error})") from None
    if success is None:
        raise DamagedRunError(
            f"{root.path}: the run is not finished (no _SUCCESS); use `octoscope resume`"
        )
    if not root.exists("manifest.json"):
        raise DamagedRunError(f"{root.path}: manifest.json is missing")
    if root.digest("manifest.json") != success["manifest"]:
        raise DamagedRunError(f"{root.path}: manifest.json does not match _SUCCESS")
    manifest: dict[str, Any] = root.read_json("manifest.json")
    return manifest


def check_objects(root: RunRoot, objects: dict[str, dict[str, Any]]) -> list[Fault]:
    """Compare objects with their digests."""
    faults = []
    for name, expected in objects.items():
        if not root.at(name).is_file():
            faults.append(Fault(name, "missing"))
            continue
        found = root.digest(name)
        if found["bytes"] != expected["bytes"]:
            what = f"has {found['bytes']} bytes, expected {expected['bytes']}"
            faults.append(Fault(name, what))
        elif found["sha256"] != expected["sha256"]:
            faults.append(Fault(name, "content does not match its digest"))
    return faults


def require_objects(root: RunRoot, record: Record) -> None:
    """Refuse a record whose objects are not all there with their sizes.

    Content is covered by CRC32C on read; this catches chunks that Zarr would read as zeros.

    Raises
    ------
    DamagedRunError
        Naming the first object at fault.
    """
    for name, expected in record.objects.items():
        path = root.at(name)
        if not path.is_file() or path.stat().st_size != expected["bytes"]:
            raise DamagedRunError(f"{name}: missing or truncated")


def verify(root: RunRoot) -> list[Fault]:
    """Check every object of a run, finished or not: missing, damaged, foreign.

    Returns
    -------
    list of Fault
        Empty if the run is sound.
    """
    finished = root.exists("_SUCCESS")
    known: dict[str, dict[str, Any]] = {}
    faults: list[Fault] = []
    if finished:
        try:
            known = dict(require_success(root)["objects"])
        except DamagedRunError as error:
            return [Fault("manifest.json", str(error))]
    else:
        plan = load_plan(root)
        for work in plan.works():
            record = read_record(root, work, plan.hash)
            if record is not None:
                known |= record.objects
    faults += check_objects(root, known)
    if finished:
        foreign = [f for f in root.files() if tracked(f) and f not in known]
        faults += [Fault(f, "not part of the run") for f in foreign]
    return faults
