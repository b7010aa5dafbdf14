"""``octoscope models`` and ``octoscope attention``: checkpoints, and single cells through them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from octoscope.cli.shared import (
    LAST_SEED,
    AsJson,
    DType,
    Force,
    Options,
    as_options,
    options_of,
    out,
    read_here,
    rows_table,
    show,
)

models_app = typer.Typer(help="Look at checkpoints.", no_args_is_help=True)
attention_app = typer.Typer(
    help="Hidden states and attention of single cells.", no_args_is_help=True
)


@models_app.command("list")
def models_list(as_json: AsJson = False) -> None:
    """List the installed model families, their published variants and where to get them."""
    from octoscope.api.model import model_families

    rows = model_families()
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for r in rows:
        out.print(
            f"[bold]{r['family']}[/bold] {r['name']}: layers {r['n_layers']}, d {r['d']}, "
            f"heads {r['n_heads']}\n    {r['files']}; {r['source']}; {r['licence']}",
            soft_wrap=True,
            highlight=False,
        )


@models_app.command("inspect")
def models_inspect(
    checkpoint: Annotated[Path, read_here("Published checkpoint folder or file")],
    option: Options = None,
    as_json: AsJson = False,
) -> None:
    """Load a checkpoint strictly and say what it is."""
    from octoscope.api.model import open_model

    rows = open_model(checkpoint, options=options_of(option)).describe()
    show(rows, as_json, lambda: rows_table(str(checkpoint), rows))


@models_app.command("check")
def models_check(
    checkpoint: Annotated[Path, read_here("Published checkpoint folder or file")],
    atlas: Annotated[str, typer.Argument(help="AnnData in Zarr, or h5ad")],
    option: Options = None,
    dtype: DType = "float32",
    as_json: AsJson = False,
) -> None:
    """Say what a checkpoint does with an atlas here: genes, tokens, time and memory per cell."""
    from octoscope.api.model import check_model

    with as_options("dtype"):
        rows = check_model(checkpoint, atlas, options=options_of(option), dtype=dtype)
    show(rows, as_json, lambda: rows_table(str(checkpoint), rows))


@attention_app.command("dump")
def attention_dump(
    checkpoint: Annotated[Path, read_here("Published checkpoint folder")],
    cells: Annotated[str, typer.Argument(help="h5ad or Zarr with raw counts")],
    out_: Annotated[Path, typer.Option("--out", help="npz file to write")],
    tokens: Annotated[
        Path | None, typer.Option(help="Dump whose model inputs are used", readable=False)
    ] = None,
    positions: Annotated[
        Path | None, typer.Option(help="Dump whose positions are stored", readable=False)
    ] = None,
    option: Options = None,
    dtype: DType = "float32",
    rng: Annotated[str, typer.Option(help="cell (counter-based) or upstream")] = "cell",
    seed: Annotated[
        int, typer.Option(min=0, max=LAST_SEED, help="Seed of the counter-based stream")
    ] = 0,
    force: Force = False,
) -> None:
    """Write hidden states and attention of cells in the common schema."""
    from octoscope.api.attention import dump_attention

    pairs = options_of(option)
    pairs.pop("checkpoint", None)  # dumps name it, and the dtype, among their options
    with as_options("dtype", "rng"):
        dump_attention(
            checkpoint, cells, out_, tokens=tokens, positions=positions,
            dtype=str(pairs.pop("dtype", dtype)), options=pairs, rng=rng, seed=seed, force=force,
        )  # fmt: skip
    out.print(f"wrote {escape(str(out_))}", soft_wrap=True)


@attention_app.command("diff")
def attention_diff(
    ours: Annotated[Path, read_here("Dump to judge")],
    theirs: Annotated[Path, read_here("Dump to compare with; its tolerances count")],
    as_json: AsJson = False,
) -> None:
    """Print the worst difference per array; exit 1 beyond tolerance."""
    from octoscope.api.attention import compare_attention

    rows = compare_attention(ours, theirs)
    table = Table("array", "worst", "allowed", "", title="difference")
    for r in rows:
        table.add_row(
            r.name, f"{r.worst:.3g}", f"{r.allowed:.3g}", r.note + ("" if r.ok else " BAD")
        )
    value = [{"array": r.name, "worst": r.worst, "allowed": r.allowed, "ok": r.ok} for r in rows]
    show(value, as_json, lambda: table)
    if not all(r.ok for r in rows):
        raise typer.Exit(1)
