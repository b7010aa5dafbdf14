"""Reading rows of counts from the matrices of an AnnData store, CSR or dense.

Nothing is read from a chunk that is missing or cannot be decoded (:mod:`octoscope.atlas.chunks`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from octoscope.atlas import blosc, chunks, codec_pipeline
from octoscope.atlas.frame_columns import REWRITE, attribute, refuse_unknown_frame
from octoscope.errors import InputError, reading

_RUN = 1 << 21  # values read at a time: 16 chunks as `atlas convert` writes them

blosc.register()
codec_pipeline.register()


def open_frame(root: Any, name: str, path: str) -> Any:
    """Return the group of a data frame, ``obs``, ``var`` or ``raw/var``.

    Raises
    ------
    InputError
        If it is not there, or not stored as a frame that columns can be read from.
    """
    frame = chunks.required(root, name, path)
    refuse_unknown_frame(frame, path)
    return frame


class LayoutError(InputError):
    """A matrix is stored in a way that rows cannot be read from; nothing is damaged."""


def element(root: Any, name: str, path: str) -> Any | None:
    """Return the group or array at ``name`` (``X``, ``raw.X``, ``layers/counts``), or None."""
    if name != "raw.X":
        return chunks.member(root, name, path)
    raw_matrix = chunks.member(
        root, "raw/X", path
    )  # anndata 0.7.0 and earlier: `raw.X` in the root
    return chunks.member(root, "raw.X", path) if raw_matrix is None else raw_matrix


def genes_of(root: Any, counts: str, path: str) -> Any:
    """Return the data frame of the genes of the counts: ``var``, or that of ``raw``.

    Raises
    ------
    InputError
        If it is not there, or not stored as a frame that columns can be read from.
    """
    if counts != "raw.X":
        return open_frame(root, "var", path)
    old = chunks.member(root, "raw/X", path) is None
    return open_frame(root, "raw.var" if old else "raw/var", path)


@dataclass
class ReadCost:
    """Elements (or bytes) decoded and used, to show what the layout of a store costs."""

    read: int = 0
    needed: int = 0


class SparseRows:
    """Row access to a CSR matrix on disk: whole chunks, each decoded once while in the window.

    A missing chunk is refused, and so are zeros that may stand for lost bytes (:func:`zeros_fault`,
    :func:`unsure_zeros`). With ``fill_missing``, missing chunks of ``data`` are zeros.

    Parameters
    ----------
    group
        Group with ``data``, ``indices`` and ``indptr``.
    path
        The store, for messages.
    window
        Chunks of ``data`` and ``indices`` that are kept decoded.
    """

    def __init__(
        self, group: Any, path: str, window: int = 8, *, fill_missing: bool = False
    ) -> None:
        self._may_lack = fill_missing
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
        self._quick = tuple(codec_pipeline.quick(a) for a in (self._data, self._indices))
        if fill_missing:  # some faster readers take an empty object for a missing chunk
            self._quick = (None, self._quick[1])
        self._chunk = chunks.grid_of(self._data)[0]
        self._window = window
        self._cache: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.cost = ReadCost()

    @property
    def arrays(self) -> tuple[Any, ...]:
        """The arrays of values and of their columns."""
        return self._data, self._indices

    def chunk_of(self, row: int, nth: int, column: int) -> str:
        """Return the chunk that holds the ``nth`` stored value of a row."""
        at = int(self.indptr[row]) + nth
        return chunks.chunk_name(self._data, (at // chunks.grid_of(self._data)[0],))

    def chunk_names(self, rows: np.ndarray, *, genes: bool = False) -> list[str]:
        """Return the chunks that hold the values of rows, or with ``genes`` the genes of them."""
        array = self._indices if genes else self._data
        size = chunks.grid_of(array)[0]
        spans = zip(self.indptr[rows].tolist(), self.indptr[rows + 1].tolist(), strict=True)
        numbers = {c for lo, hi in spans for c in range(lo // size, max(hi - 1, lo) // size + 1)}
        return [chunks.chunk_name(array, (c,)) for c in sorted(numbers)]

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
            data, indices = (
                chunks.read_rows(self._path, array, lo, hi, through=through, fill_missing=fill)
                for array, through, fill in zip(
                    (self._data, self._indices), self._quick, (self._may_lack, False), strict=True
                )
            )
            fault = chunks.range_fault(indices, 0, self.shape[1])
            if fault is not None:
                raise self._damage(self._indices, lo + fault[0], fault[1])
            self.cost.read += hi - lo
            for c in run:
                at = c * self._chunk
                part = slice(at - lo, at - lo + self._chunk)
                zeros = zeros_fault(indices[part], at, self.indptr)
                if zeros is not None:
                    raise self._damage(self._indices, at, zeros)
                if not self._may_lack and unsure_zeros(self._data, data[part]):
                    raise unsure(self._path, self._data, (c,))
                self._cache[c] = (data[part], indices[part])

    def _trim(self, last: int) -> None:
        """Keep the last chunk only, on its own, where a long run was read: its arrays are large."""
        if len(self._cache) > self._window:
            data, indices = self._cache[last]
            self._cache = {last: (data.copy(), indices.copy())}

    def _damage(self, array: Any, at: int, problem: str) -> chunks.DamageError:
        return chunks.damage(self._path, array, (at // chunks.grid_of(array)[0],), problem)

    def decoded(self, rows: np.ndarray) -> np.ndarray:
        """Return how many values reading ascending rows has decoded after each; reads nothing."""
        starts, stops = self.indptr[rows], self.indptr[rows + 1]
        first = starts // self._chunk
        last = np.where(stops > starts, (stops - 1) // self._chunk, -1)
        before = np.maximum.accumulate(np.concatenate([[-1], last]))[:-1]
        return np.cumsum(np.maximum(last - np.maximum(first - 1, before), 0)) * self._chunk

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
        done = 0
        for first, last, spans in self._runs(starts, stops):
            self._load(first, last)
            for lo, hi in spans:
                while lo < hi:
                    chunk = lo // self._chunk
                    at = lo - chunk * self._chunk
                    take = min(hi - lo, self._chunk - at)
                    values, columns = self._cache[chunk]
                    data[done : done + take] = values[at : at + take]
                    indices[done : done + take] = columns[at : at + take]
                    lo, done = lo + take, done + take
            self._trim(last)
        return data, indices, out_ptr

    def _runs(
        self, starts: np.ndarray, stops: np.ndarray
    ) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
        """Yield chunks to be read together, first and last, and the ranges of values in them.

        Rows that lie one after the other are one range, cut where a run would become too long.
        """
        some = stops > starts
        starts, stops = starts[some], stops[some]
        if not len(starts):
            return
        breaks = np.flatnonzero(starts[1:] != stops[:-1]) + 1
        lows, highs = starts[np.r_[0, breaks]], stops[np.r_[breaks, len(stops)] - 1]
        longest = max(1, _RUN // self._chunk) * self._chunk
        first = last = -1
        spans: list[tuple[int, int]] = []
        for lo, hi in zip(lows.tolist(), highs.tolist(), strict=True):
            while lo < hi:
                chunk = lo // self._chunk
                if spans and (chunk > last + 1 or lo >= first * self._chunk + longest):
                    yield first, last, spans
                    spans = []
                if not spans:
                    first = chunk
                end = min(hi, first * self._chunk + longest)
                spans.append((lo, end))
                last, lo = (end - 1) // self._chunk, end
        yield first, last, spans


def zeros_fault(values: np.ndarray, first: int, indptr: np.ndarray) -> str | None:
    """Return what is wrong with a chunk of ``indices``, or None.

    Zeros in place of a chunk are seen without asking the store, so inside a shard too: of the
    values of a cell only one belongs to the first column.
    """
    if _has_some(values):
        return None
    ends = np.searchsorted(indptr, (first, first + len(values)), side="right")
    if len(values) <= int(ends[1] - ends[0]) + 1:
        return None
    return "holds zeros only, as a missing chunk does"


def _has_some(values: np.ndarray) -> bool:
    return bool(not len(values) or values[0] or values[-1] or values.any())  # two settle most


def unsure_zeros(array: Any, values: np.ndarray) -> bool:
    """Tell whether a chunk of ``data`` is all zeros and nothing says that they were written so.

    Writers that mask counts store zeros. Where the array is compressed or has a checksum, a chunk
    that is there and decodes was written; elsewhere zeros may stand for bytes that were lost.
    """
    return not _has_some(values) and not chunks.is_encoded(array)


UNSURE = "holds zeros only, without compression or checksum: stored zeros, or bytes that were lost"


def unsure(path: str, array: Any, chunk: chunks.Chunk) -> InputError:
    """Return the error that names such a chunk."""
    return chunks.DamageError(
        f"{path}: {chunks.chunk_name(array, chunk)}",
        UNSURE,
        "if they are stored zeros (masked counts): adata.X.eliminate_zeros() and write it again, "
        "or set atlas.missing_chunks: fill (--missing-chunks fill); else restore it from a copy",
    )


def indptr_fault(indptr: np.ndarray, n: int, size: int, *, of: str = "row") -> str | None:
    """Return what is wrong with the pointers of ``n`` rows (or columns) of ``size`` values."""
    if len(indptr) != n + 1:
        return f"{len(indptr)} {of} pointers for {n} {of}s"
    falls = np.flatnonzero(np.diff(indptr) < 0)
    if len(falls):
        at = int(falls[0])
        return f"falls from {indptr[at]} to {indptr[at + 1]} at {of} {at}"
    if (indptr[0], indptr[-1]) != (0, size):
        return f"runs from {indptr[0]} to {indptr[-1]}, expected 0 to {size}"
    return None


class DenseRows:
    """Row access to a dense matrix on disk, in whole row chunks.

    A missing chunk is refused, although writers leave out chunks of zeros. A lost one reads the
    same, and real counts hardly ever fill a chunk with zeros (many cells without any count, or a
    block of genes that none of many cells expresses). A chunk of zeros that is there is read, and
    with ``fill_missing`` a missing one too.
    """

    def __init__(self, array: Any, path: str, fill_missing: bool = False) -> None:
        self.shape = tuple(int(n) for n in array.shape)
        self._array, self._path, self._may_lack = array, path, fill_missing
        self._chunk = int(array.chunks[0]) if array.chunks else 256
        self._decoded: tuple[int, np.ndarray] | None = None
        self.arrays: tuple[Any, ...] = (array,)
        self.cost = ReadCost()

    def decoded(self, rows: np.ndarray) -> np.ndarray:
        """Return how many values reading ascending rows has decoded after each; reads nothing."""
        chunk = rows // self._chunk
        new = np.concatenate([[True], chunk[1:] != chunk[:-1]])[: len(rows)]
        return np.cumsum(new) * self._chunk * self.shape[1]

    def chunk_of(self, row: int, nth: int, column: int) -> str:
        """Return the chunk that holds the value of a row in a column."""
        grid = chunks.grid_of(self._array)
        return chunks.chunk_name(self._array, (row // grid[0], column // grid[1]))

    def chunk_names(self, rows: np.ndarray, *, genes: bool = False) -> list[str]:
        """Return the chunks that hold rows."""
        grid = chunks.grid_of(self._array)
        across = range(-(-self.shape[1] // grid[1]))
        numbers = np.unique(rows // grid[0]).tolist()
        return [chunks.chunk_name(self._array, (c, k)) for c in numbers for k in across]

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
            if self._decoded is None or self._decoded[0] != chunk:
                lo = int(chunk) * self._chunk
                hi = min(lo + self._chunk, self.shape[0])
                values = chunks.read_rows(
                    self._path, self._array, lo, hi, fill_missing=self._may_lack
                )
                self._decoded = (int(chunk), values)
                self.cost.read += values.size
            here = rows // self._chunk == chunk
            block[here] = self._decoded[1][rows[here] - int(chunk) * self._chunk]
        self.cost.needed += block.size
        row, column = np.nonzero(block)  # NaN counts as non-zero, so validation sees it
        counts = np.bincount(row, minlength=len(rows))
        return block[row, column], column, np.concatenate([[0], np.cumsum(counts)])


def open_rows(node: Any, path: str, *, fill_missing: bool = False) -> SparseRows | DenseRows:
    """Choose the reader by the element's declared encoding; ``path`` is the store's.

    ``fill_missing``: missing chunks of a dense matrix, or of the values of a sparse one, are zeros.

    Raises
    ------
    LayoutError
        For CSC (row reads would decode everything) and unknown encodings.
    DamageError
        If the row pointers cannot be read.
    """
    where = f"{path}: {chunks.name_of(node)}"
    with reading(where, chunks.RESTORE):
        return _opened(node, path, where, fill_missing)


def _opened(node: Any, path: str, where: str, fill_missing: bool) -> SparseRows | DenseRows:
    encoding = attribute(node, "encoding-type", "array")
    if encoding == "csr_matrix":
        return SparseRows(node, path, fill_missing=fill_missing)
    if encoding in ("array", "dense") and hasattr(node, "shape"):
        if len(node.shape) != 2:
            dimensions = f"{len(node.shape)} instead of 2 dimensions"
            raise LayoutError(where, dimensions, "store counts as cells x genes")
        return DenseRows(node, path, fill_missing)
    if encoding == "csc_matrix":
        raise LayoutError(
            where,
            "stored by column (CSC)",
            "`octoscope atlas convert` transposes it; or store it by row: adata.X.tocsr()",
        )
    if "h5sparse_format" in node.attrs:
        raise LayoutError(where, "a sparse matrix as anndata 0.6 and earlier wrote it", REWRITE)
    raise LayoutError(where, f"unknown encoding {encoding!r}", "store counts as CSR or dense")
