"""Digests of counts as they are read, a few cells at a time; the layout of the store is no matter.

They see what changes by mistake. Counts are digested in the form in which models get them, so a
converted atlas keeps its digests. XXH3 (https://xxhash.com) of 64 bits; runs that were planned with
CRC32C, which costs twice the time, go on with it: a reading names its kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeGuard

import numpy as np
from google_crc32c import extend
from scipy import sparse
from xxhash import xxh3_64

BLOCK = 32  # cells at most: digested one by one, the calls would cost more than the digest
XXH3, CRC32C = "xxh3", "crc32c"
_DIGITS = {XXH3: 16, CRC32C: 8}  # of one digest; a block has one of its values, one of its genes

VALUES, GENES = "values", "genes"


class _Crc32c:
    """CRC32C with the methods of ``xxh3_64``."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: np.ndarray) -> None:
        self._value = extend(self._value, data)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"

    def reset(self) -> None:
        self._value = 0


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
    kind
        ``xxh3`` or ``crc32c``; only readings of one kind can be compared.
    """

    def __init__(
        self, first: int = 0, cuts: Iterable[int] = (), block: int = BLOCK, kind: str = XXH3
    ) -> None:
        self._first, self._at, self._block, self._kind = first, first, block, kind
        self._cuts = sorted({c for c in cuts if c > first}, reverse=True)
        self._ends: list[int] = []
        self._done: list[str] = []
        new_digest = xxh3_64 if kind == XXH3 else _Crc32c
        self._values, self._genes = new_digest(), new_digest()
        self._lengths: list[Any] = []  # of cells: where one ends and the next begins

    def add(self, counts: sparse.csr_matrix) -> None:
        """Digest the next cells: [cells, genes] float32 CSR, canonical."""
        # int32 whatever the batch was read with, so that equal cells have equal digests
        data, indices = counts.data, counts.indices.astype(np.int32, copy=False)
        ends, row, n = counts.indptr, 0, counts.shape[0]
        lengths = np.diff(ends).astype(np.int32, copy=False)
        while row < n:
            end = self._end()
            stop = min(n, row + end - self._at)
            part = slice(int(ends[row]), int(ends[stop]))
            self._values.update(data[part])
            self._genes.update(indices[part])
            self._lengths.append(lengths[row:stop])
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
        for lengths in self._lengths:
            self._genes.update(lengths)
        self._ends.append(self._at)
        self._done.append(self._values.hexdigest() + self._genes.hexdigest())
        self._values.reset()
        self._genes.reset()
        self._lengths = []

    def as_json(self) -> dict[str, Any]:
        """Return the first position, the end of each block, and the digests of all blocks."""
        if self._at > (self._ends[-1] if self._ends else self._first):
            self._close()
        return {"first": self._first, "ends": self._ends, self._kind: "".join(self._done)}


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[tuple[int, int, str]]:
    """Return (first, stop, what) of the blocks that two readings have in common and read otherwise.

    ``what``: ``values`` if counts differ; ``genes`` if only the genes that have them do. Readings
    of two kinds have nothing in common.
    """
    kind = kind_of(one)
    if kind_of(other) != kind:
        return []
    here = {(first, stop): digest for first, stop, digest in _blocks(other, kind)}
    n = _DIGITS[kind]
    return [
        (first, stop, GENES if here[first, stop][:n] == digest[:n] else VALUES)
        for first, stop, digest in _blocks(one, kind)
        if here.get((first, stop), digest) != digest
    ]


def kind_of(read: Any) -> str:
    """Return the kind of a reading's digests; of anything else the kind of new readings."""
    return CRC32C if isinstance(read, dict) and CRC32C in read else XXH3


def is_reading(read: Any) -> TypeGuard[dict[str, Any]]:
    """Tell whether a value is what :meth:`CellDigests.as_json` returns."""
    kind = kind_of(read)
    return (
        isinstance(read, dict)
        and type(read.get("first")) is int
        and isinstance(read.get("ends"), list)
        and all(type(end) is int for end in read["ends"])
        and isinstance(read.get(kind), str)
        and len(read[kind]) == 2 * _DIGITS[kind] * len(read["ends"])
    )


def _blocks(read: dict[str, Any], kind: str) -> Iterator[tuple[int, int, str]]:
    first, digests, n = read["first"], read[kind], 2 * _DIGITS[kind]
    for i, end in enumerate(read["ends"]):
        yield first, end, digests[i * n : (i + 1) * n]
        first = end
