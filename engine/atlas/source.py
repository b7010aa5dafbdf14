"""Reading arrays and tables of an AnnData store: Zarr (v2, v3; any fsspec URL) or h5ad."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import zarr
from anndata.io import read_elem

from engine.errors import InputError


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
    missing = [name for name in ("X", "obs", "var") if name not in group]
    if missing == ["X"] and ("raw" in group or "layers" in group):
        missing = []
    if missing:
        raise InputError(path, f"no {', '.join(missing)} in it", "write it with anndata.write_zarr")
    return group


class LayoutError(InputError):
    """A matrix is stored in a way that rows cannot be read from; nothing is damaged."""


def as_text(values: Any) -> np.ndarray:
    """Return any array of names (fixed width, variable width, categorical) as str objects."""
    return pd.Series(values).astype(str).to_numpy(dtype=object)


def frame_columns(group: Any) -> list[str]:
    """Return the column names of an AnnData data frame group."""
    return [str(c) for c in group.attrs.get("column-order", [])]


def read_index(group: Any) -> np.ndarray:
    """Return the index of a data frame group, [rows] str objects."""
    key = group.attrs.get("_index", "_index")
    return as_text(read_elem(group[key]))


def read_column(group: Any, name: str) -> pd.Series:
    """Return one column of a data frame group; only that column is read."""
    return pd.Series(read_elem(group[name]))


def element(root: Any, name: str) -> Any | None:
    """Return the group or array at ``name`` (``X``, ``raw.X``, ``layers/counts``), or None."""
    path = "raw/X" if name == "raw.X" else name
    return root.get(path, None)


@dataclass
class ReadCost:
    """Elements (or bytes) decoded and used, to show what the layout of a store costs."""

    read: int = 0
    needed: int = 0


class SparseRows:
    """Row access to a CSR matrix on disk: whole chunks, each decoded once while in the window.

    Parameters
    ----------
    group
        Group with ``data``, ``indices`` and ``indptr``.
    window
        Chunks of ``data`` and ``indices`` that are kept decoded.
    """

    def __init__(self, group: Any, window: int = 8) -> None:
        self.shape = tuple(int(n) for n in group.attrs["shape"])
        self.indptr = np.asarray(group["indptr"][:]).astype(np.int64)
        self._data, self._indices = group["data"], group["indices"]
        chunks = self._data.chunks
        self._chunk = int(chunks[0]) if chunks else max(1, int(self._data.shape[0]))
        self._window = window
        self._cache: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.cost = ReadCost()
        self._name = str(group.name)
        ends = (self.indptr[0], self.indptr[-1]) if len(self.indptr) else (-1, -1)
        fits = ends == (0, self._data.shape[0]) and self._data.shape == self._indices.shape
        if len(self.indptr) != self.shape[0] + 1 or not fits or (np.diff(self.indptr) < 0).any():
            raise InputError(
                f"{self._name}/indptr",
                "does not fit the shape, data or indices (a missing chunk reads as zeros)",
                "restore or rewrite the store",
            )

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
            data, indices = self._data[lo:hi], self._indices[lo:hi]
            self.cost.read += hi - lo
            for c in run:
                part = slice(c * self._chunk - lo, (c + 1) * self._chunk - lo)
                self._refuse_absent(c, data[part], indices[part])
                self._cache[c] = (data[part], indices[part])

    def _refuse_absent(self, chunk: int, data: np.ndarray, indices: np.ndarray) -> None:
        """Zarr reads a missing chunk as zeros: stored values of 0, or one column for all."""
        lo = chunk * self._chunk
        cells = np.searchsorted(self.indptr, (lo, lo + len(data)), side="right")
        repeated = len(indices) > int(cells[1] - cells[0]) + 1 and not indices.any()
        if (len(data) and not data.any()) or repeated:
            name = "indices" if data.any() else "data"
            raise InputError(
                f"{self._name}/{name}, chunk {chunk}",
                "holds zeros only, as a missing chunk does",
                "restore the chunk, or rewrite the store without explicit zeros",
            )

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


class DenseRows:
    """Row access to a dense matrix on disk, in whole row chunks."""

    def __init__(self, array: Any) -> None:
        self.shape = tuple(int(n) for n in array.shape)
        self._array = array
        self._chunk = int(array.chunks[0]) if array.chunks else 256
        self._held: tuple[int, np.ndarray] | None = None
        self.cost = ReadCost()

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
                values = np.asarray(self._array[lo : min(lo + self._chunk, self.shape[0])])
                self._held = (int(chunk), values)
                self.cost.read += values.size
            here = rows // self._chunk == chunk
            block[here] = self._held[1][rows[here] - int(chunk) * self._chunk]
        self.cost.needed += block.size
        row, column = np.nonzero(block)  # NaN counts as non-zero, so validation sees it
        counts = np.bincount(row, minlength=len(rows))
        return block[row, column], column, np.concatenate([[0], np.cumsum(counts)])


def open_rows(node: Any, where: str) -> SparseRows | DenseRows:
    """Choose the reader by the element's declared encoding.

    Raises
    ------
    LayoutError
        For CSC (row reads would decode everything) and unknown encodings.
    """
    encoding = node.attrs.get("encoding-type", "array")
    if encoding == "csr_matrix":
        return SparseRows(node)
    if encoding in ("array", "dense") and hasattr(node, "shape"):
        return DenseRows(node)
    if encoding == "csc_matrix":
        raise LayoutError(
            where, "stored by column (CSC)", "store it by row: adata.X = adata.X.tocsr()"
        )
    raise LayoutError(where, f"unknown encoding {encoding!r}", "store counts as CSR or dense")
