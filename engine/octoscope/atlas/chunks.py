"""Chunks of an array on disk: which exist, which decode, and what is refused.

A chunk that is not in a Zarr store (or was never allocated in HDF5) reads as the fill value, and
writers leave out chunks that hold nothing else. A lost chunk and one left out cannot be told
apart, so a missing chunk is refused wherever its values matter.
"""

from __future__ import annotations

import itertools
import lzma
import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import h5py
import numpy as np
import zarr
from zarr.core.sync import sync

from octoscope.errors import InputError

# What decoders raise on damaged bytes.
BROKEN = (
    RuntimeError, ValueError, OSError, KeyError, TypeError, IndexError, AttributeError, EOFError,
    AssertionError, MemoryError, OverflowError, SystemError, struct.error, zlib.error,
    lzma.LZMAError,
)  # fmt: skip
ABSENT = "a missing chunk, which would be read as zeros"
GONE = "is not in the store"
RESTORE = "restore the store from a copy, or write it again"
RESTORE_ABSENT = (
    "restore the chunk; if a writer left it out because all of it is zero, write the array again "
    'with zarr.config.set({"array.write_empty_chunks": True}) (a dense matrix: as CSR), or set '
    "atlas.missing_chunks: fill (--missing-chunks fill)"
)

_CHECKSUMS = ("crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3", "gzip", "zlib")
_BLOCK = 1 << 20  # elements
_LARGE = 1 << 26  # bytes read at once, from which on the last chunk is looked for first

Chunk = tuple[int, ...]


class DamageError(InputError):
    """A chunk is missing, cannot be decoded, or has impossible values."""


class FilterError(InputError):
    """An array is compressed in a way that HDF5 cannot decode here; nothing is damaged."""


def name_of(array: Any) -> str:
    """Return the place of an array or group in its store, e.g. ``X/data``."""
    return str(array.name).strip("/")


def member(group: Any, name: str, path: str) -> Any | None:
    """Return an array or group inside a group, or None.

    Raises
    ------
    DamageError
        If its metadata cannot be read.
    FilterError
        If it is an array that HDF5 has no filter for.
    """
    try:
        node = group.get(name, None)
        _refuse_unknown_filters(node, path)
        return node
    except FilterError:
        raise
    except BROKEN as error:
        if is_transient(error):
            raise
        where = f"{path}: {f'{name_of(group)}/{name}'.strip('/')}"
        problem = f"its metadata {undecodable(error)}"
        raise DamageError(where, problem, RESTORE) from None


# HDF5 filters that hdf5plugin brings, by their registered numbers.
_FILTERS = {
    307: "bzip2",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32017: "sz",
    32026: "blosc2",
}


def _refuse_unknown_filters(node: Any, path: str) -> None:
    if not isinstance(node, h5py.Dataset):
        return
    creation = node.id.get_create_plist()
    for nth in range(creation.get_nfilters()):
        number, _, _, name = creation.get_filter(nth)
        if not h5py.h5z.filter_avail(number):
            known = _FILTERS.get(number) or name.decode(errors="replace") or "unknown"
            raise FilterError(
                f"{path}: {name_of(node)}",
                f"compressed with {known} (HDF5 filter {number}), which is not installed here",
                "pip install hdf5plugin (octoscope loads it), or write the file again with "
                'compression="gzip"',
            )


def required(group: Any, name: str, path: str) -> Any:
    """Return an array or group inside a group.

    Raises
    ------
    DamageError
        If it is not there, or its metadata cannot be read.
    """
    node = member(group, name, path)
    if node is None:
        raise DamageError(f"{path}: {name_of(group)}/{name}", GONE, RESTORE)
    return node


def key_of(array: Any, chunk: Chunk) -> str | None:
    """Return the key, under the array's, of a chunk's object (its shard's); None in HDF5."""
    if not isinstance(array, zarr.Array):
        return None
    if array.shards:
        sizes = zip(chunk, array.chunks, array.shards, strict=True)
        chunk = tuple(c * n // shard for c, n, shard in sizes)
    return str(array.metadata.encode_chunk_key(chunk))


def number_of(array: Any, chunk: Chunk) -> str:
    """Return a chunk's place in the grid, ``3`` or ``3.0``; the rows of a block of HDF5."""
    if array.chunks is not None:
        return ".".join(map(str, chunk))
    first = chunk[0] * grid_of(array)[0]
    return f"rows {first} to {min(first + grid_of(array)[0], array.shape[0]) - 1}"


def chunk_name(array: Any, chunk: Chunk) -> str:
    """Return the name of an array, its chunk and, in Zarr, the object that holds the chunk."""
    kind = "chunk " if array.chunks is not None else ""
    text = f"{name_of(array)}, {kind}{number_of(array, chunk)}"
    key = key_of(array, chunk)
    return text if key is None else f"{text} ({name_of(array)}/{key})"


def grid_of(array: Any) -> Chunk:
    """Return the shape of a chunk; of a block of rows where HDF5 stores the array in one piece."""
    if array.chunks is not None:
        return tuple(int(n) for n in array.chunks)
    width = max(1, math.prod(array.shape[1:]))
    return max(1, _BLOCK // width), *(max(1, int(n)) for n in array.shape[1:])


def chunks_of(array: Any, first: int = 0, stop: int | None = None) -> Iterator[Chunk]:
    """Yield the chunks that hold rows [first, stop), in order."""
    end = int(array.shape[0]) if stop is None else stop
    if 0 in array.shape or end <= first:
        return
    grid = grid_of(array)
    rows = range(first // grid[0], -(-end // grid[0]))
    rest = [range(-(-int(n) // c)) for n, c in zip(array.shape[1:], grid[1:], strict=True)]
    for row in rows:  # not a product with the others, which would hold them all
        for others in itertools.product(*rest):
            yield (row, *others)


def is_stored(array: Any, chunk: Chunk) -> bool:
    """Tell whether the object of a chunk (its shard) is in the store.

    Which chunks a shard holds is in its index, which carries a checksum: a chunk is lost with its
    shard, or its loss is noticed by the decoder.
    """
    key = key_of(array, chunk)
    if key is not None:
        return bool(sync((array.store_path / key).exists()))
    if array.chunks is None:
        return bool(array.id.get_storage_size() > 0)
    at = tuple(c * n for c, n in zip(chunk, array.chunks, strict=True))
    return array.id.get_chunk_info_by_coord(at).byte_offset is not None


def has_checksum(array: Any) -> bool:
    """Tell whether a codec of an array has a checksum, so that any changed bit is noticed."""
    if not isinstance(array, zarr.Array):
        return bool(array.fletcher32) or array.compression == "gzip"
    metadata = array.metadata.to_dict()
    if array.metadata.zarr_format == 2:
        return _is_checked([metadata["compressor"], *(metadata["filters"] or ())])
    return _is_checked(metadata["codecs"])


def _is_checked(codecs: Iterable[Any]) -> bool:
    """Look through codecs as Zarr v2 or v3 writes them, those inside shards too."""
    for codec in codecs:
        if codec is None:
            continue
        options = codec.get("configuration", codec)
        name = str(codec.get("name", codec.get("id"))).removeprefix("numcodecs.")
        if name in _CHECKSUMS or options.get("checksum") or _is_checked(options.get("codecs", ())):
            return True
    return False


def is_encoded(array: Any) -> bool:
    """Tell whether an array is compressed or checked, so that zeros in place of bytes are seen."""
    if not isinstance(array, zarr.Array):
        return bool(array.compression or array.fletcher32 or array.scaleoffset)
    if has_checksum(array):
        return True
    metadata = array.metadata.to_dict()
    if array.metadata.zarr_format == 2:
        return metadata["compressor"] is not None
    plain = ("bytes", "transpose", "vlen-utf8")
    inner = [c.get("configuration", {}).get("codecs", [c]) for c in metadata["codecs"]]
    return any(codec["name"] not in plain for codecs in inner for codec in codecs)


def is_uniform(values: np.ndarray) -> bool:
    """Tell whether all values are the same, as those of a missing chunk are."""
    first, last = values.flat[0], values.flat[-1]
    if first == last:
        # the first row alone settles most dense blocks
        return bool(np.all(values[0] == first) and (values == first).all())
    return bool(first != first and (values != values).all())  # NaN


def damage(path: str, array: Any, chunk: Chunk, problem: str) -> DamageError:
    """Return the error that names a chunk."""
    fix = RESTORE_ABSENT if problem == ABSENT else RESTORE
    return DamageError(f"{path}: {chunk_name(array, chunk)}", problem, fix)


def read_chunk(array: Any, chunk: Chunk) -> np.ndarray:
    """Decode one chunk; raises whatever its decoder raises."""
    sizes = zip(chunk, grid_of(array), array.shape, strict=True)
    part = tuple(slice(c * n, min((c + 1) * n, size)) for c, n, size in sizes)
    text = isinstance(array, h5py.Dataset) and h5py.check_string_dtype(array.dtype) is not None
    return np.asarray((array.asstr("utf-8") if text else array)[part])


def undecodable(error: BaseException) -> str:
    """Return the problem in words, from what a decoder raised."""
    first = str(error).strip().splitlines() or [""]
    return f"cannot be decoded: truncated or changed ({type(error).__name__}: {first[0][:160]})"


def is_transient(error: BaseException) -> bool:
    """Tell whether the system or the network failed, not the data: another try may succeed."""
    return isinstance(error, OSError) and error.errno is not None


def try_chunk(
    array: Any, chunk: Chunk, *, fill_missing: bool = False
) -> tuple[np.ndarray | None, str | None]:
    """Return the values of a chunk, or None and what is wrong with it."""
    try:
        values = read_chunk(array, chunk)
    except BROKEN as error:
        if is_transient(error):
            raise
        return None, undecodable(error)
    if not fill_missing and is_uniform(values) and not is_stored(array, chunk):
        return None, ABSENT
    return values, None


def read_rows(
    path: str, array: Any, first: int = 0, stop: int | None = None, *, fill_missing: bool = False,
    through: Any | None = None,
) -> np.ndarray:  # fmt: skip
    """Return rows [first, stop) of an array, all of whose chunks are there and decode.

    Whether a chunk is there is asked only where all values read from it are the same, so that a
    sound store costs no request. ``fill_missing``: missing chunks are zeros. ``through``: the array
    opened by a faster reader. Rows that it refuses, or whose values are all equal, are read as
    usual.

    Raises
    ------
    DamageError
        Naming the first chunk that is missing or cannot be decoded.
    """
    stop = int(array.shape[0]) if stop is None else stop
    if not fill_missing:
        require_end(path, array, first, stop)
    try:
        values = np.asarray((array if through is None else through)[first:stop])
    except BROKEN as error:
        if through is not None:
            return read_rows(path, array, first, stop, fill_missing=fill_missing)
        if is_transient(error):
            raise
        for chunk in chunks_of(array, first, stop):
            _, problem = try_chunk(array, chunk, fill_missing=fill_missing)
            if problem is not None:
                raise damage(path, array, chunk, problem) from None
        where = f"{path}: {name_of(array)}, rows {first} to {stop - 1}"
        raise DamageError(where, undecodable(error), RESTORE) from None
    grid = grid_of(array)
    for chunk in () if fill_missing else chunks_of(array, first, stop):
        lows = [c * n for c, n in zip(chunk, grid, strict=True)]
        ends = [low + n for low, n in zip(lows, grid, strict=True)]
        lows[0], ends[0] = max(0, lows[0] - first), ends[0] - first
        part = values[tuple(slice(low, end) for low, end in zip(lows, ends, strict=True))]
        if not is_uniform(part):
            continue
        if through is not None:  # an empty object is zeros to some readers
            return read_rows(path, array, first, stop, fill_missing=fill_missing)
        if not is_stored(array, chunk):
            raise damage(path, array, chunk, ABSENT)
    return values


def require_end(path: str, array: Any, first: int = 0, stop: int | None = None) -> None:
    """Refuse to make room for rows [first, stop) of which not even the last chunk is stored.

    An array may state any shape; what is missing reads as zeros, so that memory would fill. Small
    arrays are not asked for.

    Raises
    ------
    DamageError
        Naming the last chunk.
    """
    stop = int(array.shape[0]) if stop is None else stop
    size = (stop - first) * math.prod(int(n) for n in array.shape[1:]) * array.dtype.itemsize
    if size < _LARGE:
        return
    grid = grid_of(array)
    last = ((stop - 1) // grid[0],) + tuple(
        (int(n) - 1) // c for n, c in zip(array.shape[1:], grid[1:], strict=True)
    )
    if not is_stored(array, last):
        raise damage(path, array, last, ABSENT)


def range_fault(values: np.ndarray, low: int, stop: int) -> tuple[int, str] | None:
    """Return the position of the first value outside [low, stop) and what it is, or None."""
    if not len(values) or (values.min() >= low and values.max() < stop):
        return None
    at = int(np.argmax((values < low) | (values >= stop)))
    return at, f"holds {values[at]}, expected {low} to {stop - 1}"
