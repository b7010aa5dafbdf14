"""A finished run as readers see it: each object is compared with its digest when it is opened.

Once per process: an object that was found sound is not read again for its digest. Drivers, verify
and repair read through :class:`~octoscope.store.run_dir.RunRoot`, which compares nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, BinaryIO

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from octoscope.digests import digest_of, stream_digest
from octoscope.errors import DamagedRunError
from octoscope.store.manifest import MISSING, digest_fault, is_beside, require_success
from octoscope.store.run_dir import RunRoot

FIX = "use `octoscope repair`; to read it as it is, give --unchecked (in Python: check=False)"

_SOUND: set[tuple[str, str, str]] = set()  # (run, object, sha256) that this process compared


class SealedRun(RunRoot):
    """A finished run; reading an object that does not match the manifest raises.

    Parameters
    ----------
    root
        Its directory.

    Raises
    ------
    DamagedRunError
        If the run is unfinished or its manifest does not match ``_SUCCESS``; later, when an object
        is read that is missing, changed, or no part of the run.
    """

    def __init__(self, root: RunRoot) -> None:
        super().__init__(root.url, root.objects)
        self._listed: dict[str, dict[str, Any]] = require_success(root)["objects"]

    def exists(self, relative: str) -> bool:
        """Tell whether an object belongs to the run; one that is lost does."""
        if is_beside(relative):
            return super().exists(relative)
        return self._inside(relative) in self._listed

    def read(self, relative: str) -> bytes | None:
        """Return an object's content; None if the run has no such object."""
        data = super().read(relative)
        if self._is_owed(relative):
            self._compare(relative, None if data is None else digest_of(data))
        return data

    def open(self, relative: str) -> BinaryIO:
        """Open an object for reading; raises FileNotFoundError if the run has no such object."""
        if self._is_owed(relative):
            try:
                with super().open(relative) as handle:
                    digest = stream_digest(handle)
            except FileNotFoundError:
                digest = None
            self._compare(relative, digest)
        return super().open(relative)

    def zarr(self, relative: str) -> Store:
        """Return a Zarr store at a name; what is read of it is compared too."""
        return _ComparedStore(super().zarr(relative), self._is_owed, self._compare, relative)

    def _is_owed(self, name: str) -> bool:
        """Tell whether an object has yet to be compared."""
        if is_beside(name):
            return False
        expected = self._listed.get(name)
        return expected is None or (self.url, name, str(expected["sha256"])) not in _SOUND

    def _compare(self, name: str, digest: dict[str, Any] | None) -> None:
        """Note that an object is sound, or raise; ``digest``: its digest, None if it is absent."""
        expected = self._listed.get(name)
        if expected is None:
            if digest is None:
                return
            raise DamagedRunError(f"{self.at(name)}: not part of the run, so nobody vouches for it")
        fault = MISSING if digest is None else digest_fault(digest, expected)
        if fault is not None:
            raise DamagedRunError(f"{self.at(name)}: {fault}; {FIX}")
        _SOUND.add((self.url, name, str(expected["sha256"])))


class _ComparedStore(WrapperStore[Store]):
    """A store whose values are compared as they are read, without a second read."""

    def __init__(
        self,
        store: Store,
        is_owed: Callable[[str], bool],
        compare: Callable[[str, dict[str, Any] | None], None],
        prefix: str,
    ) -> None:
        super().__init__(store)
        self._is_owed, self._compare, self._prefix = is_owed, compare, prefix

    def _with_store(self, store: Store) -> _ComparedStore:
        return type(self)(store, self._is_owed, self._compare, self._prefix)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        name = f"{self._prefix}/{key}"
        if not self._is_owed(name):
            return await self._store.get(key, prototype, byte_range)
        value = await self._store.get(key, prototype)
        digest = None
        if value is not None:  # beside the loop that reads: SHA-256 lets other threads run
            digest = await asyncio.to_thread(digest_of, value.to_bytes())
        self._compare(name, digest)
        if byte_range is None:
            return value
        return await self._store.get(key, prototype, byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def _get_many(
        self, requests: Iterable[tuple[str, BufferPrototype, ByteRequest | None]]
    ) -> AsyncIterator[tuple[str, Buffer | None]]:
        for request in requests:
            yield request[0], await self.get(*request)
