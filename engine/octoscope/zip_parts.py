"""Zip archives of torch and numpy: whether parts match their checksums and stated sizes."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from octoscope.bounded_reads import require_regular

_BLOCK = 1 << 20
_INFLATES = 20  # times: torch stores its parts as they are, so that nothing inflates
# what zipfile raises on damaged bytes
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError,
    IndexError, OverflowError,
)  # fmt: skip


def archive_fault(file: str | Path | IO[bytes]) -> str | None:
    """Return what is wrong with an archive, naming the part; None: it is sound, or no archive.

    Every part is read and compared with its CRC-32, which ``torch.load`` does not do. Where torch
    was told to write none, all of them are 0, and nothing is known.
    """
    if not zipfile.is_zipfile(file):
        return None
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
            stored = sum(part.compress_size for part in parts)
            if sum(part.file_size for part in parts) > max(_BLOCK, _INFLATES * stored):
                return f"inflates to more than {_INFLATES} times its size"
            if not any(part.CRC for part in parts):
                return None
            for part in parts:
                try:
                    with archive.open(part) as handle:
                        while handle.read(_BLOCK):
                            pass
                except _DAMAGED:
                    return f"{part.filename} does not match its checksum"
    except _DAMAGED as error:
        return f"its list of parts is damaged ({error})"
    return None


def part_of(file: Path, end: str, most: int) -> bytes:
    """Return the first part whose name ends so; b"" if there is none, or it is over ``most`` bytes.

    Raises
    ------
    zipfile.BadZipFile
        If it is no archive, or the part is damaged.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            for part in archive.infolist():
                if part.filename.endswith(end):
                    return archive.read(part) if part.file_size <= most else b""
            return b""
    except _DAMAGED as error:
        raise zipfile.BadZipFile(str(error)) from None


def read_npz(file: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` file; sizes that it states are compared with its parts.

    Raises
    ------
    ValueError
        If it is no such file, damaged, holds Python objects, or states other sizes than it has.
    OSError
        If it is absent, a pipe or a device.
    """
    require_regular(file)
    try:
        with zipfile.ZipFile(file) as archive:
            for part in archive.infolist():
                with archive.open(part) as handle:
                    _require_stated(part, handle)
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (*_DAMAGED, KeyError, TypeError, AttributeError, SyntaxError, MemoryError) as error:
        raise ValueError(f"no sound npz file: {error}") from None


def read_array(file: Path, name: str) -> np.ndarray:
    """Return one array of an ``.npz`` file; the size that it states is compared with its part.

    Raises
    ------
    ValueError
        If it states another size than it has, or holds Python objects.
    KeyError
        If it is not in the file.
    """
    with zipfile.ZipFile(file) as archive:
        part = archive.getinfo(f"{name}.npy")
        with archive.open(part) as handle:
            _require_stated(part, handle)
    with np.load(file, allow_pickle=False) as arrays:
        array: np.ndarray = arrays[name]
        return array


def _require_stated(part: zipfile.ZipInfo, handle: IO[bytes]) -> None:
    version = np.lib.format.read_magic(handle)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read:
        raise ValueError(f"{part.filename} is of version {version}")
    shape, _, kind = read[version](handle)
    size = part.file_size - handle.tell()
    if math.prod(shape) * kind.itemsize != size:
        raise ValueError(f"{part.filename} states shape {shape} of {kind} and has {size} bytes")
