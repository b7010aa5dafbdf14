"""The frozen plan in a run directory: written once, read by every command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import (
    ValidationError,
)

from octoscope.errors import DamagedRunError, InputError
from octoscope.json_values import hash_json, to_json
from octoscope.run_plan.values import NOT_HASHED, SCHEMA, Plan
from octoscope.store.plan_format_3 import PREVIOUS, from_format_3, stated_in_format_3
from octoscope.store.run_dir import RunRoot

# fields that decide no byte of a run, or stand for others: a projection of needs, the processor of
# the machine that planned, and a hash over names of settings (which are compared one by one)
_OPEN = ("needs", "config_hash", *NOT_HASHED)
_REMARK = "network.not_known_independent"  # what is not known of the same pairs


def save_plan(root: RunRoot, plan: Plan) -> None:
    """Freeze the plan in the run directory.

    A plan that is there stays if the new one differs only in what decides no byte of the run.

    Raises
    ------
    InputError
        If another plan is already there, naming the parts that differ.
    """
    body = plan.model_dump(mode="json")
    if root.create_once("plan.json", to_json(body)):
        return
    differing = changed(root.read_json("plan.json"), plan)
    if differing:
        raise InputError(
            root.at("plan.json"),
            f"a different plan is there; it differs in {', '.join(differing[:8])}",
            "run into a new directory, or undo the change",
        )


def load_plan(root: RunRoot) -> Plan:
    """Read the frozen plan.

    Raises
    ------
    InputError
        If there is none, or it was written by another format version.
    DamagedRunError
        If it is no JSON, or not what its format version says.
    """
    try:
        body = root.read_json("plan.json")
    except ValueError as error:
        raise DamagedRunError(f"{root.at('plan.json')}: not JSON ({error})") from None
    if body is None:
        raise InputError(root.url, "no plan.json in it", "give a run directory")
    if not isinstance(body, dict):
        raise DamagedRunError(f"{root.at('plan.json')}: no JSON object")
    version = str(body.get("schema_version"))
    if version not in (SCHEMA, PREVIOUS):
        newer = version.startswith("octoscope-plan/") and _number(version) > _number(SCHEMA)
        versions = body.get("versions")
        known = versions.get("octoscope") if isinstance(versions, dict) else None
        written = known or "an earlier version"
        fix = (
            "pip install --upgrade octoscope"
            if newer
            else f"read it with octoscope {written}, or run its config.yaml into a new directory: "
            f"octoscope run {root.at('config.yaml')} --out NEW"
        )
        problem = (
            f"format {version!r}, written by octoscope {written}; this version reads {SCHEMA!r}"
        )
        raise InputError(root.at("plan.json"), problem, fix)
    try:
        digest = hash_json({k: v for k, v in body.items() if k not in NOT_HASHED})
        plan = Plan.model_validate(upgraded(body))
        _require_consistent(plan)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise DamagedRunError(f"{root.at('plan.json')}: {where}: {first['msg']}") from None
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise DamagedRunError(f"{root.at('plan.json')}: not a plan ({error!r})") from None
    plan.__dict__["hash"] = digest  # of the file: an older plan keeps the hash its records carry
    return plan


def _require_consistent(plan: Plan) -> None:
    """Raise ValueError if parts of a plan do not fit each other, or a name leads out of the run."""
    names = {m.name for m in plan.models}
    bases = {m.base for m in plan.models} | {u.model for u in plan.units}
    if bases - names:
        raise ValueError(f"no model {sorted(bases - names)[0]!r}")
    for name, blocks in plan.row_blocks.items():
        if name not in bases or blocks.rows < 1 or blocks.rows % plan.tile:
            raise ValueError(f"row blocks of {name!r}: {blocks.rows} rows")
    for name in (*names, *(u.id for u in plan.units)):
        if "/" in name or "\\" in name or name in ("", ".", ".."):
            raise ValueError(f"{name!r} is no name")
    sizes = [c.cells for c in plan.categories]
    for u in plan.units:
        if not (0 <= u.category < len(sizes) and u.half in (0, 1)):
            raise ValueError(f"unit {u.id}: no half {u.half} of category {u.category}")
        cells = sizes[u.category]
        if cells is None or not 0 <= u.start < u.stop <= cells[u.half]:
            raise ValueError(f"unit {u.id}: no cells {u.start} to {u.stop}")


def upgraded(body: dict[str, Any]) -> dict[str, Any]:
    """Return a plan of the previous format in the layout of this one.

    Format 3 differs in names and in where settings are, so its runs are read, resumed and repaired.

    Raises
    ------
    KeyError, TypeError, AttributeError
        If it is no plan of that format.
    """
    return from_format_3(body, SCHEMA) if body.get("schema_version") == PREVIOUS else body


def changed(present: dict[str, Any], plan: Plan) -> list[str]:
    """Return dotted names of what differs between a stored plan and a new one.

    What does not decide bytes is not compared: some settings, and the remark on the network. In a
    stored plan of format 3 settings that it states are.
    """
    new = plan.model_dump(mode="json")
    old = upgraded(present)
    if present.get("schema_version") == PREVIOUS:
        # values at their default are left out of both alike
        old = stated_in_format_3(Plan.model_validate(old).model_dump(mode="json"))
        new = stated_in_format_3(new)
    for body in (old, new):  # digests of counts are compared where their cells can be named
        (body["atlas"] or {}).pop("sample", None)
    old, new = ({k: v for k, v in x.items() if k not in _OPEN} for x in (old, new))
    return [name for name in differences(old, new) if name != _REMARK]


def _number(schema: str) -> int:
    digits = schema.rpartition("/")[2]
    return int(digits) if digits.isdecimal() else 0


def run_directory(path: str | Path) -> RunRoot:
    """Open an existing run directory.

    Raises
    ------
    InputError
        If it is not one.
    """
    root = RunRoot(path)
    if not root.exists("plan.json") and not root.exists("config.yaml"):
        raise InputError(root.url, "is not a run directory", "give the --out of a run")
    return root


def differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Return dotted names of the fields in which two JSON values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = []
        for key in sorted(old.keys() | new.keys()):
            names += differences(old.get(key), new.get(key), f"{prefix}{key}.")
        return names
    return [] if old == new else [prefix.rstrip(".")]
