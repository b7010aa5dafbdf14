"""Counts by column: `atlas convert` writes them by row, in any number of passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pytest
import zarr
from octoscope.atlas import Atlas, convert, info
from octoscope.atlas.open_root import open_root
from octoscope.atlas.transpose import by_row, csc_location
from octoscope.errors import InputError
from scipy import sparse

from tests.atlas.stores import cells, config, write


def by_column(tmp_path: Path, kind: str, counts: str = "X") -> Path:
    a = cells()
    if counts == "X":
        a.X = a.X.tocsc()
    else:
        a.layers["counts"] = a.X.tocsc()
        a.X = a.X * 0.5
    if kind == "h5ad":
        a.write_h5ad(tmp_path / "a.h5ad")
        return tmp_path / "a.h5ad"
    return write(a, tmp_path / "a.zarr", int(kind[-1]))


@pytest.mark.parametrize("counts", ["X", "layers/counts"])
@pytest.mark.parametrize("kind", ["h5ad", "zarr 2", "zarr 3"])
def test_convert_transposes(tmp_path: Path, kind: str, counts: str) -> None:
    """Red: counts by column are refused, and the way out needs the matrix in memory."""
    path = by_column(tmp_path, kind, counts)
    with pytest.raises(InputError, match="stored by column"):
        Atlas(config(path))
    assert any(
        "octoscope atlas convert" in f.fix + f.problem for f in info(config(path)).findings.errors
    )
    convert(config(path), str(tmp_path / "t.zarr"))
    assert not (tmp_path / "t.zarr.partial").exists()
    stored, truth = ad.read_zarr(tmp_path / "t.zarr"), cells()
    assert (stored.X != truth[stored.obs_names].X).sum() == 0
    convert(config(write(truth, tmp_path / "rows.zarr", 3)), str(tmp_path / "u.zarr"))
    for part in ("data", "indices", "indptr"):
        ours, theirs = (
            {
                f.name: f.read_bytes()
                for f in (tmp_path / name / "X" / part).rglob("*")
                if f.is_file()
            }
            for name in ("t.zarr", "u.zarr")
        )
        assert ours == theirs


@pytest.mark.parametrize("limit", [1, 32 * 40, 32 * 333, 1e9])
def test_any_memory_gives_the_same_rows(tmp_path: Path, limit: float, monkeypatch: Any) -> None:
    """Red: rows at the border of a pass, or columns of a block, are lost or out of order."""
    monkeypatch.setattr("octoscope.atlas.transpose._BLOCK", 256)
    path, truth = by_column(tmp_path, "zarr 3"), sparse.csr_matrix(cells().X)
    root = open_root(str(path))
    assert csc_location(root, config(path)) == "X"
    rows = by_row(root, "X", config(path), tmp_path / "rows", limit)
    data, indices, indptr = rows.rows(np.arange(60))
    assert (indptr == truth.indptr).all()
    assert (indices == truth.indices).all()
    assert (data == truth.data).all()


def test_damage_in_columns_is_named(tmp_path: Path) -> None:
    path = by_column(tmp_path, "zarr 3")
    group = zarr.open_group(path, mode="r+")["X"]
    group["indices"][300] = 60
    with pytest.raises(InputError, match=r"X/indices, chunk 0 .*holds 60, expected 0 to 59"):
        convert(config(path), str(tmp_path / "t.zarr"))
    assert not (tmp_path / "t.zarr.partial").exists()
    group["indices"][300] = 0
    (path / "X/data/c/0").unlink()
    with pytest.raises(InputError, match=r"X/data, chunk 0 .*missing chunk"):
        convert(config(path), str(tmp_path / "t.zarr"))


def test_columns_that_are_no_counts_are_not_transposed(tmp_path: Path) -> None:
    path = by_column(tmp_path, "h5ad")
    with h5py.File(path, "a") as f:
        f["X/data"][...] = f["X/data"][...] * 0.5
    assert csc_location(open_root(str(path)), config(path)) is None
    with pytest.raises(InputError, match="no raw counts found .*X: stored by column"):
        convert(config(path), str(tmp_path / "t.zarr"))
