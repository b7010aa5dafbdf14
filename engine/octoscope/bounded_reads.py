"""Reading small files that somebody names: regular ones, of a size that fits their kind."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MOST = 1 << 26  # bytes: 64 MB, where configurations and vocabularies take a few


def require_regular(path: Path) -> None:
    """Refuse a pipe or a device, which may never end; the caller refuses a folder.

    Raises
    ------
    OSError
        If it is absent, a pipe or a device.
    """
    kind = os.stat(path).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise OSError(errno.EINVAL, "is no regular file", str(path))


def read_bounded(path: Path, most: int = MOST) -> bytes:
    """Return the content of a file.

    Raises
    ------
    OSError
        If it is absent, a folder, a pipe or a device (which may never end), or larger.
    """
    require_regular(path)
    with path.open("rb") as handle:
        raw = handle.read(most + 1)
    if len(raw) > most:
        raise OSError(errno.EFBIG, f"has more than {most:,} bytes", str(path))
    return raw
