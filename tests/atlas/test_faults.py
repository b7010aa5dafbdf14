"""Damaged chunks stop the reading with their array, chunk and file; none is read as zeros."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from octoscope.atlas import Atlas, check, convert
from octoscope.atlas.chunks import DamageError
from octoscope.cli.app import app
from octoscope.cli.shared import guarded
from octoscope.errors import InputError
from scipy import sparse
from zarr.codecs import BloscCodec

from tests.atlas.stores import (
    FORMATS,
    FRAMES,
    SPARSE,
    cells,
    config,
    file_of,
    last_chunk,
    put,
    read_all,
    refused,
    write,
)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_a_sound_store_is_read_and_checked(zarr_format: int, tmp_path: Path) -> None:
    a = cells()
    path = write(a, tmp_path / "a.zarr", zarr_format)
    assert (read_all(path) == a.X.toarray()).all()
    result = check(config(path))
    assert result.faults == []
    assert set(result.checksums) == {*SPARSE, *FRAMES, "obs/donor/categories"}
    assert not any(result.checksums.values())  # neither format has a checksum by default
    files = [p for n in result.checksums for p in (path / n).rglob("*") if p.is_file()]
    assert result.chunks == len([p for p in files if p.name[0] != "." and p.suffix != ".json"])


@pytest.mark.parametrize("array", [*SPARSE, *FRAMES])
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_a_missing_chunk_is_named(zarr_format: int, array: str, tmp_path: Path) -> None:
    path = write(cells(), tmp_path / "a.zarr", zarr_format)
    for chunk in {0, last_chunk(path, array)}:
        file = file_of(path, array, chunk)
        content = file.read_bytes()
        file.unlink()
        refused(path, array, str(chunk), "missing chunk")
        file.write_bytes(content)


@pytest.mark.parametrize("array", [*SPARSE, *FRAMES])
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_a_truncated_chunk_is_named(zarr_format: int, array: str, tmp_path: Path) -> None:
    path = write(cells(), tmp_path / "a.zarr", zarr_format)
    chunk = last_chunk(path, array)
    file = file_of(path, array, chunk)
    whole = file.read_bytes()
    for length in (0, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        refused(path, array, str(chunk), "cannot be decoded")


@pytest.mark.parametrize("array", [*SPARSE, "obs/_index", "obs/cell_type/codes"])
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_a_flipped_bit_never_ends_in_an_error_of_a_codec(
    zarr_format: int, array: str, tmp_path: Path
) -> None:
    path = write(cells(), tmp_path / "a.zarr", zarr_format)
    file = file_of(path, array, 0)
    whole, draw = file.read_bytes(), random.Random(0)
    seen = 0
    for _ in range(6):
        flipped = bytearray(whole)
        flipped[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        file.write_bytes(flipped)
        with contextlib.suppress(InputError):
            read_all(path)
            continue
        seen += 1
    assert seen  # the rest cannot be seen: these codecs have no checksum


@pytest.mark.parametrize("array", [*SPARSE, *FRAMES])
def test_every_flipped_bit_in_a_converted_atlas_is_named(array: str, tmp_path: Path) -> None:
    target = tmp_path / "sorted.zarr"
    array = array.replace("var/_index", "var/feature_id")
    convert(config(write(cells(), tmp_path / "a.zarr", 3)), str(target))
    result = check(config(target))
    assert all(result.checksums.values())
    assert not result.faults
    file = file_of(target, array, 0)
    whole, draw = file.read_bytes(), random.Random(1)
    for _ in range(5):
        flipped = bytearray(whole)
        flipped[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        file.write_bytes(flipped)
        refused(target, array, "0", "cannot be decoded")


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_a_truncated_blosc_chunk_is_not_read_past_its_end(zarr_format: int, tmp_path: Path) -> None:
    a = cells()
    a.X.data = np.random.default_rng(0).integers(1, 1 << 24, a.X.nnz).astype(np.float32)
    path = write(a, tmp_path / "a.zarr", zarr_format)  # values that cannot be compressed
    if zarr_format == 3:
        group = zarr.open_group(path, mode="r+")["X"]
        values = group["data"][:]
        del group["data"]
        group.create_array("data", data=values, chunks=(128,), compressors=BloscCodec())
    assert (read_all(path) == a.X.toarray()).all()
    file = file_of(path, "X/data", 2)
    whole = file.read_bytes()
    for length in (0, 12, 20, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        refused(path, "X/data", "2", "its header says")


def test_values_that_cannot_be_name_their_chunk(tmp_path: Path) -> None:
    path = write(cells(), tmp_path / "a.zarr", 3)
    for array, at, value, what in (
        ("X/indices", 300, 40, "holds 40, expected 0 to 39"),
        ("X/indices", 300, -1, "holds -1, expected 0 to 39"),
        ("obs/cell_type/codes", 40, 2, "holds 2, expected -1 to 1"),
        ("obs/donor/codes", 40, -2, "holds -2, expected -1 to 2"),
    ):
        good = zarr.open_group(path, mode="r")[array][at]
        put(path, array, at, value)
        refused(path, array, "2", what)
        put(path, array, at, good)
    put(path, "X/data", 300, 0.5)
    with pytest.raises(
        InputError, match=r"X/data, chunk 2 \(X/data/c/2\), cell cell\d+, gene ENSG"
    ):
        read_all(path, counts="X")
    with pytest.raises(InputError, match=r"X: holds 0.5 \(not a whole number\) in X/data, chunk 2"):
        read_all(path)
    (fault,) = check(config(path)).faults
    assert (fault.array, fault.chunk) == ("X/data", "2")
    assert "value 0.5 (not a whole number)" in fault.what


def test_zeros_in_place_of_a_chunk_are_named(tmp_path: Path) -> None:
    path = write(cells(), tmp_path / "a.zarr", 3)
    good = zarr.open_group(path, mode="r")["X/indices"][256:384]
    put(path, "X/indices", slice(256, 384), 0)  # it is there
    refused(path, "X/indices", "2", "holds zeros only")
    put(path, "X/indices", slice(256, 384), good)
    a = cells()  # now each cell has the first gene, and no other
    a.X = sparse.csr_matrix(np.eye(1, 40, dtype=np.float32).repeat(60, 0))
    path = write(a, tmp_path / "b.zarr", 3)
    put(path, "X/indices", slice(None), 0)
    assert (read_all(path)[:, 0] == 1).all()
    assert check(config(path)).faults == []


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_stored_zeros_that_fill_a_chunk_are_read(zarr_format: int, tmp_path: Path) -> None:
    """Red: masked counts, which writers store as zeros, are called damage."""
    a = cells()
    a.X.data[256:384] = 0
    path = write(a, tmp_path / "a.zarr", zarr_format)
    refused(path, "X/data", "2", "missing chunk")  # Zarr's writer leaves it out
    assert (read_all(path, missing_chunks="fill") == a.X.toarray()).all()
    assert check(config(path, missing_chunks="fill")).faults == []
    put(path, "X/data", slice(256, 384), 0)  # now it is there, compressed
    assert (read_all(path) == a.X.toarray()).all()
    assert check(config(path)).faults == []


def test_zeros_without_compression_may_be_lost_bytes(tmp_path: Path) -> None:
    """Red: a hole in a file that nothing checks is read as counts of zero."""
    a = cells()
    a.X.data[256:384] = 0
    path = write(a, tmp_path / "a.zarr", 3)
    group = zarr.open_group(path, mode="r+")["X"]
    del group["data"]
    group.create_array("data", shape=a.X.data.shape, dtype="f4", chunks=(128,), compressors=None)
    put(path, "X/data", slice(None), a.X.data)
    refused(path, "X/data", "2", "holds zeros only, without compression or checksum")
    assert (read_all(path, missing_chunks="fill") == a.X.toarray()).all()


def test_row_pointers_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = write(cells(), tmp_path / "a.zarr", 3)
    good = zarr.open_group(path, mode="r")["X/indptr"][:]
    for at, value, what in (
        (20, 5, f"falls from {good[19]} to 5 at row 19"),
        (60, good[60] + 3, f"runs from 0 to {good[60] + 3}, expected 0 to {good[60]}"),
        (0, 1, f"runs from 1 to {good[60]}, expected"),
    ):
        put(path, "X/indptr", slice(None), good)
        put(path, "X/indptr", at, value)
        with pytest.raises(InputError, match=rf"a\.zarr: X/indptr: {what}"):
            read_all(path)
        assert [f.what for f in check(config(path)).faults if what in f.what]


def test_arrays_and_metadata_that_are_gone_are_named(tmp_path: Path) -> None:
    path = write(cells(), tmp_path / "a.zarr", 3)
    for array in ("X/indices", "obs/_index", "obs/cell_type"):
        file = path / array / "zarr.json"
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        with pytest.raises(DamageError, match=rf"{array}: its metadata cannot be decoded"):
            read_all(path)
        assert [f.array for f in check(config(path)).faults] == [array]
        file.unlink()
        with pytest.raises(DamageError, match=rf"{array}: is not in the store"):
            read_all(path)
        assert [f.array for f in check(config(path)).faults] == [array]
        file.write_bytes(content)


def test_a_fault_of_the_network_is_not_called_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    atlas = Atlas(config(write(cells(), tmp_path / "a.zarr", 3)))

    def fails(self: Any, key: Any) -> Any:
        raise ConnectionResetError(104, "reset by peer")

    atlas._rows._cache.clear()  # type: ignore[union-attr]
    monkeypatch.setattr(zarr.Array, "__getitem__", fails)
    with pytest.raises(ConnectionResetError):  # a run tries such work again
        atlas.read(np.arange(60))


def test_the_command_lists_every_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*more: str) -> int:
        flags = ["--category", "cell_type", "--donor", "donor", *more]
        command = ["atlas", "check", str(path), *flags]
        return guarded(lambda: app(command, standalone_mode=False))

    path = write(cells(), tmp_path / "a.zarr", 3)
    assert call() == 0
    assert "X/data" in capsys.readouterr().out  # among the arrays without a checksum
    file_of(path, "X/data", 3).unlink()
    file_of(path, "obs/donor/codes", 2).write_bytes(b"x")
    put(path, "X/indices", 800, 99)
    assert call() == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("obs/donor/codes, chunk 2 (obs/donor/codes/c/2): cannot be decoded")
    assert lines[1] == "X/indices, chunk 6 (X/indices/c/6): holds 99, expected 0 to 39"
    assert lines[2].startswith("X/data, chunk 3 (X/data/c/3): a missing chunk")
    assert call("--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["faults"][1] == {
        "array": "X/indices",
        "chunk": "6",
        "object": "X/indices/c/6",
        "what": "holds 99, expected 0 to 39",
    }
    assert answer["checksums"]["X/data"] is False
    assert call("--counts", "layers/none") == 2
    assert "no raw counts found" in capsys.readouterr().err
