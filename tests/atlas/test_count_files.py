"""Files of counts that were written after planning: other bytes stop a run, a copy does not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from octoscope.atlas import Atlas, count_files
from octoscope.config import AtlasConfig
from octoscope.errors import InputError

from tests.conftest import make_adata
from tests.here import here

THEN = "when it was planned"


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Without checksums."""
    adata = make_adata(60, 30)
    adata.write_zarr(tmp_path / "plain.zarr")
    adata.write_h5ad(tmp_path / "plain.h5ad")
    return tmp_path / "plain.zarr"


@pytest.fixture
def guarded(plain: Path) -> Path:
    """As ``atlas convert`` writes it: CRC32C in every chunk, in shards."""
    target = plain.with_name("guarded.zarr")
    converted = here("atlas", "convert", str(plain), str(target), "--category", "cell_type")
    assert converted.returncode == 0, converted.stderr
    return target


def opened(path: Path) -> Atlas:
    return Atlas(AtlasConfig(path=str(path), category_key=["cell_type"]))


def in_chunks(path: Path, sharded: bool) -> None:
    """Store the counts again in chunks of 16, in shards of 64 or in a file each."""
    group = zarr.open_group(path, mode="r+")["X"]
    for name in ("data", "indices"):
        values = group[name][:]
        del group[name]
        group.create_array(
            name, data=values, chunks=(16,), shards=(64,) if sharded else None,
            compressors=[zarr.codecs.ZstdCodec(), zarr.codecs.Crc32cCodec()],
        )  # fmt: skip


def change(path: Path, row: int) -> None:
    """Change one count in place."""
    group = zarr.open_group(path, mode="r+")["X"]
    at = int(group["indptr"][row])
    group["data"][at] = group["data"][at] + 1


def touch(path: Path) -> None:
    for file in path.rglob("*"):
        os.utime(file, (1, 1))


@pytest.mark.parametrize("sharded", [True, False])
def test_other_bytes_are_named_wherever_they_are(guarded: Path, sharded: bool) -> None:
    in_chunks(guarded, sharded)
    noted = opened(guarded).count_files()
    assert all(n["checksums"] for n in noted.values())
    change(guarded, 59)  # in the last chunk
    atlas = opened(guarded)
    with pytest.raises(InputError, match=rf"X/data, X/data/c/\d+\b.* other bytes than {THEN}"):
        atlas.require_count_files(noted, THEN)
    with pytest.raises(InputError, match="X/data"):
        atlas.require_count_files(noted, THEN, np.array([3, 59]))
    assert atlas.require_count_files(noted, THEN, np.array([0])) == []  # of other files


def test_a_copy_and_a_touched_store_are_the_same(guarded: Path) -> None:
    noted = opened(guarded).count_files()
    copy = Path(shutil.copytree(guarded, guarded.with_name("copy.zarr")))
    for path in (copy, guarded):
        touch(path)
        assert opened(path).count_files() != noted
        assert opened(path).require_count_files(noted, THEN) == []


def test_an_unchanged_store_has_no_byte_read(
    guarded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = opened(guarded).count_files()
    atlas = opened(guarded)
    monkeypatch.setattr(count_files.os, "pread", lambda *_: pytest.fail("read"))
    assert atlas.require_count_files(noted, THEN) == []


@pytest.mark.parametrize("kind", ["zarr", "h5ad"])
def test_without_checksums_what_was_written_since_is_told(plain: Path, kind: str) -> None:
    path = plain.with_suffix(f".{kind}")
    noted = opened(path).count_files()
    assert opened(path).require_count_files(noted, THEN) == []
    touch(path) if path.is_dir() else os.utime(path, (1, 1))
    later = opened(path).require_count_files(noted, THEN)
    assert len(later) == 2
    assert later[0].startswith("X/data")
    assert opened(path).require_count_files(noted, THEN, np.array([0])) == later


def test_many_files_are_noted_in_groups(guarded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_chunks(guarded, sharded=False)
    monkeypatch.setattr(count_files, "_GROUPS", 4)
    noted = opened(guarded).count_files()
    assert all(len(n["times"]) <= 4 * 16 for n in noted.values())
    change(guarded, 30)
    with pytest.raises(InputError, match="or one of the next"):
        opened(guarded).require_count_files(noted, THEN)
    monkeypatch.setattr(count_files, "_MOST", 4)
    assert opened(guarded).count_files() == {}


@pytest.mark.parametrize(
    "damaged", [None, 3, {}, {"layout": 1}, {"layout": "", "times": "", "checksums": ""}]
)
def test_what_is_no_note_says_nothing(guarded: Path, damaged: Any) -> None:
    noted = dict.fromkeys(opened(guarded).count_files(), damaged)
    change(guarded, 0)
    assert opened(guarded).require_count_files(noted, THEN) == []


def test_another_layout_says_nothing(guarded: Path) -> None:
    noted = opened(guarded).count_files()
    in_chunks(guarded, sharded=True)
    assert opened(guarded).require_count_files(noted, THEN) == []


def test_a_damaged_shard_is_other_bytes(guarded: Path) -> None:
    atlas, shard = opened(guarded), guarded / "X/data/c/0"
    noted, raw = atlas.count_files(), shard.read_bytes()
    index = len(raw) - 20  # offset and size of the only chunk, and their checksum
    for damaged in (raw[:-10], b"", raw[:index] + b"\0" * 8 + b"\xff" * 7 + b"\0" + raw[-4:]):
        shard.write_bytes(damaged)
        with pytest.raises(InputError, match="other bytes"):
            atlas.require_count_files(noted, THEN)
    shard.unlink()
    with pytest.raises(InputError, match="other bytes"):
        atlas.require_count_files(noted, THEN)
