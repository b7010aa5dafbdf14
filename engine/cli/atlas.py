"""``octoscope atlas``: look at and convert atlases."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from engine.cli.shared import AsJson, rows_table, show

app = typer.Typer(help="Look at and convert atlases.", no_args_is_help=True)


@app.command("info")
def atlas_info(
    path: Annotated[str, typer.Argument(help="AnnData in Zarr, or h5ad")],
    category: Annotated[list[str] | None, typer.Option(help="obs column of categories")] = None,
    counts: Annotated[str, typer.Option(help="auto, X, raw.X or layers/<name>")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Open an atlas, check every count, and say what a run would see."""
    import numpy as np

    from engine.atlas import Atlas
    from engine.config import AtlasConfig

    atlas = Atlas(AtlasConfig(path=path, counts=counts, category_key=category or []))
    n = len(atlas.cell_ids)
    total = sum(b.counts.nnz for b in atlas.stream(np.arange(n), 1024))
    rows: dict[str, Any] = {
        "cells": n,
        "genes": len(atlas.genes),
        "counts": atlas.counts_source,
        "nonzero": total,
        "genes dropped or merged": len(atlas.gene_report),
        "read over needed": round(atlas.cost.read / max(1, atlas.cost.needed), 2),
    }
    if category:
        index = atlas.index(0)
        for name, halves in zip(index.categories, index.halves, strict=True):
            rows[f"cells of {name}"] = sum(len(h) for h in halves)
        rows |= {f"refused: {why}": k for why, k in index.refused.items()}
    show(rows, as_json, lambda: rows_table(path, rows))


@app.command("convert")
def atlas_convert(
    path: Annotated[str, typer.Argument(help="AnnData in Zarr, or h5ad")],
    target: Annotated[str, typer.Argument(help="Zarr v3 store to make")],
    category: Annotated[list[str] | None, typer.Option(help="obs column(s) to sort by")] = None,
    counts: Annotated[str, typer.Option(help="auto, X, raw.X or layers/<name>")] = "auto",
    gene_id: Annotated[str | None, typer.Option(help="var column of Ensembl ids")] = None,
    donor: Annotated[str | None, typer.Option(help="obs column of donors, if runs use it")] = None,
    seed: Annotated[int, typer.Option(help="The seed of the runs to come")] = 0,
    as_json: AsJson = False,
) -> None:
    """Rewrite an atlas sorted by category and half: sharded Zarr v3 with checksums."""
    from engine.atlas import convert
    from engine.config import AtlasConfig

    config = AtlasConfig(
        path=path,
        counts=counts,
        category_key=category or [],
        gene_id_key=gene_id,
        replicate_key=donor,
    )
    rows = convert(config, target, seed=seed)
    show(rows, as_json, lambda: rows_table(target, rows))
