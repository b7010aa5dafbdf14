"""Zarr stores of an atlas: no pipes or devices, and metadata that names each key once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import fsspec
import pytest
from octoscope.atlas.open_root import open_root
from octoscope.errors import InputError

from tests.conftest import octoscope


@pytest.mark.parametrize("kind", ["chunk", "metadata"])
def test_a_pipe_in_place_of_an_object_is_named(
    kind: str, small_atlas: Path, tmp_path: Path
) -> None:
    """Red: Zarr's own local store, which reads to the end (of `/dev/zero`: all memory)."""
    atlas = tmp_path / "a.zarr"
    shutil.copytree(small_atlas, atlas)
    object_path = atlas / "zarr.json"
    if kind == "chunk":
        object_path = next(
            p for p in (atlas / "X").rglob("*") if p.is_file() and p.name != "zarr.json"
        )
    object_path.unlink()
    os.mkfifo(object_path)
    done = octoscope("atlas", "info", str(atlas), "--category", "cell_type", timeout=60)
    assert done.returncode == 2, done.stdout + done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "no regular file" in done.stderr
    assert str(atlas) in done.stderr


@pytest.mark.parametrize("behind_url", [False, True], ids=["folder", "URL"])
def test_metadata_that_names_a_key_twice_is_refused(
    behind_url: bool, small_atlas: Path, tmp_path: Path
) -> None:
    """Red: Zarr takes the last of two shapes, and says nothing."""
    atlas = tmp_path / "a.zarr"
    shutil.copytree(small_atlas, atlas)
    metadata = atlas / "zarr.json"
    metadata.write_text(metadata.read_text().rstrip()[:-1] + ', "node_type": "group"}')
    location = str(atlas)
    if behind_url:
        location = "memory://twice/a.zarr"
        fsspec.filesystem("memory").put(str(atlas), "/twice/a.zarr", recursive=True)
    name = "a.zarr/zarr.json: .*the key 'node_type' is there twice"
    try:
        with pytest.raises(InputError, match=name):
            open_root(location)
    finally:
        if behind_url:
            fsspec.filesystem("memory").rm("/twice", recursive=True)
