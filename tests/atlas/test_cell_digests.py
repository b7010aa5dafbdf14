"""Digests of counts: of what models get, whatever the store looks like; any change is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import xxhash
from google_crc32c import extend
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.atlas import Atlas
from octoscope.atlas import atlas as atlas_module
from octoscope.atlas.cell_digests import (
    CRC32C,
    GENES,
    VALUES,
    XXH3,
    CellDigests,
    differing,
    is_reading,
)
from octoscope.config import AtlasConfig
from octoscope.errors import InputError
from scipy import sparse

from tests.conftest import make_adata


def counts(n: int = 23, genes: int = 30, seed: int = 0) -> sparse.csr_matrix:
    return make_adata(n, genes, seed).X


def read(
    matrix: sparse.csr_matrix,
    sizes: list[int],
    first: int = 0,
    cuts: tuple[int, ...] = (),
    kind: str = XXH3,
) -> dict[str, Any]:
    digests, at = CellDigests(first, cuts, block=4, kind=kind), 0
    for size in sizes:
        digests.add(matrix[at : at + size])
        at += size
    return digests.as_json()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(0, 7))
@settings(deadline=None)
def test_batches_do_not_matter(sizes: list[int], first: int) -> None:
    whole = counts()
    assert read(whole, [*sizes, 99], first) == read(whole, [99], first)


@given(st.integers(0, 22), st.integers(1, 23), st.sets(st.integers(0, 23)))
@settings(deadline=None)
def test_overlapping_readings_are_compared_to_the_last_cell(
    start: int, length: int, cuts: set[int]
) -> None:
    """Of units of any size: both end their blocks where either begins or ends."""
    whole, stop = counts(), min(23, start + length)
    common = (*cuts, start, stop)
    mine = read(whole[start:stop], [99], start, common)
    theirs = read(whole, [99], 0, common)
    assert differing(mine, theirs) == []
    for row in range(start, stop):
        changed = whole.copy()
        at = int(changed.indptr[row])
        if at == changed.indptr[row + 1]:
            continue
        changed.data[at] += 1
        (difference,) = differing(mine, read(changed, [99], 0, common))
        assert difference[0] <= row < difference[1]
        assert difference[2] == VALUES


def test_what_changed_is_told_apart() -> None:
    whole = counts()
    before = read(whole, [99])
    moved = whole.copy()
    free = np.setdiff1d(np.arange(30), moved[5].indices)[0]
    row = moved[5].toarray().ravel()
    order = np.sort(np.append(moved[5].indices[1:], free))
    row[:] = 0
    row[order] = whole[5].data  # the same counts of other genes
    moved = sparse.vstack([whole[:5], sparse.csr_matrix(row.astype(np.float32)), whole[6:]]).tocsr()
    ((first, stop, what),) = differing(read(moved, [99]), before)
    assert (first, stop, what) == (4, 8, GENES)
    shifted = whole.copy()  # a value moves to the next cell; data and indices stay
    shifted.indptr[9] -= 1
    assert differing(read(shifted, [99]), before) == [(8, 12, GENES)]


@pytest.mark.parametrize("kind", [XXH3, CRC32C])
def test_a_reading_is_recognised(kind: str) -> None:
    good = read(counts(), [99], kind=kind)
    assert is_reading(good)
    assert differing(good, good) == []
    for bad in (None, [], {}, good | {"ends": [1]}, good | {"first": "0"}, good | {kind: 1},
                good | {"ends": [*good["ends"][:-1], "23"]}):  # fmt: skip
        assert not is_reading(bad)


def test_digests_are_what_they_are_called(tmp_path: Path) -> None:
    """Values and genes of published libraries; those of plans on disk stay readable so."""
    matrix = counts()[:3]
    lengths = np.diff(matrix.indptr).astype("<i4").tobytes()
    raw = matrix.data.astype("<f4").tobytes(), matrix.indices.astype("<i4").tobytes() + lengths
    assert read(matrix, [3]) == {
        "first": 0, "ends": [3], XXH3: "".join(xxhash.xxh3_64_hexdigest(part) for part in raw)
    }  # fmt: skip
    assert read(matrix, [3], kind=CRC32C) == {
        "first": 0, "ends": [3], CRC32C: "".join(f"{extend(0, part):08x}" for part in raw)
    }  # fmt: skip
    assert differing(read(matrix, [3]), read(matrix, [3], kind=CRC32C)) == []


def test_a_sample_of_a_former_kind_is_compared_in_that_kind(tmp_path: Path) -> None:
    cells = make_adata(40, 50)
    planned = Atlas(AtlasConfig(path=written(tmp_path, "a.zarr", cells))).sample(CRC32C)
    assert CRC32C in planned
    Atlas(AtlasConfig(path=str(tmp_path / "a.zarr"))).require_sample(planned, "before")
    cells.X.data[7] += 1
    with pytest.raises(InputError, match="one has other counts than before"):
        Atlas(AtlasConfig(path=written(tmp_path, "b.zarr", cells))).require_sample(
            planned, "before"
        )


def written(tmp_path: Path, name: str, cells: ad.AnnData) -> str:
    path = str(tmp_path / name)
    cells.write_h5ad(path) if name.endswith("h5ad") else cells.write_zarr(path)
    return path


def test_the_layout_of_a_store_does_not_matter(tmp_path: Path) -> None:
    """Nor the type of its values, stored zeros, or the order of a cell's genes."""
    cells = make_adata(40, 50)
    want = None
    dense, other, shuffled = cells.copy(), cells.copy(), cells.copy()
    dense.X = dense.X.toarray()
    other.X = sparse.csr_matrix(other.X.astype(np.int64))
    order = np.concatenate(
        [np.arange(hi - 1, lo - 1, -1) for lo, hi in zip(cells.X.indptr, cells.X.indptr[1:],
                                                        strict=False)])  # fmt: skip
    shuffled.X = sparse.csr_matrix(
        (cells.X.data[order], cells.X.indices[order], cells.X.indptr), cells.X.shape
    )
    for name, stored in (("a.zarr", cells), ("b.zarr", dense), ("c.h5ad", other),
                         ("d.zarr", shuffled)):  # fmt: skip
        sample = Atlas(AtlasConfig(path=written(tmp_path, name, stored))).sample()
        want = want or sample
        assert sample == want
    changed = cells.copy()
    changed.X.data[7] += 1
    assert Atlas(AtlasConfig(path=written(tmp_path, "e.zarr", changed))).sample() != want


@pytest.mark.parametrize("dense", [False, True])
def test_cells_that_changed_are_named_with_their_chunks(tmp_path: Path, dense: bool) -> None:
    cells = make_adata(40, 50)
    cells.X = cells.X.toarray() if dense else cells.X
    planned = Atlas(AtlasConfig(path=written(tmp_path, "a.zarr", cells))).sample()
    row = cells.X[13] if dense else cells.X.data[cells.X.indptr[13] : cells.X.indptr[14]]
    row[np.flatnonzero(row)[0]] += 1
    now = Atlas(AtlasConfig(path=written(tmp_path, "b.zarr", cells)))
    chunk = "X, chunk 0" if dense else "X/data, chunk 0"
    with pytest.raises(InputError, match=rf"b\.zarr: {chunk}.*cells cell0 to cell39 one has other"):
        now.require_sample(planned, "when the run was planned")


def test_a_sample_of_a_large_atlas_is_spread_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atlas_module, "_SAMPLE_CELLS", 64)
    monkeypatch.setattr(atlas_module, "_SAMPLE_BLOCK", 4)
    cells = make_adata(400, 20)
    planned = Atlas(AtlasConfig(path=written(tmp_path, "a.zarr", cells))).sample()
    assert planned["ends"][-1] == 64
    cells.X.data[cells.X.indptr[399]] += 1
    now = Atlas(AtlasConfig(path=written(tmp_path, "b.zarr", cells)))
    with pytest.raises(InputError, match="cells cell396 to cell399 one has"):
        now.require_sample(planned, "when the run was planned")
