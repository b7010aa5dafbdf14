"""Storage of a run: a folder or an object store; atomic writes, names created once."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import fsspec
from zarr.abc.store import Store
from zarr.storage import FsspecStore

from octoscope.config.types import holds_credentials
from octoscope.errors import InputError
from octoscope.store.regular_files import RegularFiles

# Protocols whose file systems pass "create" on as a condition that the store itself checks
# (If-None-Match, ifGenerationMatch): a client that looks first and writes then is not exclusive.
_HALF = ".partial"  # end of the names that a file has until it is whole
PROBE = ".octoscope-"  # of names that a trial of a store may leave behind
CONDITIONAL = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory")
AT_ONCE = 64  # requests in flight where many small objects are asked for; connections to S3


class Objects(Protocol):
    """Objects by name; names use ``/`` and are relative to the place."""

    def read(self, name: str) -> bytes | None:
        """Return an object's bytes, or None if it is absent."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Open an object for reading; raises FileNotFoundError."""
        ...

    def size(self, name: str) -> int | None:
        """Return an object's bytes, or None if it is absent."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write an object atomically, over one that is there."""
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Write an object unless it exists; of all callers everywhere one alone gets True."""
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects that are there."""
        ...

    def names(self, below: str = "") -> list[str]:
        """List objects below a name, sorted."""
        ...

    def zarr(self, name: str) -> Store:
        """Return a Zarr store at a name."""
        ...


class LocalObjects:
    """A folder on a local or mounted file system."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> bytes | None:
        """Return an object's bytes, or None if it is absent."""
        try:
            with self.open(name) as handle:
                return handle.read()
        except FileNotFoundError:
            return None

    def open(self, name: str) -> BinaryIO:
        """Open an object for reading; raises FileNotFoundError."""
        path = self.path / name
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # a pipe would wait, a device not end
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        return path.open("rb")

    def size(self, name: str) -> int | None:
        """Return an object's bytes, or None if it is absent."""
        path = self.path / name
        return path.stat().st_size if path.is_file() else None

    def write(self, name: str, data: bytes) -> None:
        """Write beside, flush to disk, rename over."""
        temporary = self._temporary(name, data)
        os.replace(temporary, self.path / name)

    def create(self, name: str, data: bytes) -> bool:
        """Write beside, then ``os.link``.

        It fails when the name is taken, also between processes and over NFS, and the content is
        complete before the name appears. (fsspec's exclusive create is not exclusive here.)
        """
        temporary = self._temporary(name, data)
        try:
            os.link(temporary, self.path / name)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def _temporary(self, name: str, data: bytes) -> Path:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}{_HALF}")
        try:
            with temporary.open("wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
        except OSError:  # no space: leave nothing half-written behind
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, then the folders that they leave empty."""
        parents = set()
        for name in names:
            path = self.path / name
            path.unlink(missing_ok=True)
            parents |= {p for p in path.parents if p != self.path and p.is_relative_to(self.path)}
        for folder in sorted(parents, key=lambda p: -len(p.parts)):
            with suppress(OSError):  # not empty, or gone already
                folder.rmdir()

    def names(self, below: str = "") -> list[str]:
        """List files, sorted."""
        files_below = []
        for folder, folders, files in os.walk(self.path / below):  # others may delete meanwhile
            links = [f for f in folders if os.path.islink(os.path.join(folder, f))]
            files_below += [
                Path(folder, f).relative_to(self.path).as_posix() for f in files + links
            ]
        return sorted(files_below)

    def zarr(self, name: str) -> Store:
        """Return a Zarr store in a folder."""
        return RegularFiles(self.path / name)


class RemoteObjects:
    """A prefix in an object store, through fsspec.

    Parameters
    ----------
    system
        A file system whose ``pipe_file(mode="create")`` is a conditional write.
    """

    def __init__(self, system: Any, base: str) -> None:
        self.system, self.base = system, base.rstrip("/")
        # In memory "create" looks and then writes; one process, so a lock makes it one step.
        self._step = _MEMORY if _protocol(system) == "memory" else None

    def _at(self, name: str) -> str:
        return f"{self.base}/{name}" if name else self.base

    def read(self, name: str) -> bytes | None:
        """Return an object's bytes, or None if it is absent."""
        try:
            with _os_errors():
                return bytes(self.system.cat_file(self._at(name)))
        except FileNotFoundError:
            return None

    def open(self, name: str) -> BinaryIO:
        """Open an object for reading; raises FileNotFoundError."""
        with _os_errors():
            return self.system.open(self._at(name), "rb")

    def size(self, name: str) -> int | None:
        """Return an object's bytes, or None if it is absent."""
        try:
            with _os_errors():
                entry = self.system.info(self._at(name), refresh=True)
        except FileNotFoundError:
            return None
        return int(entry["size"]) if entry["type"] == "file" else None

    def write(self, name: str, data: bytes) -> None:
        """Put an object; object stores do this atomically."""
        with _os_errors():
            self.system.pipe_file(self._at(name), data)

    def create(self, name: str, data: bytes) -> bool:
        """Put an object on the condition that there is none of its name."""
        for pause in _PAUSES:
            try:
                with _os_errors(), self._step or nullcontext():
                    self.system.pipe_file(self._at(name), data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                code = _s3_code(error)
                if code == "PreconditionFailed":  # where the answer does not name the condition
                    return False
                if code != "ConditionalRequestConflict" or pause is None:
                    raise
                time.sleep(pause)  # two at the same moment: S3 may refuse both
            else:
                return True
        raise AssertionError("the last pause is None")

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects that are there."""
        paths = [self._at(n) for n in names]
        try:
            with _os_errors():
                self.system.rm(paths)
        except FileNotFoundError:  # another driver took one: one by one then
            for path in paths:
                try:
                    self.system.rm_file(path)
                except FileNotFoundError:
                    continue

    def names(self, below: str = "") -> list[str]:
        """List objects, sorted."""
        top = self._at(below).strip("/") + "/"
        cut = len(self.base.strip("/")) + 1
        try:
            with _os_errors():
                listed = self.system.find(self._at(below))
        except FileNotFoundError:
            return []
        paths = (p.lstrip("/") for p in listed)
        # some servers list the folder that once was
        return sorted(p[cut:] for p in paths if p.startswith(top) and not p.endswith("/"))

    def zarr(self, name: str) -> Store:
        """Return a Zarr store below a name."""
        return FsspecStore.from_mapper(self.system.get_mapper(self._at(name)))


@contextmanager
def _os_errors() -> Iterator[None]:
    """Turn what a client library raises before any answer (no key, no connection) into OSError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if type(error).__module__.startswith(("botocore", "aiobotocore", "google", "azure")):
            raise OSError(f"{type(error).__name__}: {error}") from error
        raise


_MEMORY = threading.Lock()
_PAUSES = (0.05, 0.2, 0.8, 3.2, None)  # seconds between tries where S3 refuses two at once
_EXTRAS = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az"}  # protocol -> extra


def _s3_code(error: BaseException) -> str:
    """Return S3's own code of an error, or ''."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def is_half_written(name: str) -> bool:
    """Tell whether an object is what a writer of a folder leaves when it is killed in a write."""
    return name.rpartition("/")[2].startswith(".") and name.endswith(_HALF)


def _protocol(system: Any) -> str:
    protocol = system.protocol
    return str(protocol if isinstance(protocol, str) else protocol[0])


def objects_at(url: str) -> LocalObjects | RemoteObjects:
    """Return the objects at a path or URL.

    Raises
    ------
    InputError
        If the URL holds a password, its package is not installed, or its store has no conditional
        create, without which two attempts could both win.
    """
    if "://" not in url or url.startswith("file://"):
        return LocalObjects(Path(url.removeprefix("file://")).absolute())
    protocol, rest = url.split("://", 1)
    where = f"{protocol}://{rest.rsplit('@', 1)[-1]}"
    if holds_credentials(url):
        raise InputError(
            where,
            "the URL holds credentials, which would be written into the run",
            "give them by the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ...)",
        )
    if protocol not in CONDITIONAL:
        raise InputError(
            where,
            f"{protocol} has no conditional create, so two attempts could both win",
            f"use a path, or one of {', '.join(f'{p}://' for p in CONDITIONAL[:-1])}",
        )
    if any(c in rest for c in "*?[]"):  # clients would take them for patterns, in deletions too
        raise InputError(where, "has one of * ? [ ] in it", "choose another name")
    try:
        # Listings are asked for seldom, and must be true; one request per object, not two.
        more: dict[str, Any] = {}
        if protocol in ("s3", "s3a"):
            # botocore keeps 10 connections unless told: with a distant store that is the rate
            own = fsspec.config.conf.get(protocol, {}).get("config_kwargs", {})
            pool = {"max_pool_connections": AT_ONCE}
            more = {"max_concurrency": 1, "config_kwargs": pool | own}
        system, base = fsspec.url_to_fs(url, use_listings_cache=False, **more)
    except ImportError as error:
        fix = f"pip install 'octoscope[{_EXTRAS.get(protocol, protocol)}]'"
        raise InputError(where, str(error), fix) from None
    return RemoteObjects(system, base)


def require_conditional_create(objects: Objects, where: str) -> None:
    """Try it: a second create of one name must be refused.

    Raises
    ------
    InputError
        If it is not, or the store cannot be written to.
    """
    name = f"{PROBE}{uuid.uuid4().hex}"
    try:
        objects.create(name, b"1")
        objects.create(name, b"2")
        if objects.read(name) == b"1":
            return
    except (OSError, ValueError) as error:
        raise InputError(
            where, f"cannot be written ({error})", "check the address and the rights to it"
        ) from None
    finally:
        with suppress(OSError, ValueError):
            objects.delete([name])
    raise InputError(
        where,
        "the store overwrites what exists although asked not to (If-None-Match), so two attempts "
        "could both win",
        "use a store with conditional writes",
    )
