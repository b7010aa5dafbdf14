"""Opening an AnnData store, Zarr (v2, v3; any fsspec URL) or h5ad, and reading rows of counts.

Nothing is read from a chunk that is absent or cannot be decoded (:mod:`engine.atlas.chunks`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr

from engine.atlas import blosc, chunks
from engine.errors import InputError

blosc.register()


def open_group(path: str) -> Any:
    """Open the root group read-only.

    Raises
    ------
    InputError
        If nothing is there, or it is neither Zarr nor HDF5, or not AnnData.
    """
    if path.endswith((".h5ad", ".h5")):
        try:
            group: Any = h5py.File(path, "r")
        except FileNotFoundError:
            raise InputError(path, "does not exist", "check atlas.path") from None
        except OSError as error:
            raise InputError(path, f"not an HDF5 file ({error})", "check atlas.path") from None
    else:
        if "://" not in path and not Path(path).exists():
            raise InputError(path, "does not exist", "check atlas.path")
        try:
            group = zarr.open_group(path, mode="r")
        except (ValueError, KeyError, OSError, ImportError, TypeError) as error:
            raise InputError(
                path,
                f"not a Zarr group ({type(error).__name__}: {str(error)[:100]})",
                "give an AnnData store in Zarr, or an .h5ad file",
            ) from None
    missing = [name for name in ("X", "obs", "var") if chunks.member(group, name, path) is None]
    if missing == ["X"] and ("raw" in group or "layers" in group):
        missing = []
    if missing:
        raise InputError(path, f"no {', '.join(missing)} in it", "write it with anndata.write_zarr")
    return group


class LayoutError(InputError):
    """A matrix is stored in a way that rows cannot be read from; nothing is damaged."""


def element(root: Any, name: str, path: str) -> Any | None:
    """Return the group or array at ``name`` (``X``, ``raw.X``, ``layers/counts``), or None."""
    return chunks.member(root, "raw/X" if name == "raw.X" else name, path)


@dataclass
class ReadCost:
    """Elements (or bytes) decoded and used, to show what the layout of a store costs."""

    read: int = 0
    needed: int = 0


class SparseRows:
    """Row access to a CSR matrix on disk: whole chunks, each decoded once while in the window.

    An absent chunk is refused, and so is one of zeros only (:func:`zeros_fault`).

    Parameters
    ----------
    group
        Group with ``data``, ``indices`` and ``indptr``.
    path
        The store, for messages.
    window
        Chunks of ``data`` and ``indices`` that are kept decoded.
    """

    def __init__(self, group: Any, path: str, window: int = 8) -> None:
        self.shape = tuple(int(n) for n in group.attrs["shape"])
        self._path = path
        self._data, self._indices, pointers = (
            chunks.required(group, name, path) for name in ("data", "indices", "indptr")
        )
        self.indptr = chunks.read_rows(path, pointers).astype(np.int64)
        size = self._data.shape[0]
        fault = indptr_fault(self.indptr, self.shape[0], size)
        if fault is not None or self._indices.shape != (size,):
            raise InputError(
                f"{path}: {chunks.name_of(pointers)}",
                fault or f"{self._indices.shape[0]} indices for {size} values",
                chunks.RESTORE,
            )
        self._chunk = chunks.grid_of(self._data)[0]
        self._window = window
        self._cache: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.cost = ReadCost()

    def place(self, row: int, nth: int, column: int) -> str:
        """Return the chunk that holds the ``nth`` stored value of a row."""
        at = int(self.indptr[row]) + nth
        return chunks.place_of(self._data, (at // chunks.grid_of(self._data)[0],))

    def _load(self, first: int, last: int) -> None:
        """Decode chunks ``first`` to ``last`` with one read per array, unless all are there."""
        for chunk in list(self._cache):
            if chunk < first or chunk > last:
                if len(self._cache) <= self._window:
                    break
                del self._cache[chunk]
        missing = [c for c in range(first, last + 1) if c not in self._cache]
        while missing:
            run = [missing.pop(0)]
            while missing and missing[0] == run[-1] + 1:
                run.append(missing.pop(0))
            lo = run[0] * self._chunk
            hi = min((run[-1] + 1) * self._chunk, int(self._data.shape[0]))
            data = chunks.read_rows(self._path, self._data, lo, hi)
            indices = chunks.read_rows(self._path, self._indices, lo, hi)
            fault = chunks.range_fault(indices, 0, self.shape[1])
            if fault is not None:
                raise self._damage(self._indices, lo + fault[0], fault[1])
            self.cost.read += hi - lo
            for c in run:
                at = c * self._chunk
                part = slice(at - lo, at - lo + self._chunk)
                for array, values, pointers in (
                    (self._data, data[part], None),
                    (self._indices, indices[part], self.indptr),
                ):
                    zeros = zeros_fault(values, at, pointers)
                    if zeros is not None:
                        raise self._damage(array, at, zeros)
                self._cache[c] = (data[part], indices[part])

    def _damage(self, array: Any, at: int, problem: str) -> chunks.DamageError:
        return chunks.damage(self._path, array, (at // chunks.grid_of(array)[0],), problem)

    def cost_of(self, rows: np.ndarray) -> ReadCost:
        """Return the bytes that reading ascending rows once decodes and uses; reads nothing."""
        starts, stops = self.indptr[rows], self.indptr[rows + 1]
        some = stops > starts
        # +1 where a row's first chunk comes, -1 after its last: chunks that any row touches
        edges = np.zeros(int(self.indptr[-1]) // self._chunk + 2, np.int64)
        np.add.at(edges, starts[some] // self._chunk, 1)
        np.add.at(edges, (stops[some] - 1) // self._chunk + 1, -1)
        touched = np.flatnonzero(np.cumsum(edges) > 0)
        sizes = np.minimum((touched + 1) * self._chunk, self.indptr[-1]) - touched * self._chunk
        each = self._data.dtype.itemsize + self._indices.dtype.itemsize
        return ReadCost(int(sizes.sum()) * each, int((stops - starts).sum()) * each)

    def rows(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ``data, indices, indptr`` of the given ascending rows."""
        starts, stops = self.indptr[rows], self.indptr[rows + 1]
        out_ptr = np.concatenate([[0], np.cumsum(stops - starts)])
        total = int(out_ptr[-1])
        data = np.empty(total, self._data.dtype)
        indices = np.empty(total, self._indices.dtype)
        self.cost.needed += total
        # Runs of rows whose chunks touch are read together.
        first_chunk = starts // self._chunk
        last_chunk = np.maximum(first_chunk, (stops - 1) // self._chunk)
        at = 0
        while at < len(rows):
            end = at + 1
            while end < len(rows) and first_chunk[end] <= last_chunk[end - 1] + 1:
                end += 1
            occupied = [i for i in range(at, end) if stops[i] > starts[i]]
            if occupied:
                self._load(int(first_chunk[occupied[0]]), int(last_chunk[occupied[-1]]))
            for i in occupied:
                pos, out = int(starts[i]), int(out_ptr[i])
                while pos < stops[i]:
                    chunk = pos // self._chunk
                    take = int(min(stops[i], (chunk + 1) * self._chunk) - pos)
                    source = slice(pos - chunk * self._chunk, pos - chunk * self._chunk + take)
                    data[out : out + take] = self._cache[chunk][0][source]
                    indices[out : out + take] = self._cache[chunk][1][source]
                    pos, out = pos + take, out + take
            at = end
        return data, indices, out_ptr


def zeros_fault(values: np.ndarray, first: int, indptr: np.ndarray | None = None) -> str | None:
    """Return what is wrong with a chunk of ``data`` (of ``indices``, if ``indptr``), or None.

    Zeros in place of a chunk are seen without asking the store, so inside a shard too: no value
    would be stored as 0, and of the values of a cell only one belongs to the first column.
    """
    if not len(values) or values.any():
        return None
    if indptr is not None:
        ends = np.searchsorted(indptr, (first, first + len(values)), side="right")
        if len(values) <= int(ends[1] - ends[0]) + 1:
            return None
    return "holds zeros only, as a missing chunk does"


def indptr_fault(indptr: np.ndarray, rows: int, size: int) -> str | None:
    """Return what is wrong with the row pointers of ``rows`` rows of ``size`` values, or None."""
    if len(indptr) != rows + 1:
        return f"{len(indptr)} row pointers for {rows} rows"
    falls = np.flatnonzero(np.diff(indptr) < 0)
    if len(falls):
        at = int(falls[0])
        return f"falls from {indptr[at]} to {indptr[at + 1]} at row {at}"
    if (indptr[0], indptr[-1]) != (0, size):
        return f"runs from {indptr[0]} to {indptr[-1]}, expected 0 to {size}"
    return None


class DenseRows:
    """Row access to a dense matrix on disk, in whole row chunks.

    An absent chunk is refused, although writers leave out chunks of zeros: a lost one reads the
    same, and real counts hardly ever fill a chunk with zeros (many cells without any count, or a
    block of genes that none of many cells expresses). A chunk of zeros that is there is read, and
    with ``may_lack`` an absent one too.
    """

    def __init__(self, array: Any, path: str, may_lack: bool = False) -> None:
        self.shape = tuple(int(n) for n in array.shape)
        self._array, self._path, self._may_lack = array, path, may_lack
        self._chunk = int(array.chunks[0]) if array.chunks else 256
        self._held: tuple[int, np.ndarray] | None = None
        self.cost = ReadCost()

    def place(self, row: int, nth: int, column: int) -> str:
        """Return the chunk that holds the value of a row in a column."""
        grid = chunks.grid_of(self._array)
        return chunks.place_of(self._array, (row // grid[0], column // grid[1]))

    def cost_of(self, rows: np.ndarray) -> ReadCost:
        """Return the bytes that reading ascending rows once decodes and uses; reads nothing."""
        chunks = np.unique(rows // self._chunk)
        read = np.minimum((chunks + 1) * self._chunk, self.shape[0]) - chunks * self._chunk
        each = self.shape[1] * self._array.dtype.itemsize
        return ReadCost(int(read.sum()) * each, len(rows) * each)

    def rows(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ``data, indices, indptr`` of the given ascending rows (zeros left out)."""
        block = np.empty((len(rows), self.shape[1]), self._array.dtype)
        for chunk in np.unique(rows // self._chunk):
            if self._held is None or self._held[0] != chunk:
                lo = int(chunk) * self._chunk
                hi = min(lo + self._chunk, self.shape[0])
                values = chunks.read_rows(self._path, self._array, lo, hi, may_lack=self._may_lack)
                self._held = (int(chunk), values)
                self.cost.read += values.size
            here = rows // self._chunk == chunk
            block[here] = self._held[1][rows[here] - int(chunk) * self._chunk]
        self.cost.needed += block.size
        row, column = np.nonzero(block)  # NaN counts as non-zero, so validation sees it
        counts = np.bincount(row, minlength=len(rows))
        return block[row, column], column, np.concatenate([[0], np.cumsum(counts)])


def open_rows(node: Any, path: str, *, may_lack: bool = False) -> SparseRows | DenseRows:
    """Choose the reader by the element's declared encoding; ``path`` is the store's.

    ``may_lack``: absent chunks of a dense matrix are zeros.

    Raises
    ------
    LayoutError
        For CSC (row reads would decode everything) and unknown encodings.
    DamageError
        If the row pointers cannot be read.
    """
    where = f"{path}: {chunks.name_of(node)}"
    encoding = node.attrs.get("encoding-type", "array")
    if encoding == "csr_matrix":
        return SparseRows(node, path)
    if encoding in ("array", "dense") and hasattr(node, "shape"):
        return DenseRows(node, path, may_lack)
    if encoding == "csc_matrix":
        raise LayoutError(
            where, "stored by column (CSC)", "store it by row: adata.X = adata.X.tocsr()"
        )
    raise LayoutError(where, f"unknown encoding {encoding!r}", "store counts as CSR or dense")
