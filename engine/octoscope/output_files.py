"""Outputs where the user wants them, never inside a run, an atlas, a checkpoint or other input."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from octoscope.errors import InputError

_WEIGHTS = (
    "model.safetensors", "pytorch_model.bin", "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
)  # fmt: skip
# published files that stand without settings beside them: scFoundation and scPRINT
_PUBLISHED = (
    "models.ckpt", "small-v1.ckpt", "medium-v1.ckpt", "medium-v1.5.ckpt", "large-v1.ckpt",
    "small-v2.ckpt",
)  # fmt: skip
# what a folder is that holds one of these groups of files
_MARKS: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...] = (
    ("a run directory", (("plan.json", "config.yaml"), ("manifest.json", "_SUCCESS"))),
    ("a Zarr store", (("zarr.json",), (".zgroup",), (".zarray",), (".zmetadata",))),
    ("an unfinished conversion", (("convert.json", "convert.lock"),)),
    ("a FoundationModelStore", (("weights.npz", "metadata.json"),)),
    ("a network directory", (("octopus.json",), ("registry.json", "napistu_data"))),
    (
        "a checkpoint",
        (
            ("args.json", "vocab.json"),
            *(("config.json", weights) for weights in _WEIGHTS),
            *((name,) for name in _PUBLISHED),
        ),
    ),
    (
        "a graph or checkpoint of `octoscope gnn`",
        (("graph.json", "src.npy"), ("gnn.json",), ("model.ckpt", "config.json")),
    ),
)


def require_outside(path: str | Path, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse a place for an output that belongs to something that is read.

    Parameters
    ----------
    path
        File or folder to make; a path or a URL. Links are followed.
    inputs
        What this command reads: neither they nor what is inside them may be written to. Runs, Zarr
        stores, networks and checkpoints are recognised without being named.

    Raises
    ------
    InputError
        Naming what the place belongs to.
    """
    text = str(path)
    for given in map(str, inputs):
        if _is_within(text, given):
            raise InputError(text, f"is in {given}, which is read", "name a place outside it")
    if "://" in text.removeprefix("file://"):
        return
    for folder in _real(text).parents:
        what = _kind_of(folder)
        if what is not None:
            problem = f"is in {folder}, {what}: its files are not written to"
            raise InputError(text, problem, "name a place outside it")


def require_new(
    path: Path, *, force: bool = False, inputs: Iterable[str | Path] = (), what: str = "file"
) -> None:
    """Refuse a file that may not be written: outside of inputs, in a folder that is there.

    Parameters
    ----------
    force
        A file that is there may be replaced.
    inputs
        As for :func:`require_outside`.
    what
        ``file`` or ``folder``: what the path is to become.

    Raises
    ------
    InputError
        If it exists (with ``force``: as anything else), or its folder does not.
    """
    require_outside(path, inputs)
    if os.path.lexists(path):
        fits = os.path.isdir(path) if what == "folder" else os.path.isfile(path)
        if not fits and os.path.exists(path):
            raise InputError(str(path), f"exists already and is no {what}", f"name a new {what}")
        if not force:
            fix = f"name a new {what}, or give --force to replace {_OF[what]}"
            raise InputError(str(path), "exists already", fix)
    if what == "file" and not os.path.isdir(path.absolute().parent):
        raise InputError(str(path.absolute().parent), "is no folder", "make it first")


_OF = {"file": "it", "folder": "files in it"}


@contextmanager
def new_file(
    path: Path, *, force: bool = False, inputs: Iterable[str | Path] = ()
) -> Iterator[Path]:
    """Give a file beside ``path`` to write into; it gets the name once it is complete.

    Raises
    ------
    InputError
        As :func:`require_new`, also if another process made the file meanwhile.
    """
    require_new(path, force=force, inputs=inputs)
    temporary = path.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        yield temporary
        if not force:
            _take_name(temporary, path)
        else:
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def require_new_folder(path: str | Path, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse a folder that may not be made: it is there, or it would lie in something that is read.

    Raises
    ------
    InputError
        Saying which.
    """
    require_outside(path, inputs)
    if os.path.lexists(path):
        raise InputError(str(path), "exists already", "name a directory that does not exist")


@contextmanager
def new_folder(path: str | Path, inputs: Iterable[str | Path] = ()) -> Iterator[Path]:
    """Give a hidden folder beside ``path`` to fill; it gets the name once it is complete.

    Folders above it are made. ``inputs``: as for :func:`require_outside`.

    Raises
    ------
    InputError
        If something is there already, or it would lie in a run or an input.
    """
    require_new_folder(path, inputs)
    target = Path(path).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    hidden = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    hidden.mkdir()
    try:
        yield hidden
        os.rename(hidden, target)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _take_name(temporary: Path, path: Path) -> None:
    """Give a file a name that is free, in one step where the file system has links."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise InputError(str(path), "exists already", "name a new file") from None
    except OSError:  # no links here
        require_new(path)
        temporary.replace(path)


def _is_within(path: str, location: str) -> bool:
    """Tell whether a path or URL is a place, or inside it."""
    if "://" in location.removeprefix("file://") or "://" in path.removeprefix("file://"):
        return f"{path.rstrip('/')}/".startswith(f"{location.rstrip('/')}/")
    inner, outer = _real(path), _real(location)
    return inner.is_relative_to(outer) or _leads_into(inner, outer)


def _leads_into(path: Path, location: Path) -> bool:
    """Tell whether a path or a folder above it is a place under another name.

    By a hard link, on a file system without case, or where a folder is mounted twice.
    """
    if not os.path.exists(location):
        return False
    return any(os.path.exists(p) and p.samefile(location) for p in (path, *path.parents))


def _real(path: str) -> Path:
    return Path(os.path.realpath(path.removeprefix("file://")))


def _kind_of(folder: Path) -> str | None:
    """Return what a folder is that outputs do not belong into; None: a folder."""
    for what, groups in _MARKS:
        if any(all(os.path.exists(folder / name) for name in names) for names in groups):
            return what
    return None
