"""Size and SHA-256 of a file: what a run, a network and a checkpoint are checked by."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any


def file_digest(path: Path) -> dict[str, Any]:
    """Return ``bytes`` and ``sha256`` of a file."""
    with path.open("rb") as handle:
        value = hashlib.file_digest(handle, "sha256").hexdigest()
        return {"bytes": handle.tell(), "sha256": value}
