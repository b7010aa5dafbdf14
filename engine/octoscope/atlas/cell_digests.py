"""Digests of counts as they are read, a few cells at a time; the layout of the store is no matter.

CRC32C, as Zarr guards chunks with: it sees what changes by mistake. Counts are digested in the form
in which models get them, so a converted atlas keeps its digests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeGuard

import numpy as np
from google_crc32c import extend
from scipy import sparse

BLOCK = 32  # cells at most: digested one by one, the calls would cost more than the digest
_DIGITS = 16  # of a block: 8 of its values, 8 of its genes

VALUES, GENES = "values", "genes"


class CellDigests:
    """Digests of cells in reading order, in blocks.

    Parameters
    ----------
    first
        Position of the first cell.
    cuts
        Positions where blocks end too: two readings with the same cuts have the same blocks where
        they overlap.
    block
        Blocks end at its multiples.
    """

    def __init__(self, first: int = 0, cuts: Iterable[int] = (), block: int = BLOCK) -> None:
        self._first, self._at, self._block = first, first, block
        self._cuts = sorted({c for c in cuts if c > first}, reverse=True)
        self._ends: list[int] = []
        self._done: list[str] = []
        self._values = self._genes = 0
        self._lengths = b""  # of cells: where one ends and the next begins

    def add(self, counts: sparse.csr_matrix) -> None:
        """Digest the next cells: [cells, genes] float32 CSR, canonical."""
        # int32 whatever the batch was read with, so that equal cells have equal digests
        data, indices = counts.data, counts.indices.astype(np.int32, copy=False)
        lengths = np.diff(counts.indptr).astype(np.int32).tobytes()
        ends, row, n = counts.indptr.tolist(), 0, counts.shape[0]
        while row < n:
            end = self._end()
            stop = min(n, row + end - self._at)
            part = slice(ends[row], ends[stop])
            self._values = extend(self._values, data[part])
            self._genes = extend(self._genes, indices[part])
            self._lengths += lengths[4 * row : 4 * stop]
            self._at += stop - row
            row = stop
            if self._at == end:
                self._close()

    def _end(self) -> int:
        """Return where the present block ends."""
        while self._cuts and self._cuts[-1] <= self._at:
            self._cuts.pop()
        grid = self._at - self._at % self._block + self._block
        return min(grid, self._cuts[-1]) if self._cuts else grid

    def _close(self) -> None:
        genes = extend(self._genes, self._lengths)
        self._ends.append(self._at)
        self._done.append(f"{self._values:08x}{genes:08x}")
        self._values, self._genes, self._lengths = 0, 0, b""

    def as_json(self) -> dict[str, Any]:
        """Return the first position, the end of each block, and the digests of all blocks."""
        if self._at > (self._ends[-1] if self._ends else self._first):
            self._close()
        return {"first": self._first, "ends": self._ends, "crc32c": "".join(self._done)}


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[tuple[int, int, str]]:
    """Return (first, stop, what) of the blocks that two readings have in common and read otherwise.

    ``what``: ``values`` if counts differ; ``genes`` if only the genes that have them do.
    """
    here = {(first, stop): digest for first, stop, digest in _blocks(other)}
    return [
        (first, stop, GENES if here[first, stop][:8] == digest[:8] else VALUES)
        for first, stop, digest in _blocks(one)
        if here.get((first, stop), digest) != digest
    ]


def is_reading(read: Any) -> TypeGuard[dict[str, Any]]:
    """Tell whether a value is what :meth:`CellDigests.as_json` returns."""
    return (
        isinstance(read, dict)
        and type(read.get("first")) is int
        and isinstance(read.get("ends"), list)
        and all(type(end) is int for end in read["ends"])
        and isinstance(read.get("crc32c"), str)
        and len(read["crc32c"]) == _DIGITS * len(read["ends"])
    )


def _blocks(read: dict[str, Any]) -> Iterator[tuple[int, int, str]]:
    first, digests = read["first"], read["crc32c"]
    for i, end in enumerate(read["ends"]):
        yield first, end, digests[i * _DIGITS : (i + 1) * _DIGITS]
        first = end
