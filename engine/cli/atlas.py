"""``octoscope atlas``: look at, check and convert atlases."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from engine.cli.shared import AsJson, err, rows_table, show

app = typer.Typer(help="Look at, check and convert atlases.", no_args_is_help=True)


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


@app.command("check")
def atlas_check(
    path: Annotated[str, typer.Argument(help="AnnData in Zarr, or h5ad")],
    category: Annotated[list[str] | None, typer.Option(help="obs column of categories")] = None,
    counts: Annotated[str, typer.Option(help="auto, X, raw.X or layers/<name>")] = "auto",
    gene_id: Annotated[str | None, typer.Option(help="var column of Ensembl ids")] = None,
    donor: Annotated[str | None, typer.Option(help="obs column of donors, if runs use it")] = None,
    as_json: AsJson = False,
) -> None:
    """Read every chunk once and list those that are missing or damaged; exit 1 if there are any."""
    from engine.atlas import check
    from engine.config import AtlasConfig

    config = AtlasConfig(
        path=path,
        counts=counts,
        category_key=category or [],
        gene_id_key=gene_id,
        replicate_key=donor,
    )
    found = check(config)
    bare = [name for name, checked in found.checksums.items() if not checked]
    rows = {
        "counts": found.counts,
        "chunks read": found.chunks,
        "arrays with a checksum": f"{len(found.checksums) - len(bare)} of {len(found.checksums)}",
        "without (a changed bit can pass unseen)": ", ".join(bare) or "none",
        "faults": len(found.faults),
    }
    show(found.as_dict(), as_json, lambda: rows_table(path, rows))
    if not as_json:
        for fault in found.faults:
            err.print(escape(str(fault)), soft_wrap=True)
    if found.faults:
        raise typer.Exit(1)


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
