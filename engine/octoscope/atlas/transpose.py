"""A matrix that is stored by column (CSC), written again by row in bounded memory.

The first pass over the row numbers counts the values of each row. Each further pass reads the whole
matrix and keeps the values of as many rows as fit into memory. Columns come in order, so a row's
columns are in order too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from octoscope.atlas import chunks, open_store
from octoscope.atlas.counts import candidates, count_fault, empty_text, look_for_counts
from octoscope.atlas.frame_columns import attribute
from octoscope.config import AtlasConfig
from octoscope.errors import InputError

_BLOCK = 1 << 20  # values read at a time
_VALUE = 32  # bytes that a kept value takes while it is sorted
_CHUNK = 1 << 17  # values


def csc_location(root: Any, config: AtlasConfig) -> str | None:
    """Return where counts by column are, if no place holds counts by row."""
    by_column = None
    for name in candidates(config):
        try:
            rows, problem = look_for_counts(root, name, config)
        except open_store.LayoutError:
            node = open_store.element(root, name, config.path)
            if by_column is None and attribute(node, "encoding-type") == "csc_matrix":
                values = chunks.required(node, "data", config.path)[:_BLOCK]
                whole = config.fractional_counts == "refuse"
                by_column = name if count_fault(values, whole=whole) is None else None
            continue
        if rows is not None and problem is None:
            return None
    return by_column


def by_row(
    root: Any, name: str, config: AtlasConfig, folder: Path, limit: float
) -> open_store.SparseRows:
    """Write the matrix at ``name`` by row into a new Zarr store, and open it.

    Parameters
    ----------
    folder
        Of the new store; what is there is replaced.
    limit
        Memory in bytes for the values of one pass.

    Raises
    ------
    DamageError
        If a chunk is missing or damaged, or a row number is out of range.
    """
    source = _Columns(root, name, config)
    lengths = np.zeros(source.shape[0], np.int64)
    for _, rows, _ in source.blocks(values=False):
        lengths += np.bincount(rows, minlength=len(lengths))
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    group = zarr.open_group(folder, mode="w", zarr_format=3)
    group.attrs.update({"encoding-type": "csr_matrix", "shape": list(source.shape)})
    arrays = {
        part: group.create_array(
            part, shape=(size,), dtype=kind, chunks=(max(1, min(size, _CHUNK)),),
            compressors=[ZstdCodec(level=1), Crc32cCodec()], config={"write_empty_chunks": True},
        )
        for part, size, kind in (
            ("indptr", len(indptr), np.dtype("i8")),
            ("data", int(indptr[-1]), source.dtype),
            ("indices", int(indptr[-1]), np.dtype("i4")),
        )
    }  # fmt: skip
    arrays["indptr"][:] = indptr
    first, most = 0, max(1, int(limit / _VALUE))
    while first < len(lengths):
        # at least one row, whatever it takes
        stop = int(np.searchsorted(indptr, indptr[first] + most, side="right")) - 1
        stop = min(max(stop, first + 1), len(lengths))
        low, high = int(indptr[first]), int(indptr[stop])
        if high > low:
            data, columns = source.rows(first, stop, indptr)
            arrays["data"][low:high], arrays["indices"][low:high] = data, columns
        first = stop
    return open_store.SparseRows(group, str(folder))


class _Columns:
    """The parts of a CSC matrix on disk, checked as they are read."""

    def __init__(self, root: Any, name: str, config: AtlasConfig) -> None:
        group = open_store.element(root, name, config.path)
        assert group is not None
        self._path, self._fill = config.path, config.fill_missing
        self.shape = tuple(int(n) for n in group.attrs["shape"])
        if 0 in self.shape:
            where, problem = f"{config.path}: {name}", empty_text(self.shape)
            raise InputError(where, problem, "name the place of the counts in atlas.counts")
        self._data, self._rows, pointers = (
            chunks.required(group, part, config.path) for part in ("data", "indices", "indptr")
        )
        self._starts = chunks.read_rows(config.path, pointers).astype(np.int64)
        size = int(self._data.shape[0])
        fault = open_store.indptr_fault(self._starts, self.shape[1], size, of="column")
        if fault is not None or self._rows.shape != (size,):
            where = f"{config.path}: {chunks.name_of(pointers)}"
            problem = fault or f"{self._rows.shape[0]} row numbers for {size} values"
            raise InputError(where, problem, chunks.RESTORE)
        self.dtype = self._data.dtype

    def blocks(self, *, values: bool) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
        """Yield (place of the first value, row numbers, values) of runs of whole chunks."""
        size, chunk = int(self._data.shape[0]), chunks.grid_of(self._data)[0]
        step = max(1, _BLOCK // chunk) * chunk
        for low in range(0, size, step):
            high = min(low + step, size)
            rows = chunks.read_rows(self._path, self._rows, low, high)
            fault = chunks.range_fault(rows, 0, self.shape[0])
            if fault is not None:
                at = (low + fault[0]) // chunks.grid_of(self._rows)[0]
                raise chunks.damage(self._path, self._rows, (at,), fault[1])
            yield low, rows, self._values(low, high, chunk) if values else None

    def _values(self, low: int, high: int, chunk: int) -> np.ndarray:
        data = chunks.read_rows(self._path, self._data, low, high, fill_missing=self._fill)
        for at in range(0, len(data), chunk):
            part = data[at : at + chunk]
            if not self._fill and open_store.unsure_zeros(self._data, part):
                raise open_store.unsure(self._path, self._data, ((low + at) // chunk,))
        return data

    def rows(self, first: int, stop: int, indptr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return values and columns of rows [first, stop), row after row."""
        base = int(indptr[first])
        free = indptr[first:stop] - base  # where the next value of each row goes
        total = int(indptr[stop]) - base
        data, columns = np.empty(total, self.dtype), np.empty(total, np.int32)
        for low, rows, values in self.blocks(values=True):
            assert values is not None
            mine = np.flatnonzero((rows >= first) & (rows < stop))
            if not len(mine):
                continue
            row = rows[mine].astype(np.int64) - first
            order = np.argsort(row, kind="stable")
            row, at = row[order], mine[order]
            many = np.bincount(row, minlength=len(free))
            begins = np.cumsum(many) - many
            to = free[row] + np.arange(len(row)) - begins[row]
            data[to] = values[at]
            columns[to] = np.searchsorted(self._starts, low + at, side="right") - 1
            free += many
        return data, columns
