"""Rows of mean cells that are kept between readings."""

from __future__ import annotations

import numpy as np
import pytest
from octoscope.attention.mean_cell_attention import MeanCell
from octoscope.results.mean_cell_matrix import ComputedRows

N, TILE = 24, 8
BLOCK = 4 * TILE * N  # bytes of a tile of one part and quantity


class Counted(MeanCell):
    """Says how often rows were computed."""

    times = 0

    def rows(self, quantity: int, first: int, stop: int) -> np.ndarray:
        """Count and compute."""
        self.times += 1
        return super().rows(quantity, first, stop)


def parts_of(present: np.ndarray) -> list[Counted]:
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2, 3, 2, N, 4)).astype(np.float32)
    return [Counted(q[p], k[p], present, "mean", f"part {p}") for p in range(3)]


def read(rows: ComputedRows, quantity: int) -> np.ndarray:
    """Return [parts, genes, genes]."""
    return np.stack([
        np.concatenate([rows.rows(p, quantity, at, at + TILE) for at in range(0, N, TILE)])
        for p in range(3)
    ])  # fmt: skip


@pytest.mark.parametrize("all_there", [True, False])
@pytest.mark.parametrize("most", [0, 4 * BLOCK, 9 * BLOCK, 100 * BLOCK])
def test_what_is_kept_is_what_would_be_computed_and_within_its_bytes(
    most: int, all_there: bool
) -> None:
    present = np.ones(N, bool) if all_there else np.arange(N) % 5 > 0
    parts, plain = parts_of(present), ComputedRows(parts_of(present), 0)
    rows = ComputedRows(parts, most)
    for quantity in (2, 2, 0, 0, 2):
        assert np.array_equal(read(rows, quantity), read(plain, quantity))
        cached = sum(block.nbytes for block in rows._kept.values())
        assert cached == rows._size <= most
        assert all(block.base is None for block in rows._kept.values())  # nothing hangs on it
        # of the quantity asked for last as much as fits
        now = sum(block.nbytes for view, block in rows._kept.items() if view[1] == quantity)
        assert now == min(most, 9 * BLOCK)


def test_rows_are_computed_once_where_they_fit_and_are_not_written_to() -> None:
    parts = parts_of(np.ones(N, bool))
    rows = ComputedRows(parts, 9 * BLOCK)
    for _ in range(3):
        read(rows, 2)
    assert [p.times for p in parts] == [3, 3, 3]
    read(rows, 0)
    read(rows, 2)  # not both fit
    assert [p.times for p in parts] == [9, 9, 9]
    with pytest.raises(ValueError, match="read-only"):
        rows.rows(0, 2, 0, TILE)[0, 0] = 1
