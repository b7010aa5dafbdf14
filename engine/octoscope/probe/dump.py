"""``attention dump``: joins an atlas and a model, outside any run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from octoscope.atlas import Atlas
from octoscope.config import AtlasConfig
from octoscope.errors import InputError
from octoscope.models import load_model
from octoscope.models.cell_groups import group_digest, group_numbers, with_groups
from octoscope.output_files import new_file, require_new
from octoscope.probe.dump_format import dump, token_genes, tokens_of_dump
from octoscope.probe.gene_statistics import fixed_options

_OF_THE_DUMP = "token_gene where token_kind is gene"
_LARGEST = 8e9  # bytes of one layer's attention and logits in memory


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
    force: bool = False,
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
    force
        Replace a file that is there.

    Raises
    ------
    InputError
        If a file or option cannot be used, or the target may not be written.
    """
    dumps = [p for p in (tokens, positions) if p is not None and p.is_file()]
    inputs: list[str | Path] = [checkpoint, *dumps, *([cells] if cells else [])]
    require_new(target, force=force, inputs=inputs)
    options = dict(options or {})
    if options.get("context_genes") == _OF_THE_DUMP:  # as dumps describe it in their meta
        options["context_genes"] = str(positions or tokens or "")
    kind = getattr(torch, dtype)
    model = load_model(checkpoint, dtype=kind, options=options, seed=seed)
    stored = None
    if tokens is not None:
        given, names, stored = tokens_of_dump(tokens)
    else:
        atlas = Atlas(AtlasConfig(path=cells))
        match = model.match(atlas.genes)
        rows = np.arange(len(atlas.cell_ids))
        if extra := fixed_options(model, match, atlas, [rows]):
            model = load_model(checkpoint, dtype=kind, options=options | extra, seed=seed)
        if upstream and hasattr(model, "use_upstream_randomness"):  # other families draw nothing
            model.use_upstream_randomness()
        batch = atlas.read(rows)
        group_digest(model, atlas.column, [rows])  # every cell has a number
        given = model.tokenize(batch.counts, match, batch.cell_ids)
        given = with_groups(given, group_numbers(model, atlas.column), batch.rows)
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
    if stored is None:
        n_bytes = 2 * len(given.mask) * model.n_heads * width**2 * 4
        if n_bytes > _LARGEST:
            raise InputError(
                str(cells),
                f"attention between all {width} tokens takes {n_bytes / 1e9:.0f} GB per layer",
                "name the tokens to store: --positions DUMP",
            )
    elif (
        stored.ndim != 2
        or stored.shape[0] != len(given.mask)
        or not stored.size
        or not 0 <= stored.min() <= stored.max() < width
    ):
        raise InputError(
            str(positions or tokens),
            f"positions of shape {stored.shape} up to {stored.max(initial=0)}; here are "
            f"{len(given.mask)} cells of at most {width} tokens",
            "give a dump of the same cells and settings",
        )
    try:
        content = dump(model, given, names, stored)
    except (IndexError, RuntimeError, ValueError) as error:
        if tokens is None:
            raise
        text = f"its tokens do not fit this model ({str(error).splitlines()[0]})"
        raise InputError(str(tokens), text, "give a dump of this family and size") from None
    with (
        new_file(target, force=force, inputs=inputs) as temporary,
        temporary.open("wb") as handle,
    ):
        np.savez_compressed(handle, **content)
