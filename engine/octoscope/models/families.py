"""Finding model families: the entry point group ``octoscope.models``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import torch

from octoscope.errors import InputError, OctoscopeError, in_one_line
from octoscope.models.protocol import FoundationModel
from octoscope.models.weight_files import look, refuse_stand_in, weight_names, weights_in
from octoscope.models.weights import refuse_adapter

GROUP = "octoscope.models"


def families() -> dict[str, type[FoundationModel]]:
    """Return every installed family by name.

    Raises
    ------
    OctoscopeError
        If a family's module cannot be imported.
    """
    return {name: _imported(entry) for name, entry in _entries().items()}


def _entries() -> dict[str, EntryPoint]:
    return {e.name: e for e in sorted(entry_points(group=GROUP), key=lambda e: e.name)}


def _imported(entry: EntryPoint) -> type[FoundationModel]:
    """Import a family; a plug-in runs code of its own, which may raise anything."""
    try:
        family: type[FoundationModel] = entry.load()
    except (Exception, SystemExit) as error:
        raise OctoscopeError(
            f"the plug-in {entry.name} ({entry.value}) cannot be imported: {in_one_line(error)}. "
            "Repair or uninstall its package"
        ) from error
    return family


@contextmanager
def plugin_errors(name: str, path: str | Path) -> Iterator[None]:
    """Name the family in whatever its code raises."""
    try:
        yield
    except (OctoscopeError, PermissionError):  # the second names the file
        raise
    except (Exception, SystemExit) as error:
        raise OctoscopeError(
            f"{path}: the plug-in {name} failed: {in_one_line(error)}. Check that the files are "
            f"whole, and that this version of {name} reads them"
        ) from error


def _require(path: Path) -> None:
    if not path.exists():
        raise InputError(str(path), "does not exist", "give the published checkpoint")


def checkpoint_files(path: Path) -> list[Path]:
    """Return every file of a checkpoint, given as a folder or as a single file, by name."""
    return sorted(f for f in path.iterdir() if f.is_file()) if path.is_dir() else [path]


def family_of(path: Path) -> str:
    """Return the family whose published files are in a folder, or are this file.

    Raises
    ------
    InputError
        If the folder is absent, no installed family recognises it, or it is an adapter alone.
    """
    _require(path)
    for name, family in families().items():
        with plugin_errors(name, path):
            if family.recognises(path):
                return name
    refuse_adapter(path)
    file = weights_in(path, ())
    seen = "it holds no file of weights"
    if file is not None:
        refuse_stand_in(file)
        names = weight_names(file)
        where = "" if file == path else f"{file.name}: "
        seen = where + (look(names) if names else "no names of weights in it (truncated?)")
    raise InputError(
        str(path),
        f"not recognised by any installed family ({', '.join(families())}); {seen}",
        "give the folder with all published files, or install the family's plug-in",
    )


def load_model(
    path: str | Path,
    *,
    family: str | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> FoundationModel:
    """Load a checkpoint of a named family, or of the family that recognises it.

    Raises
    ------
    InputError
        If the family is not installed, or the files cannot be used.
    OctoscopeError
        If the family's code fails.
    """
    path = Path(path)
    _require(path)
    name = family or family_of(path)
    known = _entries()
    if name not in known:
        raise InputError(
            "models.*.family", f"{name!r} is not installed", f"choose one of {sorted(known)}"
        )
    with plugin_errors(name, path), _naming(path):
        return _imported(known[name]).load(
            path, device=torch.device(device), dtype=dtype, options=options, seed=seed
        )


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the checkpoint in a refusal that names an option alone: a run has several."""
    try:
        yield
    except InputError as error:
        if path.name in str(error) or not error.where.startswith("models.*."):
            raise
        raise InputError(f"{path}: {error.where}", error.problem, error.fix) from error
