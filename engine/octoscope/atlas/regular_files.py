"""A local Zarr store that reads regular files alone: a pipe or a device may never end."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable
from typing import Any

from zarr.storage import LocalStore

from octoscope.bounded_reads import require_regular
from octoscope.errors import InputError
from octoscope.json_values import parse_json

_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")


class RegularFiles(LocalStore):
    """Zarr's local store, which refuses an object that is a pipe or a device (InputError)."""

    def _require_regular(self, key: str) -> None:
        try:
            require_regular(self.root / key)
        except OSError as error:
            if error.errno != errno.EINVAL:
                return  # absent, or not to be read: reading it says so
            fix = "copy the atlas again: a pipe or a device stands where a file should be"
            raise InputError(str(self.root / key), str(error.strerror), fix) from None

    def _sound(self, key: str, value: Any) -> Any:
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
                raise InputError(
                    str(self.root / key), f"cannot be read ({error})", "copy the atlas again"
                ) from None
        return value

    async def get(self, key: str, *arguments: Any, **options: Any) -> Any:
        """Return an object, or a part of it; None: it is absent."""
        self._require_regular(key)
        return self._sound(key, await super().get(key, *arguments, **options))

    def get_sync(self, key: str, **options: Any) -> Any:
        """Return an object as :meth:`get`."""
        self._require_regular(key)
        return self._sound(key, super().get_sync(key, **options))

    async def get_partial_values(self, prototype: Any, key_ranges: Iterable[Any]) -> list[Any]:
        """Return parts of objects."""
        ranges = list(key_ranges)
        for key, _ in ranges:
            self._require_regular(key)
        return await super().get_partial_values(prototype, ranges)
