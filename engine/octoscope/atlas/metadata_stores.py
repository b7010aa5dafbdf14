"""Zarr stores of an atlas whose metadata is read strictly: a key twice, or too deep, is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zarr.storage import FsspecStore

from octoscope.errors import InputError
from octoscope.json_values import parse_json
from octoscope.store.regular_files import RegularFiles

_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")


def sound(key: str, value: Any, where: str) -> Any:
    """Return an object; metadata that names a key twice is refused, where Zarr takes the last.

    So is metadata that is nested too deeply or holds too many values. What is no JSON at all is
    left to Zarr: its readers name the array.
    """
    if value is not None and key.rpartition("/")[2] in _METADATA:
        try:
            parse_json(value.to_bytes())
        except (json.JSONDecodeError, UnicodeDecodeError):
            return value
        except ValueError as error:
            raise InputError(where, f"cannot be read ({error})", "copy the atlas again") from None
    return value


class AtlasFolder(RegularFiles):
    """A folder on this machine; objects that are pipes or devices are refused too."""

    def refusal(self, path: Path, why: str) -> Exception:
        """Return what is raised for a pipe or a device."""
        fix = "copy the atlas again: a pipe or a device stands where a file should be"
        return InputError(str(path), why, fix)

    async def get(self, key: str, *arguments: Any, **options: Any) -> Any:
        """Return an object, or a part of it; None: it is absent."""
        return sound(key, await super().get(key, *arguments, **options), str(self.root / key))

    def get_sync(self, key: str, **options: Any) -> Any:
        """Return an object as :meth:`get`."""
        return sound(key, super().get_sync(key, **options), str(self.root / key))


class AtlasObjects(FsspecStore):
    """Objects behind a URL."""

    async def get(self, key: str, *arguments: Any, **options: Any) -> Any:
        """Return an object, or a part of it; None: it is absent."""
        return sound(key, await super().get(key, *arguments, **options), f"{self.path}/{key}")
