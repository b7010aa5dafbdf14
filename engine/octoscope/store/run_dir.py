"""A run directory: names kept inside it, JSON, digests. The only way anything is written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from zarr.abc.store import Store

from octoscope.digests import stream_digest
from octoscope.errors import DamagedRunError, InputError
from octoscope.json_values import parse_json
from octoscope.store.backends import LocalObjects, Objects, objects_at

_LARGEST_JSON = 1 << 30  # bytes; a manifest of a million objects has 0.2 GB
NO_FILE = "is no regular file"
# Set by Ray for the entrypoint of a submitted job.
_IN_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"


class RunRoot:
    """A run directory: a path, or a URL of an object store with conditional create.

    Parameters
    ----------
    location
        Path, ``file://``, or an fsspec URL.
    objects
        What is there; None: opened from ``location``.

    Attributes
    ----------
    url
        Absolute path or URL.

    Raises
    ------
    InputError
        If the URL holds credentials, or its store has no conditional create.
    """

    def __init__(self, location: str | Path, objects: Objects | None = None) -> None:
        self.objects = objects_at(str(location)) if objects is None else objects
        self.url = str(self.folder or str(location).rstrip("/"))

    @property
    def folder(self) -> Path | None:
        """The folder on this machine, or None for an object store."""
        return self.objects.path if isinstance(self.objects, LocalObjects) else None

    def _inside(self, relative: str) -> str:
        parts = PurePosixPath(relative).parts
        if ".." in parts or relative.startswith("/") or "\\" in relative or not parts:
            raise ValueError(f"{relative!r} leaves the run directory")
        return relative

    def at(self, relative: str) -> str:
        """Return the full name of an object, for messages.

        Raises
        ------
        ValueError
            If it would leave the run directory; so does every other method.
        """
        return f"{self.url}/{self._inside(relative)}"

    def exists(self, relative: str) -> bool:
        """Tell whether an object is there."""
        return self.size(relative) is not None

    def size(self, relative: str) -> int | None:
        """Return the bytes of an object; None if it is absent."""
        return self.objects.size(self._inside(relative))

    def read(self, relative: str) -> bytes | None:
        """Return an object's content; None if it is absent.

        Raises
        ------
        DamagedRunError
            If a folder, a pipe or a device stands in its place.
        """
        with self._regular(relative):
            return self.objects.read(self._inside(relative))

    def open(self, relative: str) -> BinaryIO:
        """Open an object for reading; raises FileNotFoundError, else as :meth:`read`."""
        with self._regular(relative):
            return self.objects.open(self._inside(relative))

    @contextmanager
    def _regular(self, relative: str) -> Iterator[None]:
        try:
            yield
        except IsADirectoryError:
            raise DamagedRunError(f"{self.at(relative)}: {NO_FILE} but a folder") from None
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise DamagedRunError(f"{self.at(relative)}: {NO_FILE}") from None

    def is_irregular(self, relative: str) -> bool:
        """Tell whether a folder, a pipe or a device stands where an object should be."""
        if self.folder is None:
            return False
        path = self.folder / self._inside(relative)
        return os.path.lexists(path) and not path.is_file()

    def read_json(self, relative: str) -> Any:
        """Read JSON; None if the object is absent. Raises ValueError if it is no JSON."""
        if self.folder is not None and (self.size(relative) or 0) > _LARGEST_JSON:
            raise ValueError(f"has more than {_LARGEST_JSON:,} bytes")
        raw = self.read(relative)
        body = None if raw is None else parse_json(raw)
        if isinstance(body, dict) and "set_aside" in body:  # the name in runs of version 0.1
            body["quarantined"] = body.pop("set_aside")
        return body

    def replace(self, relative: str, data: bytes) -> None:
        """Write atomically, over anything that is there."""
        self.objects.write(self._inside(relative), data)

    def create_once(self, relative: str, data: bytes) -> bool:
        """Write atomically unless the object exists; returns whether this call wrote it."""
        return self.objects.create(self._inside(relative), data)

    def remove(self, names: Iterable[str]) -> None:
        """Delete objects that are there."""
        self.objects.delete([self._inside(n) for n in names])

    def files(self, below: str = "") -> list[str]:
        """Return the names of all objects below one, sorted, relative to the run directory."""
        return self.objects.names(self._inside(below) if below else "")

    def zarr(self, relative: str) -> Store:
        """Return a Zarr store at a name."""
        return self.objects.zarr(self._inside(relative))

    def digest(self, relative: str) -> dict[str, Any]:
        """Return size and SHA-256 of an object; raises FileNotFoundError."""
        with self.open(relative) as handle:
            return stream_digest(handle)


def require_lasting(location: str) -> None:
    """Refuse a run directory, or another output, that goes with the job.

    The working directory of a submitted job is a copy that Ray deletes.

    Raises
    ------
    InputError
        If this process is a submitted job and the place a relative path.
    """
    if _IN_JOB in os.environ and "://" not in location and not Path(location).is_absolute():
        raise InputError(
            f"--out {location}",
            "is inside the job's working directory, which is deleted with the job",
            "give an absolute path that all nodes see, or for a run a URL such as s3://bucket/run",
        )
