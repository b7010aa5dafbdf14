"""``octoscope compare`` and ``export``: the comparisons of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from octoscope.cli.comparison_tables import show
from octoscope.cli.shared import MOST, AsJson, Force, Unchecked, as_options, opened, out, rows_json

app = typer.Typer(help="Compare layers, models or whole runs.", no_args_is_help=True)
app.command()(show)

Run = Annotated[str, typer.Argument(help="Run directory")]
GeneSet = Annotated[str | None, typer.Option(help="Declared gene set; default: the first")]
View = Annotated[str | None, typer.Option(help="View; default: the first")]
TopK = Annotated[
    int | None,
    typer.Option("--k", min=1, max=MOST, help="One of compare.k; default: the largest"),
]
Category = Annotated[str | None, typer.Option(help="One category; default: the median over all")]


@app.command()
def layers(
    run: Run,
    model: Annotated[str | None, typer.Option(help="One model; default: all")] = None,
    gene_set: GeneSet = None,
    view: View = None,
    k: TopK = None,
    category: Category = None,
    as_json: AsJson = False,
    unchecked: Unchecked = False,
) -> None:
    """Print the quantiles of each layer's strongest pairs in the model's other layers."""
    with as_options("model", "gene_set", "view", "k", "category"):
        table = opened(run, unchecked).agreement(
            "layers", model=model, gene_set=gene_set, view=view, k=k, category=category
        )
    _show(table, as_json, "Layers of one model")


@app.command()
def models(
    run: Run,
    gene_set: GeneSet = None,
    view: View = None,
    k: TopK = None,
    category: Category = None,
    as_json: AsJson = False,
    unchecked: Unchecked = False,
) -> None:
    """Print the quantiles of each model's strongest pairs in the layers of other models."""
    with as_options("gene_set", "view", "k", "category"):
        table = opened(run, unchecked).agreement(
            "models", gene_set=gene_set, view=view, k=k, category=category
        )
    _show(table, as_json, "Models")


@app.command()
def runs(
    first: Run,
    second: Annotated[str, typer.Argument(help="Another run directory")],
    out_: Annotated[Path | None, typer.Option("--out", help="Parquet file to write")] = None,
    as_json: AsJson = False,
    force: Force = False,
    unchecked: Unchecked = False,
) -> None:
    """Compare the matrices that two runs have in common (both with `keep_dense: fp32`)."""
    from octoscope.output_files import new_file, require_new

    one, other = (opened(run, unchecked) for run in (first, second))
    inputs = [*one.inputs, *other.inputs]
    if out_ is not None:  # before minutes of work
        require_new(out_, force=force, inputs=inputs)
    table = one.compare(other)
    if out_ is not None:
        with new_file(out_, force=force, inputs=inputs) as temporary:
            table.to_parquet(temporary, compression="zstd", index=False)
    if as_json:
        typer.echo(table.to_json(orient="records"))
        return
    keys = ["model", "category", "layer", "gene_set", "view"]
    measured = ["median_quantile", "null_median", "jaccard", "spearman", "q"]
    forth = table[table["query_run"] == 0]
    shown = Table(*keys, "pairs", "median quantile", "null", "Jaccard", "Spearman", "q")
    for row in forth.to_dict("records"):
        shown.add_row(
            *(escape(str(row[x])) for x in keys), str(row["n_pairs"]),
            *(f"{row[x]:.3g}" for x in measured),
        )  # fmt: skip
    out.print(shown)


def pool(
    run: Run,
    category: Annotated[list[str], typer.Option(help="A category; give it twice or more")],
    out_: Annotated[Path, typer.Option("--out", help="Folder to make")],
    name: Annotated[str, typer.Option(help="Name of the pool in the tables")] = "pool",
    min_cells: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Cells a pair needs; default: as in the run")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files in the folder")] = False,
    unchecked: Unchecked = False,
) -> None:
    """Pool categories of a finished run (it must have kept its matrices)."""
    from octoscope.output_files import new_file, require_new

    finished = opened(run, unchecked)
    inputs = finished.inputs
    require_new(out_, force=force, inputs=inputs, what="folder")
    tables = finished.pool(category, name=name, min_cells=min_cells)
    for path, table in tables.items():
        file = out_ / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with new_file(file, force=force, inputs=inputs) as temporary:
            table.to_parquet(temporary, compression="zstd", index=False)
    stats = tables["tables/pools.parquet"]
    shown = Table("model", "layer", "gene set", "view", "cells", "eligible pairs", "centred r")
    for row in stats.to_dict("records"):
        shown.add_row(
            *(escape(str(row[x])) for x in ("model", "layer", "gene_set", "view")),
            str(row["n_cells"]), str(row["n_eligible"]), f"{row['half_centred']:.3f}",
        )  # fmt: skip
    out.print(shown)
    out.print(f"written: {escape(str(out_))}", soft_wrap=True)


def _show(table: Any, as_json: bool, title: str) -> None:
    if as_json:
        typer.echo(rows_json(table))
        return
    if table.empty:
        out.print("nothing to compare: a single matrix")
        return
    one = "category" in table
    spread = ["95 %", "null 95 %", "q"] if one else ["smallest, largest", "categories"]
    shown = Table(
        "strongest pairs of", "in", "median quantile", *spread, "Jaccard", "Spearman", title=title
    )
    for row in table.to_dict("records"):
        ends = (f"{row[f'{s}_model']}, layer {row[f'{s}_layer']}" for s in ("query", "eval"))
        if one:
            null = f"{row['null_low']:.3f} to {row['null_high']:.3f}"
            more = [f"{row['low']:.3f} to {row['high']:.3f}", null, f"{row['q']:.2g}"]
        else:
            low, high = row["median_quantile_min"], row["median_quantile_max"]
            more = [f"{low:.3f}, {high:.3f}", str(row["n_categories"])]
        shown.add_row(
            *ends, f"{row['median_quantile']:.3f}", *more, f"{row['jaccard']:.3f}",
            f"{row['spearman']:.3f}",
        )  # fmt: skip
    out.print(shown)
    out.print("median quantile: 0 is the same pairs, 0.5 is chance")


def export(
    run: Run,
    out_: Annotated[Path, typer.Option("--out", help="File to write")],
    kind: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="parquet, graphml, omnipath, decoupler or anndata; default: by the suffix",
        ),
    ] = None,
    category: Annotated[str | None, typer.Option(help="One category; default: all")] = None,
    gene_set: GeneSet = None,
    view: View = None,
    model: Annotated[
        str | None, typer.Option(help="One model's combined layers; default: all models")
    ] = None,
    min_groups: Annotated[
        int, typer.Option(min=1, max=MOST, help="Model groups that must share a pair")
    ] = 1,
    top: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Pairs per category, at most")
    ] = None,
    force: Force = False,
    unchecked: Unchecked = False,
) -> None:
    """Write the consensus network for Cytoscape, igraph, OmniPath, decoupler or AnnData."""
    with as_options("category", "gene_set", "view", "model", kind="--format"):
        n = opened(run, unchecked).export(
            out_, kind=kind, category=category, gene_set=gene_set, view=view, model=model,
            min_groups=min_groups, top=top, force=force,
        )  # fmt: skip
    out.print(f"{n} pairs: {escape(str(out_))}", soft_wrap=True)
