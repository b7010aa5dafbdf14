"""Objects of a local store that are pipes or devices: refused, and not waited for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

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


def test_metadata_that_names_a_key_twice_is_refused(small_atlas: Path, tmp_path: Path) -> None:
    """Red: Zarr takes the last of two shapes, and says nothing."""
    atlas = tmp_path / "a.zarr"
    shutil.copytree(small_atlas, atlas)
    metadata = atlas / "zarr.json"
    metadata.write_text(metadata.read_text().rstrip()[:-1] + ', "node_type": "group"}')
    with pytest.raises(InputError, match=rf"{metadata}: .*the key 'node_type' is there twice"):
        open_root(str(atlas))
