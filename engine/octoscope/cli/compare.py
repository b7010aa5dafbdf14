"""``octoscope compare`` and ``export``: the comparisons of a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from octoscope.cli.comparison_tables import show
from octoscope.cli.shared import AsJson, Force, Unchecked, out, rows_json
from octoscope.errors import InputError

app = typer.Typer(help="Compare layers, models or whole runs.", no_args_is_help=True)
app.command()(show)

Run = Annotated[str, typer.Argument(help="Run directory")]
GeneSet = Annotated[str | None, typer.Option(help="Declared gene set; default: the first")]
View = Annotated[str | None, typer.Option(help="View; default: the first")]
TopK = Annotated[int | None, typer.Option("--k", help="One of compare.k; default: the largest")]
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
    import pandas as pd

    from octoscope.results.selections import layers_of_model

    table = _agreement(run, gene_set, view, k, category, ("models", "layers"), unchecked)
    table = table[table["query_model"] == table["eval_model"]]
    names = dict.fromkeys(table["query_model"])
    parts = [layers_of_model(table, name) for name in names]
    table = pd.concat(parts) if parts else table.head(0)
    if model is not None:
        if model not in set(table["query_model"]):
            raise InputError("--model", f"{model!r} has no two layers here", "see `status RUN`")
        table = table[table["query_model"] == model]
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
    table = _agreement(run, gene_set, view, k, category, ("models",), unchecked)
    _show(table[table["query_model"] != table["eval_model"]], as_json, "Models")


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
    from octoscope.api.run import open_run
    from octoscope.output_files import new_file, require_new

    one, other = (open_run(run, check=not unchecked) for run in (first, second))
    inputs = [place for run in (one, other) for place in run.results.config.places()]
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
        int | None, typer.Option(min=1, help="Cells a pair needs; default: as in the run")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files in the folder")] = False,
    unchecked: Unchecked = False,
) -> None:
    """Pool categories of a finished run (it must have kept its matrices)."""
    from octoscope.api.run import open_run
    from octoscope.output_files import new_file, require_new

    opened = open_run(run, check=not unchecked)
    inputs = opened.results.config.places()
    require_new(out_, force=force, inputs=inputs, what="folder")
    tables = opened.pool(category, name=name, min_cells=min_cells)
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


def _agreement(
    run: str,
    gene_set: str | None,
    view: str | None,
    k: int | None,
    category: str | None,
    kinds: Sequence[str],
    unchecked: bool,
) -> Any:
    """Return agreement of models' layers, of one category or as medians over all."""
    from octoscope.api.run import open_run

    results = open_run(run, check=not unchecked).results
    plan = results.plan
    if plan.compare is None:
        raise InputError(results.at("config.yaml"), "compare: null", "run again with comparisons")
    names = [c.name for c in plan.categories]
    if category is not None and category not in names:
        raise InputError("--category", f"{category!r} is not in this run", f"of {', '.join(names)}")
    table = results.tables["agreement_categories" if category is None else "agreement"]
    table = table[table["comparison"].isin(kinds)]
    if kinds == ("models",):  # a gene set of a single model has no comparisons of models
        across = table["query_model"] != table["eval_model"]
        table = table[across] if across.any() else table
    if category is not None:
        table = table[table["category"] == category]
    k = max(plan.compare.k) if k is None else k
    for option, column, asked in (("--gene-set", "gene_set", gene_set), ("--view", "view", view),
                                  ("--k", "k", k)):  # fmt: skip
        there = list(dict.fromkeys(table[column]))
        if asked is not None and asked not in there:
            known = ", ".join(map(str, there)) or "none: nothing was compared"
            raise InputError(option, f"{asked!r} was not compared", f"choose of {known}")
        if there:
            table = table[table[column] == (there[0] if asked is None else asked)]
    return table


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
    min_groups: Annotated[int, typer.Option(min=1, help="Model groups that must share a pair")] = 1,
    top: Annotated[int | None, typer.Option(min=1, help="Pairs per category, at most")] = None,
    force: Force = False,
    unchecked: Unchecked = False,
) -> None:
    """Write the consensus network for Cytoscape, igraph, OmniPath, decoupler or AnnData."""
    from octoscope.api.run import open_run
    from octoscope.output_files import require_new
    from octoscope.report.export import consensus_network, kind_of
    from octoscope.report.export import export as write

    form = kind_of(out_, kind)
    results = open_run(run, check=not unchecked).results
    require_new(out_, force=force, inputs=results.config.places())
    network = consensus_network(
        results, category=category, gene_set=gene_set, view=view, model=model,
        min_groups=min_groups, top=top,
    )  # fmt: skip
    n = write(network, out_, form, force=force)
    out.print(f"{n} pairs: {escape(str(out_))}", soft_wrap=True)
