"""``octoscope atlas``: look at, check and convert atlases."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from octoscope.cli.shared import LAST_SEED, AsJson, err, out, rows_table, show

if TYPE_CHECKING:
    from octoscope.api.atlas import AtlasInfo

app = typer.Typer(help="Look at, check and convert atlases.", no_args_is_help=True)

_LINE_EVERY = 15.0  # seconds between plain lines

Source = Annotated[str, typer.Argument(help="AnnData in Zarr, or h5ad")]
Category = Annotated[list[str] | None, typer.Option(help="obs column(s) of categories")]
Counts = Annotated[str, typer.Option(help="auto, X, raw.X or layers/<name>")]
GeneId = Annotated[str | None, typer.Option(help="var column of Ensembl ids")]
Donor = Annotated[str | None, typer.Option(help="obs column of donors, if runs use it")]
Duplicates = Annotated[str, typer.Option(help="Genes that share an id: refuse, or sum")]
SymbolKey = Annotated[str, typer.Option(help="var column of gene symbols")]
Aliases = Annotated[
    str | None, typer.Option(help="Table with columns alias and ensembl (tsv, csv, parquet)")
]
Missing = Annotated[str, typer.Option(help="Chunks that are not in the store: refuse, or fill")]
Fractional = Annotated[str, typer.Option(help="Counts that are not whole: refuse, or round")]
AllData = Annotated[bool, typer.Option("--all-data", help="Cells that are no primary data, too")]
Seed = Annotated[int, typer.Option(min=0, max=LAST_SEED, help="The seed of the runs to come")]


class _Progress:
    """Cells done, on stderr: a bar on a terminal, else a line now and then and at the end."""

    def __init__(self, what: str) -> None:
        self._what, self._last_line, self._done = what, time.monotonic(), -1
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._live = Progress(*columns, TimeRemainingColumn(), console=err)
        self._bar = self._live.add_task(what, total=None)

    def __enter__(self) -> _Progress:
        if err.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if err.is_terminal:
            self._live.stop()

    def report(self, done: int, total: int) -> None:
        """Show how many cells of how many are done."""
        now = time.monotonic()
        if err.is_terminal:
            self._live.update(self._bar, completed=done, total=total)
        elif (done == total and done != self._done) or now - self._last_line > _LINE_EVERY:
            self._last_line, self._done = now, done
            err.print(f"{done:,} of {total:,} {self._what}", soft_wrap=True)


def _settings(category: list[str] | None, gene_id: str | None, donor: str | None,
              all_data: bool, **others: Any) -> dict[str, Any]:  # fmt: skip
    """Return options as arguments of the Python API."""
    return {
        "category": category,
        "gene_id_key": gene_id,
        "replicate_key": donor,
        "primary_only": not all_data,
        **others,
    }


def _plain(value: object) -> str:
    """Return text that comes from a file as what it is: no markup, no control characters."""
    return escape(_printable(value))


def _printable(value: object) -> str:
    return "".join(c if c.isprintable() else "?" for c in str(value))


def _table(title: str, rows: dict[str, Any]) -> Table:
    return rows_table(_printable(title), {_printable(k): v for k, v in rows.items()})


@app.command("info")
def atlas_info(
    path: Source,
    category: Category = None,
    counts: Counts = "auto",
    gene_id: GeneId = None,
    donor: Donor = None,
    duplicate_genes: Duplicates = "refuse",
    symbol_key: SymbolKey = "feature_name",
    gene_aliases: Aliases = None,
    missing_chunks: Missing = "refuse",
    fractional_counts: Fractional = "refuse",
    all_data: AllData = False,
    seed: Seed = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Look at a sample of the counts")] = False,
    as_json: AsJson = False,
) -> None:
    """Check every count, and say what is in an atlas, what is wrong with it and what it costs.

    Exit 2 if a run with these settings would refuse it.
    """
    from octoscope.api.atlas import atlas_info as info

    settings = _settings(
        category, gene_id, donor, all_data, counts=counts, duplicate_genes=duplicate_genes,
        symbol_key=symbol_key, gene_aliases=gene_aliases, missing_chunks=missing_chunks,
        fractional_counts=fractional_counts,
    )  # fmt: skip
    with _Progress("cells checked") as progress:
        result = info(path, seed=seed, quick=quick, on_progress=progress.report, **settings)
    if as_json:
        typer.echo(json.dumps(result.as_dict(), ensure_ascii=False))
    else:
        _show_info(path, result)
    errors = (f"{f.where}: {f.problem}. Fix: {f.fix}" for f in result.findings.errors)
    for error in dict.fromkeys(errors):  # several readers may meet one damage
        err.print(f"[bold]bad input:[/bold] {_plain(error)}", soft_wrap=True)
    if result.findings.errors:
        raise typer.Exit(2)


def _show_info(path: str, result: AtlasInfo) -> None:
    if result.rows:
        out.print(_table(path, result.rows))
    if result.arrays:
        heads = ("array", "objects", "MB stored", "MB decoded", "checksum")
        table = Table(*heads, title="What runs read")
        for a in result.arrays:
            stored = "?" if a.stored is None else f"{a.stored / 1e6:,.2f}"
            decoded, checked = f"{a.decoded / 1e6:,.2f}", "yes" if a.checksum else "no"
            table.add_row(_plain(a.array), f"{a.objects:,}", stored, decoded, checked)
        out.print(table)
    if result.findings.entries:
        table = Table("", "where", "what", "what to do", title="Findings")
        for f in result.findings.entries:
            where = f.where.removeprefix(f"{path}: ")
            table.add_row(f.severity, _plain(where), _plain(f.problem), _plain(f.fix))
        out.print(table)


@app.command("check")
def atlas_check(
    path: Source,
    category: Category = None,
    counts: Counts = "auto",
    gene_id: GeneId = None,
    donor: Donor = None,
    symbol_key: SymbolKey = "feature_name",
    gene_aliases: Aliases = None,
    missing_chunks: Missing = "refuse",
    fractional_counts: Fractional = "refuse",
    all_data: AllData = False,
    as_json: AsJson = False,
) -> None:
    """Read every chunk once and list those that are missing or damaged; exit 1 if there are any."""
    from octoscope.api.atlas import check_atlas

    settings = _settings(
        category, gene_id, donor, all_data, counts=counts,
        symbol_key=symbol_key, gene_aliases=gene_aliases, missing_chunks=missing_chunks,
        fractional_counts=fractional_counts,
    )  # fmt: skip
    result = check_atlas(path, **settings)
    unchecked = [name for name, known in result.checksums.items() if not known]
    n_checked = len(result.checksums) - len(unchecked)
    rows = {
        "counts": result.counts,
        "chunks read": result.chunks,
        "arrays with a checksum": f"{n_checked} of {len(result.checksums)}",
        "without (a changed bit can pass unseen)": ", ".join(unchecked) or "none",
        "faults": len(result.faults),
    }
    show(result.as_dict(), as_json, lambda: _table(path, rows))
    if not as_json:
        for fault in result.faults:
            err.print(escape(str(fault)), soft_wrap=True)
    if result.faults:
        raise typer.Exit(1)


@app.command("convert")
def atlas_convert(
    path: Source,
    target: Annotated[str, typer.Argument(help="Zarr v3 store to make, a local path")],
    category: Category = None,
    counts: Counts = "auto",
    gene_id: GeneId = None,
    donor: Donor = None,
    duplicate_genes: Duplicates = "refuse",
    symbol_key: SymbolKey = "feature_name",
    gene_aliases: Aliases = None,
    missing_chunks: Missing = "refuse",
    fractional_counts: Fractional = "refuse",
    all_data: AllData = False,
    seed: Seed = 0,
    memory: Annotated[str, typer.Option(help="For counts held at once; less: more passes")] = "2GB",
    as_json: AsJson = False,
) -> None:
    """Rewrite an atlas sorted by category and half: sharded Zarr v3 with checksums.

    The same command again goes on where it was stopped.
    """
    from octoscope.api.atlas import convert_atlas

    settings = _settings(
        category, gene_id, donor, all_data, counts=counts, duplicate_genes=duplicate_genes,
        symbol_key=symbol_key, gene_aliases=gene_aliases, missing_chunks=missing_chunks,
        fractional_counts=fractional_counts,
    )  # fmt: skip
    with _Progress("cells counted, then written") as progress:
        rows = convert_atlas(
            path, target, seed=seed, memory=memory, on_progress=progress.report, **settings
        )
    show(rows, as_json, lambda: _table(target, rows))
