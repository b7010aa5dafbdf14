"""Changes of files, drawn by a random generator: of bytes, of structure, and of what a file is."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

from tests.fuzz.change_archive import (
    change_gzip,
    change_npy,
    change_part,
    change_safetensors,
    change_zip,
)
from tests.fuzz.change_bytes import change_bytes
from tests.fuzz.change_table import change_hdf5, change_parquet
from tests.fuzz.change_text import change_json, change_text, change_xml, change_yaml


def _replaced(path: Path, rng: Random) -> str:
    """Put something else in the place of a file."""
    path.unlink()
    kind = rng.randrange(7)
    if kind == 0:
        return "gone"
    if kind == 1:
        path.mkdir()
        return "a folder"
    if kind == 2:
        os.mkfifo(path)
        return "a pipe"
    if kind == 3:
        path.symlink_to("/dev/zero")
        return "/dev/zero"
    if kind == 4:
        path.symlink_to(path)
        return "a link to itself"
    if kind == 5:
        path.write_bytes(b"")
        return "empty"
    path.write_bytes(
        rng.choice(
            [
                b"version https://git-lfs.github.com/spec/v1\n",
                b"<!DOCTYPE html>",
                b"\x80\x04.",
                b"PK\x05\x06" + bytes(18),
            ]
        )
    )
    return "another kind of file"


def mutate(path: Path, rng: Random) -> str:
    """Change a file in one way that fits its kind, and say which."""
    if rng.random() < 0.06:
        return _replaced(path, rng)
    raw = path.read_bytes()
    if rng.random() < 0.5:
        try:
            return _structure(path, raw, rng)
        except (ValueError, KeyError, OSError, IndexError, RuntimeError, TypeError):
            path.write_bytes(raw)  # no structure that could be changed
    changed, what = change_bytes(raw, rng)
    path.write_bytes(changed)
    return what


def _structure(path: Path, raw: bytes, rng: Random) -> str:
    if path.suffix == ".parquet":
        return change_parquet(path, rng)
    if raw.startswith(b"\x89HDF"):
        return change_hdf5(path, rng)
    if path.suffix == ".safetensors":
        changed, what = change_safetensors(raw, rng)
    elif raw.startswith(b"PK"):
        changed, what = change_zip(raw, rng, change_part)
    elif raw.startswith(b"\x1f\x8b"):
        changed, what = change_gzip(raw, rng)
    elif path.suffix == ".npy":
        changed, what = change_npy(raw, rng)
    elif path.suffix in (".yaml", ".yml"):
        changed, what = change_yaml(raw, rng)
    elif path.suffix == ".json" or raw[:1] in (b"{", b"["):
        changed, what = change_json(raw, rng)
    elif raw.startswith(b"<?xml"):
        changed, what = change_xml(raw, rng)
    elif path.suffix in (".tsv", ".csv", ".txt"):
        changed, what = change_text(raw, rng)
    else:
        raise ValueError("no structure")
    path.write_bytes(changed)
    return what
