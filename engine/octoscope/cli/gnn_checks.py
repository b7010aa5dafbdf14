"""``octoscope gnn planted`` and ``gnn perturbations``: checks of evaluation and of models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from octoscope.cli.link_table import perturbation_table
from octoscope.cli.shared import (
    LAST_SEED,
    MOST,
    AsJson,
    Force,
    StoreData,
    TableOut,
    out,
    read_here,
)
from octoscope.errors import InputError


def perturbations(
    table: Annotated[
        Path,
        read_here("Harmonizome's gene_attribute_edges.txt.gz; perturbed, target, effect; or h5ad"),
    ],
    checkpoints: Annotated[
        list[Path] | None, read_here("Checkpoints with relations of stimulators and inhibitors")
    ] = None,
    network: Annotated[str, typer.Option("--graph", help="As in `gnn evaluate`")] = "demo",
    kind: Annotated[
        str, typer.Option("--type", help="Where the table has none: OE, CRISPRA, KD, KO, CRISPRI")
    ] = "KD",
    share: Annotated[
        list[float] | None,
        typer.Option(
            min=0,
            max=1,
            help="Of the strongest effects; repeat for several.  [default: 1, 0.5, 0.1]",
        ),
    ] = None,
    max_p: Annotated[
        float | None, typer.Option(min=0, max=1, help="Only pairs with a p value of at most this")
    ] = None,
    p_values: Annotated[
        Path | None,
        typer.Option(help="Table of p values, targets x perturbed genes; with --max-p"),
    ] = None,
    split: Annotated[str, typer.Option(help="As in `gnn evaluate`: pair, vertex, graph")] = "pair",
    seed: Annotated[int, typer.Option(min=0, max=LAST_SEED)] = 0,
    target: TableOut = None,
    data: StoreData = None,
    force: Force = False,
) -> None:
    """Compare predicted signs with what perturbed genes did, within each gene, beside floors."""
    from octoscope.api.links import check_perturbations
    from octoscope.api.tables import require_table, write_table

    inputs: list[str | Path] = [table, *(checkpoints or ()), *([p_values] if p_values else [])]
    if target is not None:
        require_table(target, force=force, inputs=inputs)
    rows, about = check_perturbations(
        network, table, checkpoints or (), kind=kind, shares=share or (1.0, 0.5, 0.1),
        max_p=max_p, p_values=p_values, split=split, seed=seed, data=data,
    )  # fmt: skip
    if target is not None:
        write_table(rows, target, force=force, inputs=inputs)
    out.print(perturbation_table(rows))
    out.print(escape(", ".join(f"{k} {v}" for k, v in about.items())), soft_wrap=True)


def planted(
    network: Annotated[
        str, typer.Argument(help="As in `gnn evaluate`: its degrees are used")
    ] = "demo",
    vertices: Annotated[
        int, typer.Option(min=0, max=MOST, help="Of a planted graph; 0: as many as the network has")
    ] = 3000,
    seed: Annotated[int, typer.Option(min=0, max=LAST_SEED)] = 0,
    data: StoreData = None,
    as_json: AsJson = False,
) -> None:
    """Check the evaluation on graphs with a known truth: leaks, degree alone, blocks, signs."""
    from octoscope.api.links import check_planted

    checks = list(check_planted(network, vertices=vertices, seed=seed, data=data))
    rows = [{"graph": c.case, "figure": c.what, "value": c.value, "low": c.low, "high": c.high,
             "n": c.n, "holds": c.holds} for c in checks]  # fmt: skip
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
    else:
        table = Table("graph", "figure", "value", "must be", "n", "", title="Planted graphs")
        for c in checks:
            table.add_row(c.case, c.what, f"{c.value:.3f}", f"{c.low:g} to {c.high:g}",
                          f"{c.n:,}", "holds" if c.holds else "does not hold")  # fmt: skip
        out.print(table)
    if wrong := [c for c in checks if not c.holds]:
        raise InputError(f"{network}: {wrong[0].case}", f"{wrong[0].what} is {wrong[0].value:.3f}, "
                         f"not {wrong[0].low:g} to {wrong[0].high:g}",
                         "try another --seed and more --vertices, then report it")  # fmt: skip
