"""A local Zarr store that reads regular files alone: a pipe or a device may never end."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zarr.storage import LocalStore

from octoscope.bounded_reads import require_regular
from octoscope.errors import DamagedRunError


class RegularFiles(LocalStore):
    """Zarr's local store, which refuses an object that is a pipe or a device."""

    def refusal(self, path: Path, why: str) -> Exception:
        """Return what is raised for a pipe or a device."""
        return DamagedRunError(f"{path}: {why}")

    def require_regular(self, key: str) -> None:
        """Refuse a pipe or a device; that an object is absent, reading it says."""
        try:
            require_regular(self.root / key)
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise self.refusal(self.root / key, str(error.strerror)) from None

    async def get(self, key: str, *arguments: Any, **options: Any) -> Any:
        """Return an object, or a part of it; None: it is absent."""
        self.require_regular(key)
        return await super().get(key, *arguments, **options)

    def get_sync(self, key: str, **options: Any) -> Any:
        """Return an object as :meth:`get`."""
        self.require_regular(key)
        return super().get_sync(key, **options)

    async def get_partial_values(self, prototype: Any, key_ranges: Iterable[Any]) -> list[Any]:
        """Return parts of objects."""
        ranges = list(key_ranges)
        for key, _ in ranges:
            self.require_regular(key)
        return await super().get_partial_values(prototype, ranges)
