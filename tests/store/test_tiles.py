"""Arrays on disk: checksums, chunks that are always written, a fixed order of sums."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DamagedRunError
from engine.store import tiles


def stored(tmp_path: Path, values: np.ndarray, tile: int = 4) -> Path:
    path = tmp_path / "a.zarr"
    array = tiles.create_array(path, "sums", values.shape, str(values.dtype), tile)
    for first, stop in tiles.row_ranges(values.shape[-2], tile):
        tiles.write_rows(array, first, values[..., first:stop, :])
    return path


def test_rows_come_back(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, 10, 7))
    array = tiles.open_array(stored(tmp_path, values), "sums")
    assert (tiles.read_rows(array, 4, 10) == values[:, :, 4:10]).all()


def test_zeros_are_written_so_that_absence_is_damage(tmp_path: Path) -> None:
    path = stored(tmp_path, np.zeros((2, 10, 7)))
    chunks = [p for p in (path / "sums/c").rglob("*") if p.is_file()]
    assert len(chunks) == 2 * 3


def test_a_flipped_bit_raises(tmp_path: Path) -> None:
    path = stored(tmp_path, np.random.default_rng(0).normal(size=(2, 10, 7)))
    chunk = path / "sums/c/0/0/0"
    raw = bytearray(chunk.read_bytes())
    raw[20] ^= 1
    chunk.write_bytes(raw)
    with pytest.raises(DamagedRunError):
        tiles.read_rows(tiles.open_array(path, "sums"), 0, 4)


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=20))
def test_tree_sum_is_a_sum(values: list[int]) -> None:
    parts = [np.array([float(v)]) for v in values]
    assert tiles.tree_sum(parts)[0] == sum(values)


def test_tree_sum_has_one_order() -> None:
    parts = [np.array([v]) for v in (1e16, 1.0, -1e16, 1.0, 1.0)]
    assert tiles.tree_sum(parts)[0] == ((1e16 + 1.0) + (-1e16 + 1.0)) + 1.0
