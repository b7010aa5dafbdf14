"""Refusing HDF5 files on which the library would loop without end or crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from octoscope import hdf5_walk
from octoscope.errors import InputError

_BLANK = 1 << 26  # bytes of values that arrays may state without storing them
_PACKED = 2000  # times that compression makes an array smaller; deflate reaches 1,032

STEP = 5.0  # seconds of processor time for one object, where milliseconds are usual

_LOCK = threading.Lock()
_HELPERS: dict[int, subprocess.Popen[bytes]] = {}  # process -> its helper


def require_walkable(file: Path | str, path: str) -> None:
    """Let another process read the metadata of a file, and its text of variable length, first.

    Of an array of more than a million chunks the index is not walked; of text, the first million of
    values are read. Behind URLs it is 10,000 chunks and 65,536 values, and nothing where the other
    process cannot reach the URL (``memory://``).

    Parameters
    ----------
    file
        Path, or the URL of the file.
    path
        What the user gave, for the message.

    Raises
    ------
    InputError
        If HDF5 does not return from the file, or crashes on it.
    """
    with _LOCK:
        helper = _helper()
        name = file if isinstance(file, str) else file.absolute()
        code = _answer(helper, os.fsencode(name))
        if code is None:
            return
        del _HELPERS[os.getpid()]
    if code == -signal.SIGPROF:
        what = f"is damaged: HDF5 was still at one object of it after {STEP:g} s"
    elif code in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE):
        what = f"is damaged: HDF5 crashes on it ({signal.Signals(-code).name})"
    else:  # ended by somebody, or it cannot start: nothing is known of the file
        return
    raise InputError(path, what, "copy or download it again, whole")


def require_stored(file: Path, path: str, groups: Sequence[str]) -> None:
    """Compare the sizes that arrays state with what is stored of them, before anything is read.

    Call :func:`require_walkable` before.

    Parameters
    ----------
    groups
        Names of arrays, or of groups whose arrays count.

    Raises
    ------
    InputError
        If they state more than 64 MB of values that are not stored.
    OSError
        If it is no HDF5 file.
    """
    import h5py

    blank = 0

    def count(name: str, node: object) -> None:
        nonlocal blank
        if not isinstance(node, h5py.Dataset):
            return
        size, stored = int(node.size or 0) * node.dtype.itemsize, node.id.get_storage_size()
        if size > _PACKED * stored:
            blank += size
        if blank > _BLANK:
            raise InputError(
                f"{path}: {name}", f"states {size:,} bytes of values and stores {stored:,}",
                "copy or download it again, whole",
            )  # fmt: skip

    with h5py.File(file, "r") as opened:
        for group in groups:
            node = opened.get(group)
            if isinstance(node, h5py.Group):
                node.visititems(lambda name, inner, group=group: count(f"{group}/{name}", inner))
            else:
                count(group, node)


def _answer(helper: subprocess.Popen[bytes], path: bytes) -> int | None:
    """Return None if the helper came through a file, or the code with which it ended."""
    assert helper.stdin is not None
    assert helper.stdout is not None
    try:
        helper.stdin.write(path.hex().encode() + b"\n")
        helper.stdin.flush()
        if helper.stdout.readline():
            return None
    except OSError:  # it ended before
        pass
    helper.stdin.close()
    helper.stdout.close()
    return helper.wait()


def _helper() -> subprocess.Popen[bytes]:
    """Return this process's helper, which ends when its standard input does."""
    helper = _HELPERS.get(os.getpid())
    if helper is None or helper.poll() is not None:
        helper = subprocess.Popen(
            [sys.executable, "-P", str(hdf5_walk.__file__), str(STEP)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        _HELPERS.clear()
        _HELPERS[os.getpid()] = helper
    return helper
