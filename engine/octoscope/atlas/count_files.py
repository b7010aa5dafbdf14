"""The files that hold counts: were they written after planning, and with other bytes?

A plan notes size and time of each file of counts, or what its object store says of it. Where
CRC32C is the last codec of every chunk of a local store, as ``atlas convert`` writes, it notes the
checksums that are stored: four bytes a chunk, so that no count is read. A file of another time is
compared by them, so a copy is the same.
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

import h5py
import numpy as np
import zarr
from xxhash import xxh3_64
from zarr.storage import LocalStore

from octoscope.atlas import chunks
from octoscope.atlas.codec_pipeline import is_guarded
from octoscope.atlas.file_stamps import MOST_BEHIND_URLS, Stamp, local_stamp, stamps_behind

_GROUPS = 4096  # of files, at most: what a plan holds of an array stays small
_MOST = 1 << 16  # files of an array: of more, each plan and unit would ask the system for long
_DIGITS = 16  # of a digest
_CRC = 4  # bytes
_ONE: tuple[int, ...] = (1,)  # the grid of a file
_HDF5_FILE = re.compile(r"(\.(?:h5ad|h5mu|h5|hdf5|loom))(?:/|$)", re.IGNORECASE)
_ABSENT = (1 << 64) - 1  # offset of a chunk that a shard lacks
_INDEX = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]


class CountFiles:
    """The files of an array of counts, in the order of the grid, in groups.

    Parameters
    ----------
    array
        A Zarr array, or a dataset of an HDF5 file, which is one file.
    url
        Of the file or store, where it is not local.
    """

    def __init__(self, array: Any, url: str = "") -> None:
        self._array, self._grid, self._url = array, _ONE, url
        if isinstance(array, zarr.Array):
            top = getattr(array.store, "path", "") if url else array.store.root
            self._folder = f"{top}/{array.path}"
            sizes = zip(array.shape, array.shards or array.chunks, strict=True)
            self._grid = tuple(-(-int(n) // int(size)) for n, size in sizes)
        self.total = math.prod(self._grid)
        self._per = max(1, -(-self.total // _GROUPS))
        self._codec = None if url else self._checked_codec()

    @cached_property
    def stamp(self) -> Stamp | None:
        """What tells each file from one that was written since; None: nothing does.

        Files behind a URL are listed once for each time that an atlas is opened.
        """
        if not self._url:
            return local_stamp
        if self.total > MOST_BEHIND_URLS:
            return None
        names = (file for group in self.groups() for file in self._files(group))
        return stamps_behind(self._array, self._url, names)

    def groups(self, chunks_read: Iterable[int] | None = None) -> list[int]:
        """Return the groups that hold files, by their numbers; None: all."""
        if chunks_read is None:
            return list(range(-(-self.total // self._per)))
        return sorted({at // self._per for at in chunks_read if at < self.total})

    def holding(self, rows: np.ndarray, indptr: np.ndarray | None) -> list[int]:
        """Return the files that hold rows, by their numbers; ``indptr``: the array is of CSR."""
        if isinstance(self._array, h5py.Dataset):
            return [0]
        size = int((self._array.shards or self._array.chunks)[0])
        if indptr is None:
            across = math.prod(self._grid[1:])
            return [r * across + k for r in np.unique(rows // size).tolist() for k in range(across)]
        spans = zip(indptr[rows].tolist(), indptr[rows + 1].tolist(), strict=True)
        return sorted({n for lo, hi in spans if hi > lo for n in range(lo // size, -(-hi // size))})

    def as_json(self) -> dict[str, Any]:
        """Return what a plan notes: digests of sizes and times, and of stored checksums."""
        groups = self.groups()
        checks = map(self._checksums, groups) if self._codec else ()
        return {
            "layout": self._layout(),
            "times": "".join(map(self._times, groups)),
            "checksums": "".join(checks),
        }

    def changed(
        self, noted: Any, chunks_read: Iterable[int] | None = None
    ) -> tuple[list[str], bool]:
        """Return the files that were written since, and whether stored checksums say so.

        Without checksums a file may be a copy: it has another time only. ``noted``: what
        :meth:`as_json` returned; anything else, or another layout, says nothing.
        """
        groups = self.groups()
        if not _is_noted(noted, len(groups)) or noted["layout"] != self._layout():
            return [], False
        later = [g for g in self.groups(chunks_read) if self._times(g) != _of(noted["times"], g)]
        if not self._codec or len(noted["checksums"]) != _DIGITS * len(groups):
            return self._names(later), False
        return self._names(
            g for g in later if self._checksums(g) != _of(noted["checksums"], g)
        ), True

    def _names(self, groups: Iterable[int]) -> list[str]:
        """Return the name of the array and of the first file of each group."""
        name = chunks.name_of(self._array)
        if isinstance(self._array, h5py.Dataset):
            return [name for _ in groups]
        several = "" if self._per == 1 else f" or one of the next {self._per - 1} files"
        return [f"{name}, {name}/{self._key(next(self._grids(g)))}{several}" for g in groups]

    def _grids(self, group: int) -> Iterator[tuple[int, ...]]:
        for at in range(group * self._per, min(self.total, (group + 1) * self._per)):
            yield tuple(int(i) for i in np.unravel_index(at, self._grid))

    def _key(self, at: tuple[int, ...]) -> str:
        return str(self._array.metadata.encode_chunk_key(at))

    def _files(self, group: int) -> Iterator[str]:
        if isinstance(self._array, h5py.Dataset):
            yield self._url or os.fsdecode(self._array.file.filename)
            return
        for at in self._grids(group):
            yield f"{self._folder}/{self._key(at)}"

    def _times(self, group: int) -> str:
        digest = xxh3_64()
        for file in self._files(group):
            stamp = None if self.stamp is None else self.stamp(file)
            digest.update((b"-" if stamp is None else stamp) + b";")
        return digest.hexdigest()

    def _layout(self) -> str:
        array = self._array
        text = [array.shape, str(array.dtype), chunks.grid_of(array)]
        if isinstance(array, zarr.Array):
            stated = array.metadata.to_dict()
            text += [
                array.shards,
                stated.get("codecs"),
                stated.get("compressor"),
                stated.get("filters"),
            ]
        return xxh3_64(json.dumps(text, default=str).encode()).hexdigest()

    def _checked_codec(self) -> dict[str, Any] | None:
        """Return the last codec, if the last bytes of each chunk are a checksum that is read here.

        It is read once: each of thousands of files needs it.
        """
        if not isinstance(self._array, zarr.Array) or not is_guarded(self._array):
            return None
        last: dict[str, Any] = self._array.metadata.to_dict()["codecs"][-1]
        if last["name"] != "crc32c" and list(last["configuration"]["index_codecs"]) != _INDEX:
            return None
        return last

    def _checksums(self, group: int) -> str:
        digest = xxh3_64()
        for file in self._files(group):
            try:
                with open(file, "rb") as handle:
                    for part in self._stored(handle.fileno()):
                        digest.update(part)
            except FileNotFoundError:
                digest.update(b"-")
            digest.update(b";")
        return digest.hexdigest()

    def _stored(self, file: int) -> Iterator[bytes]:
        """Yield the checksum of each chunk of a file."""
        size = os.fstat(file).st_size
        if not self._array.shards:
            yield os.pread(file, _CRC, max(0, size - _CRC))
            return
        sizes = zip(self._array.shards, self._array.chunks, strict=True)
        n = math.prod(shard // chunk for shard, chunk in sizes)
        length = 16 * n + _CRC
        assert self._codec is not None  # else no checksum is asked for
        first = self._codec["configuration"].get("index_location") == "start"
        at = 0 if first else max(0, size - length)
        index = os.pread(file, length, at)
        if len(index) < length:
            yield index
            return
        numbers = struct.unpack(f"<{2 * n}Q", index[:-_CRC])
        for offset, n_bytes in zip(numbers[::2], numbers[1::2], strict=True):
            if offset == _ABSENT:
                yield b"-"
            elif n_bytes < _CRC or offset + n_bytes > size:
                yield b"!"  # reading it names what is wrong
            else:
                yield os.pread(file, _CRC, offset + n_bytes - _CRC)


def files_of(arrays: Iterable[Any], path: str) -> dict[str, CountFiles]:
    """Return the files of each array by its name.

    Not of arrays in more files than can be looked at soon, or of which nothing is known.

    Parameters
    ----------
    path
        Of the atlas: a place inside a file or store is cut off.
    """
    by_name = {}
    for array in arrays:
        if not math.prod(array.shape) > 0:
            continue
        files = CountFiles(array, "" if _is_local(array) else _file_of(path))
        if files.total <= _MOST and files.stamp is not None:
            by_name[chunks.name_of(array)] = files
    return by_name


def _file_of(url: str) -> str:
    """Return the URL of an HDF5 file without a place inside it."""
    address, query, rest = url.partition("?")
    inside = _HDF5_FILE.search(address)
    return (address[: inside.end(1)] if inside else address) + query + rest


def _is_local(array: Any) -> bool:
    if isinstance(array, zarr.Array):
        return isinstance(array.store, LocalStore)
    return Path(os.fsdecode(array.file.filename)).is_file()


def _of(digests: str, group: int) -> str:
    return digests[group * _DIGITS : (group + 1) * _DIGITS]


def _is_noted(noted: Any, groups: int) -> TypeGuard[dict[str, str]]:
    return (
        isinstance(noted, dict)
        and all(isinstance(noted.get(k), str) for k in ("layout", "times", "checksums"))
        and len(noted["times"]) == _DIGITS * groups
    )
