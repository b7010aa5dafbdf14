"""What tells a file that was written since from one that was not: local ones, and behind URLs.

A local file by size and time. An object by size and ETag, or another digest that its store keeps,
else by its time. Objects of an array are listed in one request for a thousand of them; over HTTP,
which has no listings, each is asked for.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import fsspec
import h5py
import zarr
from zarr.core.sync import sync
from zarr.storage import FsspecStore

Stamp = Callable[[str], bytes | None]  # of a file by its name; None: there is no such file

MOST_BEHIND_URLS = 10_000  # objects of an array that are listed: ten requests
_MOST_ASKED = 256  # that are asked for one by one
_DIGESTS = ("ETag", "etag", "md5Hash", "crc32c", "Content-MD5", "content_settings")
_TIMES = ("LastModified", "last_modified", "Last-Modified", "updated", "mtime", "created")


def local_stamp(file: str) -> bytes | None:
    """Return size and time of a local file."""
    try:
        status = os.stat(file)
    except FileNotFoundError:
        return None
    return b"%d %d" % (status.st_size, status.st_mtime_ns)


def stamps_behind(array: Any, url: str, names: Iterable[str]) -> Stamp | None:
    """Return the stamps of the files of an array behind a URL; None: they cannot be known.

    Parameters
    ----------
    array
        A Zarr array of an object store, or a dataset of the HDF5 file at ``url``.
    names
        Full names of its files in the store.
    """
    entries: dict[str, Any] = {}
    with suppress(Exception):  # each protocol has errors of its own; reading names what is wrong
        if isinstance(array, h5py.Dataset):
            system, path = fsspec.url_to_fs(url)
            entries[url] = system.info(path)
        elif isinstance(array, zarr.Array) and isinstance(array.store, FsspecStore):
            entries = _of_array(array, list(names))
    stamps = {name.lstrip("/"): _stamp(entry) for name, entry in entries.items()}
    if not any(stamps.values()):
        return None
    return lambda file: stamps.get(file.lstrip("/"))


def _of_array(array: Any, names: list[str]) -> dict[str, Any]:
    system, prefix = array.store.fs, f"{array.store.path}/{array.path}"
    protocol = system.protocol if isinstance(system.protocol, str) else system.protocol[0]
    if protocol not in ("http", "https"):
        listed: dict[str, Any] = sync(system._find(prefix, detail=True))
        return listed
    if len(names) > _MOST_ASKED:
        return {}

    async def ask() -> list[Any]:
        return await asyncio.gather(*map(system._info, names), return_exceptions=True)

    return {n: x for n, x in zip(names, sync(ask()), strict=True) if isinstance(x, dict)}


def _stamp(entry: dict[str, Any]) -> bytes | None:
    """Return what tells an object's content: a digest of its store, else its time."""
    for keys in (_DIGESTS, _TIMES):
        known = [str(entry[key]) for key in keys if entry.get(key)]
        if known:
            return " ".join([str(entry.get("size")), *known]).encode()
    return None
