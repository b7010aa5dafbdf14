"""A run directory: atomic writes, create-once, digests. The only way anything is written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from engine.digests import file_digest
from engine.errors import InputError


class RunRoot:
    """A run directory on a local (or mounted) file system.

    Raises
    ------
    InputError
        For URLs: object stores need conditional create, which this version does not have.
    """

    def __init__(self, path: str | Path) -> None:
        text = str(path)
        if text.startswith("file://"):
            text = text.removeprefix("file://")
        if "://" in text:
            raise InputError(
                text, "run directories must be on a file system in this version", "give a path"
            )
        self.path = Path(text).absolute()

    def at(self, relative: str) -> Path:
        """Return the absolute path of an object.

        Raises
        ------
        ValueError
            If it would leave the run directory.
        """
        path = (self.path / relative).absolute()
        if ".." in Path(relative).parts or not path.is_relative_to(self.path):
            raise ValueError(f"{relative!r} leaves the run directory")
        return path

    def exists(self, relative: str) -> bool:
        """Tell whether an object is there."""
        return self.at(relative).exists()

    def read_json(self, relative: str) -> Any:
        """Read JSON; None if the object is absent."""
        try:
            return json.loads(self.at(relative).read_text())
        except FileNotFoundError:
            return None

    def replace(self, relative: str, data: bytes) -> None:
        """Write atomically, over anything that is there."""
        temporary = self._temporary(relative, data)
        os.replace(temporary, self.at(relative))

    def create_once(self, relative: str, data: bytes) -> bool:
        """Write atomically unless the object exists; returns whether this call wrote it.

        ``os.link`` fails when the name is taken, also between processes, and the content is
        complete before the name appears.
        """
        temporary = self._temporary(relative, data)
        try:
            os.link(temporary, self.at(relative))
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def _temporary(self, relative: str, data: bytes) -> Path:
        target = self.at(relative)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
        with temporary.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        return temporary

    def remove_tree(self, relative: str) -> None:
        """Delete a folder and all in it; nothing happens if it is absent."""
        shutil.rmtree(self.at(relative), ignore_errors=True)

    def files(self, relative: str = "") -> list[str]:
        """Return all files below a folder, sorted, relative to the run directory."""
        top = self.at(relative) if relative else self.path
        return sorted(
            str(p.relative_to(self.path)) for p in top.rglob("*") if p.is_file() or p.is_symlink()
        )

    def digest(self, relative: str) -> dict[str, Any]:
        """Return size and SHA-256 of an object."""
        return file_digest(self.at(relative))


def to_json(value: Any) -> bytes:
    """Return canonical JSON: sorted keys, one trailing newline."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def hash_json(value: Any) -> str:
    """Return SHA-256 of the canonical JSON."""
    return hashlib.sha256(to_json(value)).hexdigest()
