"""``octoscope octopus``: import, build, look at and ask a molecular network."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from octoscope.cli.shared import (
    LAST_SEED,
    MOST,
    AsJson,
    Force,
    as_options,
    out,
    read_here,
    rows_table,
    show,
)
from octoscope.errors import InputError

if TYPE_CHECKING:
    from octoscope.api.network import Network

app = typer.Typer(help="Import, build and ask a molecular network.", no_args_is_help=True)

Directory = Annotated[str, typer.Argument(help="Octopus directory, or 'demo'")]
Target = Annotated[Path, typer.Argument(help="Octopus directory to make")]
Mode = Annotated[str, typer.Option(help="corrected, or peer: with the peer's data defects")]
Source = Annotated[list[str] | None, typer.Option("--source", help="Keep only this source")]
Without = Annotated[list[str] | None, typer.Option("--without", help="Leave this source out")]
Independent = Annotated[
    bool,
    typer.Option(
        "--independent",
        help="Without co-expression evidence: STRING rescored without its co-expression and "
        "text-mining channels; Reactome-FI's predictions and OmniPath rows inferred from "
        "expression left out",
    ),
]
Channels = Annotated[
    list[str] | None, typer.Option("--without-channel", help="STRING channel to take out")
]
Directed = Annotated[bool, typer.Option("--directed", help="Only statements with an order")]
Signed = Annotated[bool, typer.Option("--signed", help="Only statements with a sign")]
MinScore = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Smallest score (0..1); statements without one stay"),
]


@app.command("import")
def import_(
    path: Annotated[Path, read_here("Napistu bundle (tar.gz or folder) or store")],
    target: Target,
    mode: Mode = "corrected",
    trust: Annotated[
        str | None, typer.Option(help="SHA-256 of a pickle that may run what it names")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Convert a Napistu bundle, napistu-torch store or Hub data set; nothing in it is executed."""
    from octoscope.api.network_build import import_network

    with as_options("mode"):
        summary = import_network(path, target, mode=mode, trust=trust)
    _show_built(summary, target, as_json)


@app.command()
def build(
    config: Annotated[Path, read_here("Files of the sources (YAML)")],
    target: Target,
    as_json: AsJson = False,
) -> None:
    """Build a network from the files of its sources."""
    from octoscope.api.network_build import build_network

    def say(line: str) -> None:
        if not as_json:
            out.print(escape(line))

    _show_built(build_network(config, target, say=say), target, as_json)


def _show_built(summary: dict[str, Any], target: Path, as_json: bool) -> None:
    from octoscope.api.network_build import notes_of

    if as_json:
        show(summary, True, Table)
        return
    counts = summary["counts"]
    heads = ("source", "release", "read", "mapped", "merged", "dropped", "statements")
    table = Table(*heads, title=escape(str(target)))
    for name, entry in summary["sources"].items():
        rows = entry.get("rows", {})
        dropped = sum(rows.get("dropped", {}).values()) if rows else ""
        table.add_row(
            escape(name), escape(str(entry.get("release", ""))), str(rows.get("read", "")),
            f"{entry['mapped']} of {entry['species']} species" if "mapped" in entry else "",
            str(rows.get("merged", 0) if rows else ""), str(dropped),
            str(counts["by_source"].get(name, 0)),
        )  # fmt: skip
    out.print(table)
    out.print(f"{counts['vertices']:,} vertices, {counts['assertions']:,} statements, "
              f"{counts['genes']:,} genes")  # fmt: skip
    for line in notes_of(summary):
        out.print(f"note: {escape(line)}", soft_wrap=True)
    for fixed in summary["corrections"]:
        out.print(
            f"corrected, {escape(fixed['source'])}: {escape(fixed['defect'])}: "
            f"{fixed['peer']:,} {fixed['unit']} in the peer, {fixed['corrected']:,} here "
            f"({escape(fixed['how'])})",
            soft_wrap=True,
        )


@dataclass(frozen=True)
class ViewOptions:
    """A network and the part of it that counts: the options of every command that takes a view."""

    directory: Directory
    source: Source = None
    without: Without = None
    without_channel: Channels = None
    independent: Independent = False
    directed: Directed = False
    signed: Signed = False
    min_score: MinScore = None

    def network(self, *, check: bool = False) -> Network:
        """Open the network and take the view."""
        from octoscope.api.network import open_network

        return open_network(self.directory, check=check).view(
            independent=self.independent,
            sources=self.source or None,
            without=self.without or (),
            without_channels=self.without_channel or (),
            directed=self.directed,
            signed=self.signed,
            min_score=self.min_score,
        )


def takes_view(command: Callable[..., None]) -> Callable[..., None]:
    """Put the fields of :class:`ViewOptions` in the place of a command's first parameter."""
    view = inspect.signature(ViewOptions, eval_str=True).parameters.values()
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    def run(**given: Any) -> None:
        command(ViewOptions(**{p.name: given.pop(p.name) for p in view}), **given)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*view, *own)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


@app.command()
@takes_view
def info(
    view: ViewOptions,
    check: Annotated[bool, typer.Option("--check", help="Check every file's digest")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a network, or a view of it, holds: sources side by side and what they share."""
    network = view.network(check=check)
    notes, rows = network.notes, network.summary()
    table, overlap = network.source_table(), network.source_overlap()
    if as_json:
        known = overlap.astype(object).where(overlap.notna(), None)
        body = rows | {"sources": table.to_dict("records"), "overlap": known.to_dict("records"),
                       "remarks": notes}  # fmt: skip
        show(body, True, Table)
        return
    out.print(rows_table(view.directory, rows))
    sources = Table(title="Sources", box=None, padding=(0, 1))
    for column in table.columns.drop(["release", "self_pairs"]):
        side: Any = "left" if column == "source" else "right"
        sources.add_column(column.replace("_", "\n"), overflow="fold", justify=side,
                           min_width=max(map(len, column.split("_"))))  # fmt: skip
    for row in table.drop(columns=["release", "self_pairs"]).itertuples(index=False):
        sources.add_row(*(escape(str(x)) if isinstance(x, str) else str(x) for x in row))
    out.print(sources)
    shared = Table("", title="Pairs that two sources state", box=None, padding=(0, 1))
    for name in network.sources:
        shared.add_column(escape(name), overflow="fold", justify="right")
    for name in network.sources:
        mine = overlap[overlap["source_a"] == name]
        cells = [f"{p} ({j:.2f})" for p, j in zip(mine["pairs"], mine["pairs_jaccard"],
                                                    strict=True)]  # fmt: skip
        shared.add_row(escape(name), *cells)
    out.print(shared)
    out.print("In brackets: Jaccard index of the pairs, without self pairs.")
    for note in notes:
        out.print(f"note: {escape(note)}", soft_wrap=True)


@app.command()
@takes_view
def lookup(
    view: ViewOptions,
    pairs: Annotated[Path, read_here("Table of pairs (parquet, tsv, csv)")],
    target: Annotated[Path, typer.Argument(help="File to write: .parquet, .tsv or .csv")],
    columns: Annotated[str, typer.Option(help="The two columns of genes")] = "query,key",
    distance: Annotated[
        int,
        typer.Option(min=0, max=MOST, help="Also the shortest path up to this many edges; 0: no"),
    ] = 0,
    force: Force = False,
) -> None:
    """Say for every ordered pair of genes what the network asserts.

    Genes: Ensembl ids, or symbols and other ids that the network knows.
    """
    from octoscope.api.tables import read_pairs, require_table, write_table

    require_table(target, force=force, inputs=[pairs])
    network = view.network()
    query, key = _two(columns)
    table = read_pairs(pairs, (query, key))
    names = [x for c in (query, key) for x in table[c].dropna().unique()]
    network, sentence = network.named(names, where=f"{pairs}: {columns}")
    annotated = network.annotate(table, query=query, key=key, distance=distance)
    write_table(annotated, target, force=force, inputs=[pairs])
    out.print(
        f"{len(annotated):,} pairs, "
        f"{int(annotated['mapped'].sum()):,} with both genes in the network, "
        f"{int(annotated['forward'].sum()):,} with an edge in their order, "
        f"{int((annotated['forward'] | annotated['reverse']).sum()):,} in either order, "
        f"{int(annotated['same_vertex'].sum()):,} of one vertex"
    )
    out.print(sentence)


@app.command()
@takes_view
def rate(
    view: ViewOptions,
    pairs: Annotated[Path, read_here("Table of ordered pairs (parquet, tsv, csv)")],
    columns: Annotated[str, typer.Option(help="The two columns of genes")] = "query,key",
    genes_from: Annotated[
        Path | None,
        typer.Option(
            "--genes",
            help="Genes that could have been listed, one per line; default: those of the list",
        ),
    ] = None,
    permutations: Annotated[
        int, typer.Option(min=1, max=10**7, help="Permutations of the null")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, max=LAST_SEED, help="Seed of the permutations")] = 0,
    as_json: AsJson = False,
) -> None:
    """Say how many pairs of a list are edges, against genes of like degree and as published.

    The published rate has no null: a list of hubs is enriched.
    """
    from octoscope.api.tables import read_genes, read_pairs

    query, key = _two(columns)
    table = read_pairs(pairs, (query, key)).dropna(subset=[query, key])
    listed = table[[query, key]].astype(str)
    known = read_genes(genes_from) if genes_from else [*listed[query], *listed[key]]
    network, sentence = view.network().named(known, where=str(genes_from or pairs))
    with as_options(genes=str(genes_from)):
        rates = network.rate(
            listed, query=query, key=key, genes=known, permutations=permutations, seed=seed
        )
    if as_json:
        typer.echo(json.dumps({k: None if v != v else v for k, v in rates.items()}))
        return
    out.print(sentence)
    out.print(
        f"{rates['n_edges']:,} of {rates['n_pairs']:,} pairs are edges ({rates['edge_rate']:.4f}); "
        f"pairs of genes of like degree: {rates['null_mean']:.4f} "
        f"({rates['null_low']:.4f} to {rates['null_high']:.4f}); "
        f"fold {rates['fold_over_null']:.2f}, p = {rates['p']:.3g}"
    )
    rate, background = rates["peer_rate"], rates["peer_background"]
    fold = rate / background if background > 0 else float("nan")
    out.print(
        f"As published, without a null: rate {rate:.4f}, background {background:.4f}, "
        f"fold {fold:.2f}"
    )


@app.command()
@takes_view
def genes(
    view: ViewOptions,
    listed: Annotated[Path, read_here("Text file of genes, one per line")],
    target: Annotated[Path, typer.Argument(help="File to write: .parquet, .tsv or .csv")],
    force: Force = False,
) -> None:
    """Write vertex, degree by source, and stratum of a set of genes, for nulls."""
    from octoscope.api.tables import read_genes, require_table, write_table

    require_table(target, force=force, inputs=[listed])
    names = read_genes(listed)
    network, sentence = view.network().named(names, where=str(listed))
    table = network.gene_table(names)
    write_table(table, target, force=force, inputs=[listed])
    inside = table["vertex"].notna()
    out.print(
        f"{len(table):,} genes, {int(inside.sum()):,} in the network, "
        f"{int(table['same_vertex'].sum()):,} that share a vertex with another, "
        f"{table['stratum'][inside].nunique():,} strata of degree"
    )
    out.print(sentence)


@app.command()
@takes_view
def export(
    view: ViewOptions,
    target: Annotated[Path, typer.Argument(help="File to write")],
    kind: Annotated[
        str,
        typer.Option("--format", help="parquet (assertions), graphml, decoupler, omnipath"),
    ],
    limit: Annotated[
        int, typer.Option(min=0, max=MOST, help="Most edges of a GraphML file")
    ] = 200_000,
    names: Annotated[
        str | None,
        typer.Option(
            help="symbol or ensembl: what genes are called in tables; default: symbol for "
            "decoupler, else ensembl"
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Write a network, or a view of it, for other tools.

    Tables are Parquet, TSV or CSV, as the ending of the file says.
    """
    from octoscope.output_files import require_new

    require_new(target, force=force)
    with as_options("names", kind="--format"):
        rows = view.network().export(target, kind, limit=limit, names=names, force=force)
    out.print(f"{rows:,} rows in {escape(str(target))}", soft_wrap=True)


@app.command()
def report(
    directory: Directory,
    target: Annotated[Path, typer.Argument(help="HTML file to write")],
    force: Force = False,
) -> None:
    """Write a page that compares the sources of a network."""
    from octoscope.api.network import open_network

    open_network(directory).write_report(target, force=force)
    typer.echo(str(target))


def _two(columns: str) -> tuple[str, str]:
    """Return the names of two columns, of ``first,second``."""
    query, comma, key = columns.partition(",")
    if not comma or "," in key:
        raise InputError("--columns", f"{columns!r} is not two names", "write first,second")
    return query, key
