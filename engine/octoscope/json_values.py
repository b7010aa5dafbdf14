"""JSON as it is stored and hashed: one text for equal values."""

from __future__ import annotations

import json
from typing import Any

from octoscope.digests import digest_of


def to_json(value: Any) -> bytes:
    """Return canonical JSON: sorted keys, one trailing newline."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def hash_json(value: Any) -> str:
    """Return SHA-256 of the canonical JSON."""
    return str(digest_of(to_json(value))["sha256"])
