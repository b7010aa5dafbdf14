"""Damage of one object of a finished run, and what `verify` must say of it."""

from __future__ import annotations

import json
import re
from collections.abc import Container
from pathlib import Path

from octoscope.store.manifest import verify
from octoscope.store.run_dir import RunRoot

_ATTEMPT = re.compile(r"attempt-\w+/")  # a name that each run draws
_FROZEN = ("config.yaml", "plan.json")  # cannot always be repaired: `tests/faults/test_damage.py`


def faults(root: RunRoot) -> dict[str, str]:
    """Return what `verify` finds, by object."""
    return {f.object: f.what for f in verify(root)}


def fault_of(path: Path, size: int) -> str:
    """Return what `verify` says of a file that was changed, and had another ``size`` perhaps."""
    now = path.stat().st_size
    return (
        "content does not match its digest" if now == size else f"has {now} bytes, expected {size}"
    )


def damage(run: Path, nth: int, how: str, spared: Container[str] = ()) -> dict[str, str] | None:
    """Flip, cut or remove the ``nth`` object of a run, or add one; None: nothing was changed."""
    if how == "add":
        name = f"tables/mine{nth}.parquet"
        (run / name).write_bytes(b"x")
        return {name: "not part of the run"}
    listed = json.loads((run / "manifest.json").read_text())["objects"]
    names = sorted(listed.keys() - set(_FROZEN), key=lambda name: _ATTEMPT.sub("", name))
    name = names[nth % len(names)]
    path = run / name
    if name in spared or path.stat().st_size == 0:
        return None
    raw = path.read_bytes()
    half = len(raw) // 2
    if how == "remove":
        path.unlink()
        return {name: "missing"}
    rest = b"" if how == "cut" else bytes([raw[half] ^ 1]) + raw[half + 1 :]
    path.write_bytes(raw[:half] + rest)
    return {name: fault_of(path, len(raw))}
