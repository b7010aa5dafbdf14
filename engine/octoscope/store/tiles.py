"""Gene by gene arrays on disk: Zarr v3, row tiles, CRC32C, every chunk written."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.codecs import Crc32cCodec, ZstdCodec

from octoscope.errors import DamagedRunError
from octoscope.row_blocks import row_ranges


def create_array(store: Store, name: str, shape: tuple[int, ...], dtype: str, tile: int) -> Any:
    """Create an array [..., rows, genes] in chunks of one leading index and ``tile`` rows.

    Empty chunks are written too, so that a chunk that is absent is always damage.
    """
    lead = len(shape) - 2
    chunks = (1,) * lead + (max(1, min(tile, shape[-2])), max(1, shape[-1]))
    return zarr.open_group(store, mode="a", zarr_format=3).create_array(
        name,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        fill_value=0,
        compressors=[ZstdCodec(level=1), Crc32cCodec()],
        # of this array: zarr.config is the whole process's, and attempts may run in threads
        config={"write_empty_chunks": True},
    )


def write_rows(array: Any, first: int, values: np.ndarray) -> None:
    """Write rows [first, first + rows) of the last two axes; whole chunks only."""
    array[..., first : first + values.shape[-2], :] = values


def write_array(store: Store, name: str, values: np.ndarray, tile: int) -> None:
    """Create an array [..., rows, genes] and write all of it, row tile by row tile."""
    write_block(store, name, values, tile, (0, values.shape[-2]), values.shape[-2])


def write_block(
    store: Store, name: str, values: np.ndarray, tile: int, rows: tuple[int, int], n: int
) -> None:
    """Write rows of an array of ``n``, row tile by row tile; the block that is first creates it.

    Parameters
    ----------
    values
        [..., rows, genes].
    rows
        [first, stop) of them in the array, whole tiles.
    """
    if rows[0] == 0:
        shape = (*values.shape[:-2], n, values.shape[-1])
        array = create_array(store, name, shape, str(values.dtype), tile)
    else:
        array = zarr.open_group(store, mode="a", zarr_format=3)[name]
    for first, stop in row_ranges(values.shape[-2], tile):
        write_rows(array, rows[0] + first, values[..., first:stop, :])


def open_array(store: Store, name: str) -> Any:
    """Open an array read-only.

    Raises
    ------
    DamagedRunError
        If it is not there.
    """
    try:
        return zarr.open_group(store, mode="r")[name]
    except (KeyError, FileNotFoundError, ValueError) as error:
        raise DamagedRunError(f"{store}/{name}: cannot be opened ({error})") from None


def read_rows(array: Any, first: int, stop: int, lead: int | None = None) -> np.ndarray:
    """Read rows of the last two axes; ``lead``: of one index of the axis before them.

    Raises
    ------
    DamagedRunError
        If a chunk does not match its checksum. Zarr reads a chunk that is absent as zeros, so
        callers check the record's list of objects first (:func:`require_objects`).
    """
    try:
        rows = (slice(first, stop), slice(None))
        return np.asarray(array[..., *rows] if lead is None else array[..., lead, *rows])
    except (ValueError, RuntimeError) as error:
        raise DamagedRunError(f"{array.store_path}: {error}") from None
