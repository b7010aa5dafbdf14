"""``attention dump``: joins an atlas and a model, outside any run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.atlas import Atlas
from engine.config import AtlasConfig
from engine.dataset import fixed_options
from engine.errors import InputError
from engine.models import load_model
from engine.models.dump import dump, token_genes, tokens_of_dump


def write_dump(
    checkpoint: Path,
    cells: str,
    target: Path,
    *,
    tokens: Path | None = None,
    positions: Path | None = None,
    options: dict[str, Any] | None = None,
    dtype: str = "float32",
    upstream: bool = False,
    seed: int = 0,
) -> None:
    """Write hidden states and attention of all cells of a file, in one batch.

    Parameters
    ----------
    options
        The family's own settings.
    dtype
        float32, bfloat16 or float16.
    tokens
        A dump whose ``token_row``, ``token_value``, ``mask`` and positions are used instead of
        tokens made from the cells.
    positions
        A dump whose stored positions are used.
    upstream
        Draw random numbers as the authors' code does (one sequential stream).

    Raises
    ------
    InputError
        If a file or option cannot be used.
    """
    options = options or {}
    kind = getattr(torch, dtype)
    model = load_model(checkpoint, dtype=kind, options=options, seed=seed)
    stored = None
    if tokens is not None:
        given, names, stored = tokens_of_dump(tokens)
    else:
        atlas = Atlas(AtlasConfig(path=cells))
        if upstream:
            if not hasattr(model, "use_upstream_randomness"):
                raise InputError("--rng upstream", f"{model.family} draws nothing", "leave it out")
            model.use_upstream_randomness()
        match = model.match(atlas.genes)
        rows = np.arange(len(atlas.cell_ids))
        if not upstream and (extra := fixed_options(model, match, atlas, [rows])):
            model = load_model(checkpoint, dtype=kind, options=options | extra, seed=seed)
        batch = atlas.read(rows)
        given = model.tokenize(batch.counts, match, batch.cell_ids)
        names = token_genes(given, match)
        empty = ~given.mask.any(1)
        if empty.any():
            raise InputError(
                cells,
                f"cell {given.cell_ids[np.argmax(empty)]} has no counts among the model's genes",
                "leave such cells out",
            )
    if positions is not None:
        _, _, stored = tokens_of_dump(positions)
    width = given.mask.shape[1]
    if stored is not None and (stored.shape[0] != len(given.mask) or stored.max() >= width):
        raise InputError(
            str(positions or tokens),
            f"positions of shape {stored.shape} up to {stored.max()}; here are {len(given.mask)} "
            f"cells of at most {width} tokens",
            "give a dump of the same cells and settings",
        )
    with target.open("wb") as handle:
        np.savez_compressed(handle, **dump(model, given, names, stored))
