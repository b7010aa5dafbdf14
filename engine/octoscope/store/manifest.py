"""The manifest of a finished run, ``_SUCCESS``, and finding damage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from octoscope.digests import digest_of
from octoscope.errors import REPAIR, DamagedRunError, in_one_line
from octoscope.json_values import parse_json, to_json
from octoscope.run_plan.values import Plan
from octoscope.store.commits import Record, at_once, read_record, record_path, work_of_object
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import NO_FILE, RunRoot

JOURNAL = "repair.json"  # a repair that is under way

# Written while a run is in progress, or beside it: not part of the result.
_UNTRACKED = (
    "manifest.json", "_SUCCESS", "progress.json", "lease.json", JOURNAL, "logs/", "foreign/",
)  # fmt: skip
SCHEMA = "octoscope-manifest/1"


@dataclass(frozen=True)
class Fault:
    """Something wrong with an object of a run."""

    object: str
    what: str


FOREIGN = "not part of the run"
MISSING = "missing"


def damaged(faults: list[Fault]) -> set[str]:
    """Return the objects of the run that are missing or wrong."""
    return {f.object for f in faults if f.what != FOREIGN}


def tracked(path: str) -> bool:
    """Tell whether an object that is no part of the result is foreign.

    What attempts that did not win left behind is not: no reader sees it, and `repair` sweeps it.
    """
    return not (is_beside(path) or path.endswith(".partial") or work_of_object(path)[0])


def is_beside(path: str) -> bool:
    """Tell whether an object lies beside the result: progress, logs, the manifest itself."""
    return path.startswith(_UNTRACKED)


def write_manifest(root: RunRoot, plan: Plan, objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Write ``manifest.json``: every object that stays, with its digest."""
    body = {"schema": SCHEMA, "plan": plan.hash, "objects": dict(sorted(objects.items()))}
    root.replace("manifest.json", to_json(body))
    return body


def read_success(root: RunRoot) -> dict[str, Any] | None:
    """Return ``_SUCCESS`` of a finished run; None if the run is not finished.

    Raises
    ------
    DamagedRunError
        If it is no JSON object.
    """
    try:
        success = root.read_json("_SUCCESS")
    except ValueError as error:
        raise DamagedRunError(f"{root.at('_SUCCESS')}: not JSON ({error}); {REPAIR}") from None
    if success is not None and not isinstance(success, dict):
        raise DamagedRunError(f"{root.at('_SUCCESS')}: no JSON object; {REPAIR}")
    return success


def require_success(root: RunRoot) -> dict[str, Any]:
    """Return the manifest of a finished run.

    Raises
    ------
    DamagedRunError
        If the run is incomplete, or its manifest is missing or does not match ``_SUCCESS``.
    """
    success = read_success(root)
    if success is None:
        raise DamagedRunError(
            f"{root.url}: the run is not finished (no _SUCCESS); use `octoscope resume`"
        )
    raw = root.read("manifest.json")
    if raw is None:
        raise DamagedRunError(f"{root.url}: manifest.json is missing")
    if digest_of(raw) != success.get("manifest"):
        raise DamagedRunError(f"{root.url}: manifest.json does not match _SUCCESS")
    try:
        manifest: dict[str, Any] = parse_json(raw)
        for name, digest in manifest["objects"].items():
            root.at(name)  # it may not lead out of the run
            if not (isinstance(digest["bytes"], int) and isinstance(digest["sha256"], str)):
                raise TypeError(name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"manifest.json is not a manifest ({in_one_line(error)})"
        raise DamagedRunError(f"{root.url}: {problem}") from None
    return manifest


def check_objects(root: RunRoot, objects: dict[str, dict[str, Any]]) -> list[Fault]:
    """Compare objects with their digests."""
    faults = []
    for name, expected in objects.items():
        try:
            actual = root.digest(name)
        except FileNotFoundError:
            faults.append(Fault(name, MISSING))
            continue
        except DamagedRunError:  # a folder, a pipe or a device
            faults.append(Fault(name, NO_FILE))
            continue
        fault = digest_fault(actual, expected)
        if fault is not None:
            faults.append(Fault(name, fault))
    return faults


def digest_fault(actual: dict[str, Any], expected: dict[str, Any]) -> str | None:
    """Return in which way the digest of an object is not the expected one, or None."""
    if actual["bytes"] != expected["bytes"]:
        return f"has {actual['bytes']} bytes, expected {expected['bytes']}"
    if actual["sha256"] != expected["sha256"]:
        return "content does not match its digest"
    return None


def require_objects(root: RunRoot, record: Record) -> None:
    """Refuse a record whose objects are not all there with their sizes.

    Content is covered by CRC32C on read; this catches chunks that Zarr would read as zeros.

    Raises
    ------
    DamagedRunError
        Naming the first object at fault.
    """
    if root.folder is not None:
        sizes = [root.size(name) for name in record.objects]
    else:  # a request each
        sizes = list(at_once(root.size, record.objects))
    for (name, expected), size in zip(record.objects.items(), sizes, strict=True):
        if size != expected["bytes"]:
            raise DamagedRunError(f"{name}: missing or truncated; use `octoscope repair`")


def verify(root: RunRoot) -> list[Fault]:
    """Check every object of a run, finished or not: missing, damaged, foreign.

    Returns
    -------
    list of Fault
        Empty if the run is sound.
    """
    if not root.exists("_SUCCESS"):
        return _verify_without_success(root)
    try:
        known = dict(require_success(root)["objects"])
    except DamagedRunError as error:
        # what is missing may have been scratch; what is there can be checked by its record
        present = [f for f in _verify_unfinished(root) if f.what != MISSING]
        return [Fault("manifest.json", str(error)), *present]
    faults = check_objects(root, known)
    return faults + [Fault(f, FOREIGN) for f in root.files() if tracked(f) and f not in known]


def _verify_unfinished(root: RunRoot) -> list[Fault]:
    faults, objects = _recorded(root)
    return faults + check_objects(root, objects)


def _recorded(root: RunRoot) -> tuple[list[Fault], dict[str, dict[str, Any]]]:
    """Return the records that cannot be read, and the objects that the others name."""
    plan = load_plan(root)
    faults: list[Fault] = []
    objects: dict[str, dict[str, Any]] = {}
    for work in plan.works():
        try:
            record = read_record(root, work, plan.hash)
        except DamagedRunError as error:
            faults.append(Fault(record_path(work), str(error)))
            continue
        if record is not None:
            objects |= record.objects
    return faults, objects


def _verify_without_success(root: RunRoot) -> list[Fault]:
    """Check a run that is not finished, or has lost its ``_SUCCESS``: then its scratch is gone."""
    faults, objects = _recorded(root)
    odd = [Fault("_SUCCESS", NO_FILE)] if root.is_irregular("_SUCCESS") else []
    known = {} if root.exists(JOURNAL) else listed(root)
    scratch = [name for name in objects if name not in known]
    if not known or not scratch or any(root.exists(name) for name in scratch):
        return odd + faults + check_objects(root, objects)
    foreign = [Fault(f, FOREIGN) for f in root.files() if tracked(f) and f not in known]
    lost = odd or [Fault("_SUCCESS", MISSING)]
    return lost + check_objects(root, known) + foreign


def listed(root: RunRoot) -> dict[str, dict[str, Any]]:
    """Return the objects of a manifest without its ``_SUCCESS``; none if it cannot be read."""
    try:
        objects = root.read_json("manifest.json")["objects"]
        sizes = {name: digest["bytes"] for name, digest in objects.items() if digest["sha256"]}
        return {name: objects[name] for name in sizes if root.at(name)}
    except (DamagedRunError, ValueError, KeyError, TypeError, AttributeError):
        return {}
