"""Finding model families: the entry point group ``octoscope.models``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import torch

from octoscope.errors import InputError
from octoscope.models.protocol import FoundationModel

GROUP = "octoscope.models"


def families() -> dict[str, type[FoundationModel]]:
    """Return every installed family by name."""
    return {e.name: e.load() for e in sorted(entry_points(group=GROUP), key=lambda e: e.name)}


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
        If the folder is absent or no installed family recognises it.
    """
    _require(path)
    for name, family in families().items():
        if family.recognises(path):
            return name
    raise InputError(
        str(path),
        f"not recognised by any installed family ({', '.join(families())})",
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
    """
    path = Path(path)
    _require(path)
    name = family or family_of(path)
    known = families()
    if name not in known:
        raise InputError(
            "models.*.family", f"{name!r} is not installed", f"choose one of {sorted(known)}"
        )
    return known[name].load(
        path, device=torch.device(device), dtype=dtype, options=options, seed=seed
    )
