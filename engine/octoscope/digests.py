"""Size and SHA-256, which check a run, a network and a checkpoint."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, BinaryIO

from octoscope.bounded_reads import require_regular

_BLOCK = 1 << 20


def digest_of(data: bytes) -> dict[str, Any]:
    """Return ``bytes`` and ``sha256`` of bytes."""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def stream_digest(handle: BinaryIO) -> dict[str, Any]:
    """Return ``bytes`` and ``sha256`` of what is left to read, block by block."""
    value, size = hashlib.sha256(), 0
    while block := handle.read(_BLOCK):
        value.update(block)
        size += len(block)
    return {"bytes": size, "sha256": value.hexdigest()}


def file_digest(path: Path) -> dict[str, Any]:
    """Return ``bytes`` and ``sha256`` of a file; OSError: it is a pipe or a device."""
    require_regular(path)
    with path.open("rb") as handle:
        return stream_digest(handle)
