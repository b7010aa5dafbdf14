"""Arrays on disk: checksums, chunks that are always written, a fixed order of sums."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from octoscope.errors import DamagedRunError
from octoscope.row_blocks import fold_tree, row_ranges, tree_sum
from octoscope.store import tiles
from octoscope.store.backends import LocalObjects


def stored(tmp_path: Path, values: np.ndarray, tile: int = 4) -> Path:
    path = tmp_path / "a.zarr"
    array = tiles.create_array(path, "sums", values.shape, str(values.dtype), tile)
    for first, stop in row_ranges(values.shape[-2], tile):
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


@pytest.mark.parametrize("name", ["sums/c/0/0/0", "sums/zarr.json"])
def test_a_device_in_place_of_an_object_is_refused_unread(name: str, tmp_path: Path) -> None:
    """Red: Zarr's own local store; of a pipe it would wait without end, as of a device."""
    values = np.zeros((2, 10, 7))
    stored(tmp_path, values)
    (tmp_path / "a.zarr" / name).unlink()
    (tmp_path / "a.zarr" / name).symlink_to("/dev/null")
    store = LocalObjects(tmp_path).zarr("a.zarr")
    with pytest.raises(DamagedRunError, match=rf"{name}: is no regular file"):
        tiles.read_rows(tiles.open_array(store, "sums"), 0, 4)


def levels(parts: list[float]) -> float:
    """Merge neighbours level by level, the odd one carried: the tree as one would draw it."""
    while len(parts) > 1:
        paired = [parts[i] + parts[i + 1] for i in range(0, len(parts) - 1, 2)]
        parts = paired + ([parts[-1]] if len(parts) % 2 else [])
    return parts[0]


@given(st.lists(st.floats(-1e20, 1e20), min_size=1, max_size=70))
def test_one_by_one_gives_the_tree_to_the_bit(values: list[float]) -> None:
    total = tree_sum(np.array([v]) for v in values)
    assert total is not None
    assert total[0] == levels(values)
    assert tree_sum(iter(())) is None


@pytest.mark.parametrize("n", [1, 64, 100, 1000])
def test_a_tree_holds_few_parts_however_many_there_are(n: int) -> None:
    alive = most = 0

    class Part:
        def __init__(self) -> None:
            nonlocal alive, most
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    assert fold_tree((Part() for _ in range(n)), lambda a, b: Part()) is not None
    assert most <= np.log2(n) + 4


def test_tree_sum_has_one_order() -> None:
    parts = [np.array([v]) for v in (1e16, 1.0, -1e16, 1.0, 1.0)]
    assert tree_sum(parts)[0] == ((1e16 + 1.0) + (-1e16 + 1.0)) + 1.0
