"""Damage in dense and sharded matrices, columns of all kinds, h5ad and object stores; `convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from octoscope.atlas import Atlas, check, convert
from octoscope.atlas.chunks import DamageError
from octoscope.errors import InputError

from tests.atlas.stores import (
    FORMATS,
    cells,
    config,
    file_of,
    put,
    read_all,
    refused,
    write,
)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_a_missing_chunk_of_a_dense_matrix_is_named(zarr_format: int, tmp_path: Path) -> None:
    a = cells()
    a.X = a.X.toarray()
    a.X[32:48, 10:20] = 0  # a chunk of zeros that is there is read
    path = write(a, tmp_path / "a.zarr", zarr_format, X=(16, 10))
    assert not file_of(path, "X", 2, 1).exists()  # left out by the writer: not told from lost
    refused(path, "X", "2.1", "missing chunk")
    put(path, "X", (slice(32, 48), slice(10, 20)), 0)
    assert (read_all(path) == a.X).all()
    assert check(config(path)).faults == []
    for row, column in ((0, 0), (3, 3)):
        file = file_of(path, "X", row, column)
        content = file.read_bytes()
        file.unlink()
        refused(path, "X", f"{row}.{column}", "missing chunk")
        file.write_bytes(content[:-3])
        refused(path, "X", f"{row}.{column}", "cannot be decoded")
        file.write_bytes(content)
    put(path, "X", (20, 12), 0.5)
    with pytest.raises(InputError, match=r"X, chunk 1.1 \(X/.*\), cell cell20, gene ENSG0+12"):
        read_all(path, counts="X")
    (fault,) = check(config(path)).faults
    assert (fault.array, fault.chunk) == ("X", "1.1")


def test_missing_chunks_that_can_only_mean_one_thing_are_read(tmp_path: Path) -> None:
    a = cells()
    a.obs["cell_type"] = pd.Categorical(["A"] * 60)
    a.obs["donor"] = pd.array([1, 2, 3] * 20, dtype="Int64")
    a.obs["is_primary_data"] = pd.array([True] * 60, dtype="boolean")
    path = write(a, tmp_path / "a.zarr", 3)
    assert not file_of(path, "obs/cell_type/codes", 0).exists()
    assert not file_of(path, "obs/is_primary_data/mask", 0).exists()
    assert (read_all(path) == a.X.toarray()).all()
    assert Atlas(config(path)).index(0).selected == 60
    assert check(config(path)).faults == []


def test_absent_numbers_and_truth_values_are_refused(tmp_path: Path) -> None:
    a = cells()
    a.obs["donor"] = np.arange(60) // 16
    a.obs["is_primary_data"] = np.arange(60) >= 16
    path = write(a, tmp_path / "a.zarr", 3)
    with pytest.raises(DamageError, match=r"obs/donor, chunk 0 .*write_empty_chunks"):
        read_all(path)
    assert [f.array for f in check(config(path)).faults] == ["obs/donor", "obs/is_primary_data"]
    put(path, "obs/donor", slice(None), a.obs["donor"].to_numpy())
    with pytest.raises(DamageError, match=r"obs/is_primary_data, chunk 0"):
        read_all(path)
    put(path, "obs/is_primary_data", slice(None), a.obs["is_primary_data"].to_numpy())
    assert Atlas(config(path)).index(0).selected == 44
    assert check(config(path)).faults == []


def test_who_knows_that_nothing_was_lost_may_read_missing_chunks_as_zeros(tmp_path: Path) -> None:
    a = cells()
    a.obs["is_primary_data"] = np.arange(60) >= 16
    path = write(a, tmp_path / "a.zarr", 3)
    settings = config(path).model_copy(update={"missing_chunks": "fill"})
    assert Atlas(settings).index(0).selected == 44
    dense = cells()
    dense.X = dense.X.toarray()
    dense.X[:32] = 0
    path = write(dense, tmp_path / "d.zarr", 3, X=(16, 10))
    assert not file_of(path, "X", 0, 0).exists()
    assert {f.array for f in check(config(path)).faults} == {"X"}
    with pytest.raises(DamageError, match="missing_chunks: fill"):
        read_all(path)
    settings = config(path).model_copy(update={"missing_chunks": "fill"})
    assert (Atlas(settings).read(np.arange(60)).counts.toarray() == dense.X).all()
    assert check(settings).faults == []


def test_a_missing_chunk_in_an_object_store_is_named(tmp_path: Path) -> None:
    path = write(cells(), tmp_path / "a.zarr", 3)
    memory = fsspec.filesystem("memory")
    memory.put(str(path), "/faults.zarr", recursive=True)
    assert read_all("memory://faults.zarr").any()
    for array in ("X/data", "obs/cell_type/codes"):
        memory.rm(f"/faults.zarr/{array}/c/1")
        with pytest.raises(
            DamageError, match=rf"{array}, chunk 1 \({array}/c/1\): a missing chunk"
        ):
            read_all("memory://faults.zarr")
        memory.put(str(path / array / "c/1"), f"/faults.zarr/{array}/c/1")
    memory.rm("/faults.zarr", recursive=True)


def test_a_missing_shard_is_named_by_its_file(tmp_path: Path) -> None:
    path = write(cells(), tmp_path / "a.zarr", 3)
    group = zarr.open_group(path, mode="r+")["X"]
    for name in ("data", "indices"):
        values = group[name][:]
        del group[name]
        group.create_array(name, data=values, chunks=(128,), shards=(512,))
    assert read_all(path).any()
    for name in ("data", "indices"):
        file = path / "X" / name / "c/1"
        content = file.read_bytes()
        file.unlink()
        with pytest.raises(DamageError, match=rf"X/{name}, chunk 4 \(X/{name}/c/1\): a missing"):
            read_all(path)
        faults = check(config(path)).faults
        assert [f.chunk for f in faults] == ["4", "5", "6", "7"]
        file.write_bytes(content)


@pytest.mark.parametrize("compression", ["gzip", "lzf", None])
def test_h5ad(compression: Any, tmp_path: Path) -> None:
    a, path = cells(), tmp_path / "a.h5ad"
    a.write_h5ad(path, compression=compression)
    assert (read_all(path) == a.X.toarray()).all()
    sound = check(config(path))
    assert sound.faults == []
    assert set(sound.checksums.values()) == ({True} if compression == "gzip" else {False})
    whole = path.read_bytes()
    with h5py.File(path, "r") as file:
        data = file["X/data"]
        at = data.id.get_chunk_info(0).byte_offset if data.chunks else data.id.get_offset()
    flipped = bytearray(whole)
    for i in range(at + 10, at + 60):  # more than a bit, for the formats without a checksum
        flipped[i] ^= 0xFF
    path.write_bytes(flipped)
    with pytest.raises(InputError, match="X/data, chunk 0"):
        read_all(path, counts="X")
    assert "X/data" in {f.array for f in check(config(path)).faults}
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a\.h5ad: is truncated .*again, whole"):
        read_all(path)


def test_a_chunk_that_hdf5_never_allocated_is_named(tmp_path: Path) -> None:
    a, path = cells(), tmp_path / "a.h5ad"
    a.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        for name in ("X/data", "obs/cell_type/codes"):
            values, attributes = file[name][:], dict(file[name].attrs)
            del file[name]
            new = file.create_dataset(name, values.shape, values.dtype, chunks=(16,))
            new.attrs.update(attributes)
            new[:16], new[32:] = values[:16], values[32:]
    with pytest.raises(DamageError, match=r"X/data, chunk 1: a missing chunk"):
        read_all(path)
    assert [(f.array, f.chunk) for f in check(config(path)).faults] == [
        ("obs/cell_type/codes", "1"),
        ("X/data", "1"),
    ]


def test_damage_does_not_make_another_matrix_the_counts(tmp_path: Path) -> None:
    a = cells()
    a.layers["counts"] = a.X.copy()
    path = write(a, tmp_path / "a.zarr", 3)
    file_of(path, "layers/counts/data", 0).unlink()
    refused(path, "layers/counts/data", "0", "missing chunk")


def test_convert_stops_at_damage_and_writes_every_chunk(tmp_path: Path) -> None:
    a = cells()
    a.obs["score"] = np.zeros(60, np.float32)
    a.obs["note"] = [f"note {i}" for i in range(60)]
    path, target = write(a, tmp_path / "a.zarr", 3), tmp_path / "sorted.zarr"
    assert not file_of(path, "obs/score", 0).exists()  # no setting names it
    for array, what in (
        ("obs/donor/codes", "missing chunk"),
        ("obs/note", "cannot be decoded"),
        ("X/indices", "missing chunk"),
    ):
        file = file_of(path, array, 1)
        content = file.read_bytes()
        file.unlink() if what == "missing chunk" else file.write_bytes(content[:5])
        with pytest.raises(DamageError, match=rf"{array}, chunk 1 .*{what}"):
            convert(config(path), str(target))
        assert not target.exists()
        file.write_bytes(content)
    convert(config(path), str(target))
    assert file_of(target, "obs/score", 0).exists()
    assert check(config(target)).faults == []
