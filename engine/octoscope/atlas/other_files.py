"""What a file or folder is that is no AnnData store, by its first bytes and names: for messages."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from octoscope.errors import InputError

ADVICE = "give an AnnData store in Zarr, or an .h5ad file"
_GZIP = b"\x1f\x8b"
_R = "an R file", "export it from R as h5ad (zellkonverter, anndataR)"
_PAGE = "a web page", "download the file itself, by its direct link"
_MTX = "a Matrix Market file", "scanpy.read_10x_mtx(folder).write_h5ad(...)"
_PICKLE = "a pickle, whose code is not run", "load it in Python and write it with write_h5ad"
# First bytes of other files, what they are, and what to do.
_OTHERS = (
    (_GZIP, "a gzip archive", "unpack it (gunzip) and give the file inside"),
    (b"PK\x03\x04", "a zip archive", "unpack it (unzip) and give the folder or file inside"),
    (b"BZh", "a bzip2 archive", "unpack it (bunzip2) and give the file inside"),
    (b"\xfd7zXZ", "an xz archive", "unpack it (unxz) and give the file inside"),
    (b"RDX", *_R),
    (b"X\n\x00\x00\x00", *_R),  # RDS, once unpacked
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the file itself: git lfs pull"),
    (b"<!DOCTYPE", *_PAGE),
    (b"<html", *_PAGE),
    (b"%%MatrixMarket", *_MTX),
    *((b"\x80" + bytes([protocol]), *_PICKLE) for protocol in range(2, 6)),
)
_HEAD = 64


def not_hdf5(path: str, head: bytes, file: Path | None = None) -> InputError:
    """Return the error that names a file that is no HDF5.

    Parameters
    ----------
    head
        Its first bytes.
    file
        Where it lies, if that is here: of a gzip archive what is inside counts.
    """
    inside = _unpacked(file) if file is not None and head.startswith(_GZIP) else b""
    for start, what, fix in _OTHERS:
        if inside.startswith(start):
            return InputError(path, f"not an HDF5 file but {what}, packed by gzip", fix)
    for start, what, fix in _OTHERS:
        if head.startswith(start):
            return InputError(path, f"not an HDF5 file but {what}", fix)
    what = "an empty file" if not head else f"its first bytes are {head[:8]!r}"
    return InputError(path, f"not an HDF5 file ({what})", ADVICE)


def _unpacked(file: Path) -> bytes:
    """Return the first bytes inside a gzip archive; nothing, if it cannot be read."""
    try:
        with gzip.open(file, "rb") as handle:
            return handle.read(_HEAD)
    except (OSError, EOFError, zlib.error):
        return b""


def named_folder(path: str) -> InputError | None:
    """Return the error that names a folder that is no Zarr store; None if nothing tells."""
    folder = Path(path)
    if not folder.is_dir():
        return None
    names = sorted(p.name for p in folder.iterdir())
    if any(n.startswith("__tiledb_group") or n == "__group" for n in names):
        fix = "tiledbsoma.io.to_h5ad(experiment, path, measurement_name=...), then give that file"
        return InputError(path, "a TileDB-SOMA store, not AnnData", fix)
    if any(n.startswith("matrix.mtx") for n in names):
        fix = "scanpy.read_10x_mtx(folder).write_h5ad(...), then give the h5ad file"
        return InputError(path, "a folder of Matrix Market files (10x Genomics)", fix)
    inside = [n for n in names if n.lower().endswith((".h5ad", ".h5mu", ".zarr"))]
    if inside:
        more = f" and {len(inside) - 1} more" if len(inside) > 1 else ""
        what = f"a folder that holds {inside[0]}{more}, not a store itself"
        return InputError(path, what, f"give one of them: atlas.path: {folder / inside[0]}")
    return None
