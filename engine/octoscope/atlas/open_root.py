"""Opening the root of an AnnData store: Zarr, HDF5 by its signature, or a part of either.

What is no AnnData store is named for what it is: MuData, SpatialData, loom, a 10x matrix, a
compressed file, a file that another program holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fsspec
import h5py
import zarr
from zarr.storage import LocalStore

from octoscope.atlas import chunks
from octoscope.atlas.frame_columns import attribute, refuse_unknown_frame
from octoscope.atlas.metadata_stores import AtlasFolder, AtlasObjects
from octoscope.atlas.other_files import ADVICE, named_folder, not_hdf5
from octoscope.errors import InputError, reads
from octoscope.hdf5_guard import require_walkable

_HDF5 = b"\x89HDF\r\n\x1a\n"
_HDF5_NAMES = (".h5ad", ".h5mu", ".h5", ".hdf5", ".loom")
_DEPTH = 2  # groups below the root that are searched for AnnData stores


@reads(ADVICE)
def open_root(path: str) -> Any:
    """Open the root group of an AnnData store read-only.

    ``path`` is a folder, a file, a URL, or one of these with the place of a group inside it behind
    (``data.h5mu/mod/rna``, ``data.zarr/tables/table``); ``~`` is the home folder.

    Raises
    ------
    InputError
        If nothing is there, or it is neither Zarr nor HDF5, or not AnnData, or its frames are
        stored as AnnData did before version 0.7.
    """
    group = _opened(path)
    missing = [name for name in ("X", "obs", "var") if chunks.member(group, name, path) is None]
    if missing == ["X"] and any(name in group for name in ("raw", "raw.X", "layers")):
        missing = []
    if missing:
        raise _no_anndata(group, path, missing)
    for name in ("obs", "var"):
        refuse_unknown_frame(chunks.required(group, name, path), path)
    return group


def _opened(path: str) -> Any:
    if "://" in path:
        address = path.partition("?")[0].lower()
        hit = next((e for e in _HDF5_NAMES if address.endswith(e) or f"{e}/" in address), None)
        return _unnamed(path) if hit is None else _remote_hdf5(path, hit)
    local = Path(path).expanduser()
    file = next((p for p in (local, *local.parents) if p.exists()), local)
    if file.is_dir():
        if file != local:
            raise InputError(path, "does not exist", "check atlas.path")
        return _zarr(AtlasFolder(local, read_only=True), str(local))
    return _hdf5(file, path, str(local.relative_to(file)) if file != local else "")


def _hdf5(file: Path, path: str, inside: str) -> Any:
    """Open a file, and the group ``inside`` it ('' for its root)."""
    if not file.exists():
        raise InputError(path, "does not exist", "check atlas.path")
    if not file.is_file():
        raise InputError(path, "is no regular file", ADVICE)
    try:
        if not h5py.is_hdf5(file):
            with file.open("rb") as handle:
                raise not_hdf5(path, handle.read(64), file)
        require_walkable(file, path)
        return _part(_hdf5_file(file), inside, path)
    except OSError as error:
        raise _unopened(path, error) from None


def _hdf5_file(file: Any) -> Any:
    if find_spec("hdf5plugin"):  # brings compression filters that HDF5 lacks
        import hdf5plugin  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
    return h5py.File(file, "r")


def _unnamed(url: str) -> Any:
    """Open what is behind a URL that names no kind of file: Zarr, else HDF5 by its signature."""
    try:
        return _zarr(url, url)
    except InputError:
        try:
            with fsspec.open(url, "rb") as handle:
                head = handle.read(len(_HDF5))
        except Exception:  # noqa: BLE001  no file either: each protocol has its own
            head = b""
        if head != _HDF5:
            raise
    return _remote_hdf5(url, "")


def _remote_hdf5(url: str, suffix: str) -> Any:
    """Open a file behind a URL: what is read is fetched, block by block.

    ``suffix``: where the path of the file ends and that of a group inside begins; '' for no group.
    """
    address, query, rest = url.partition("?")
    at = address.lower().index(suffix) + len(suffix) if suffix else len(address)
    inside = address[at:].strip("/")
    try:
        handle = fsspec.open(address[:at] + query + rest, "rb").open()
        head = handle.read(64)
        if not head.startswith(_HDF5):
            raise not_hdf5(url, head)
        handle.seek(-1, os.SEEK_END)
        handle.read(1)  # fails where the server gives whole files only
        handle.seek(0)
        require_walkable(address[:at] + query + rest, url)
        return _part(_hdf5_file(handle), inside, url)
    except InputError:
        raise
    except Exception as error:  # each protocol has errors of its own
        # an unreachable server is a FileNotFoundError too, made of what really happened
        if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception):
            error = error.__cause__
        if isinstance(error, FileNotFoundError):
            raise InputError(url, "does not exist", "check atlas.path") from None
        text = f"cannot be opened ({type(error).__name__}: {str(error)[:160]})"
        fix = "check the URL and your access to it, or download the file and give its path"
        raise InputError(url, text, fix) from error


def _part(root: Any, inside: str, path: str) -> Any:
    if not inside:
        return root
    part = chunks.member(root, inside, path)
    if part is None or not hasattr(part, "keys"):
        have = ", ".join(_stores_inside(root)) or ", ".join(root) or "nothing"
        raise InputError(path, f"no group {inside} in it; it has {have}", "check atlas.path")
    return part


def _zarr(store: LocalStore | str, path: str) -> Any:
    try:
        if isinstance(store, str):
            store = AtlasObjects.from_url(store, read_only=True)
        return zarr.open_group(store, mode="r")
    except (ValueError, KeyError, OSError, ImportError, TypeError) as error:
        problem = f"not a Zarr group ({type(error).__name__}: {str(error)[:100]})"
        raise (named_folder(path) or InputError(path, problem, ADVICE)) from None


def _unopened(path: str, error: OSError) -> InputError:
    text = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
    if "unable to lock" in text:
        return InputError(
            path,
            "is open for writing in another program, which holds a lock on it",
            "close it there (a notebook that wrote it, too), or copy the file and give the copy",
        )
    if "truncated file" in text:
        return InputError(path, f"is truncated ({text})", "copy or download it again, whole")
    return InputError(path, f"cannot be opened as HDF5 ({text})", "check atlas.path")


def _groups(root: Any, depth: int) -> Iterator[tuple[str, Any]]:
    try:
        members = [(str(name), root[name]) for name in root]
    except chunks.BROKEN:
        return
    for name, node in members:
        if hasattr(node, "keys"):
            yield name, node
            if depth > 1:
                yield from ((f"{name}/{n}", g) for n, g in _groups(node, depth - 1))


def _stores_inside(root: Any) -> list[str]:
    """Return the places of AnnData stores inside a group."""
    stores = []
    for name, node in _groups(root, _DEPTH):
        kind = attribute(node, "encoding-type")
        if kind == "anndata" or all(part in node for part in ("X", "obs", "var")):
            stores.append(name)
    return stores


def _no_anndata(group: Any, path: str, missing: list[str]) -> InputError:
    """Say what a group is that is no AnnData store, and what to do with it."""
    inside = _stores_inside(group)
    if inside:
        kind = "MuData" if "mod" in group else "SpatialData" if "tables" in group else "a store"
        given = path.rstrip("/")
        paths = " or ".join(f"{given}/{name}" for name in inside)
        what = f"{kind} with AnnData tables inside ({', '.join(inside)})"
        return InputError(path, what, f"name one of them: atlas.path: {paths}")
    if "row_attrs" in group and "matrix" in group:
        fix = "anndata.io.read_loom(path).write_h5ad(...), then give the h5ad file"
        return InputError(path, "a loom file, not AnnData", fix)
    matrix = group.get("matrix", None)
    genomes = [n for n, g in _groups(group, 1) if "barcodes" in g]
    if genomes or hasattr(matrix, "keys"):
        fix = "scanpy.read_10x_h5(path).write_h5ad(...), then give the h5ad file"
        return InputError(path, "a matrix of 10x Genomics (Cell Ranger), not AnnData", fix)
    if "assays" in group or "cell.names" in group:
        fix = "export it from R as h5ad (zellkonverter, anndataR), raw counts included"
        return InputError(path, "a Seurat file (h5Seurat), not AnnData", fix)
    have = ", ".join(str(n) for n in group) or "nothing"
    return InputError(
        path, f"no {', '.join(missing)} in it; it has {have}", "write it with anndata.write_zarr"
    )
