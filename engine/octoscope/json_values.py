"""JSON as it is stored and hashed: one text for equal values."""

from __future__ import annotations

import json
import re
from typing import Any

from octoscope.digests import digest_of


def to_json(value: Any) -> bytes:
    """Return canonical JSON: sorted keys, one trailing newline."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


_VALUE, _HOLDER = 60, 150  # bytes that a value, and a list or object around values, take at least
_MEMORY = 600_000_000  # bytes that the values may take
_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')


def parse_json(raw: bytes) -> Any:
    """Return a JSON value that somebody may have damaged.

    Its values may take 600 MB, counted before they are made: a list of empty lists takes 25 times
    its text.

    Raises
    ------
    ValueError
        If it is no JSON, names a key twice, is nested too deeply, holds too many values, or has a
        number of thousands of digits.
    """
    if _room(raw) > _MEMORY and _room(_TEXT.sub(b'""', raw)) > _MEMORY:
        raise ValueError(f"holds values that take more than {_MEMORY // 10**6} MB")
    try:
        return json.loads(raw, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _room(raw: bytes) -> int:
    return _VALUE * raw.count(b",") + _HOLDER * (raw.count(b"[") + raw.count(b"{"))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return value


def hash_json(value: Any) -> str:
    """Return SHA-256 of the canonical JSON."""
    return str(digest_of(to_json(value))["sha256"])
