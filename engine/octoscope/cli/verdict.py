"""``octoscope verdict``: is the attention of a run more than co-expression?"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from octoscope.cli.shared import AsJson, Unchecked, opened, out, rows_json

_FIRST = 10  # sentences


def verdict(
    run: Annotated[str, typer.Argument(help="Run directory")],
    model: Annotated[str | None, typer.Option(help="One attention variant; default: all")] = None,
    category: Annotated[str | None, typer.Option(help="One category; default: all")] = None,
    every: Annotated[bool, typer.Option("--all", help="Print the sentence of every layer")] = False,
    as_json: AsJson = False,
    unchecked: Unchecked = False,
) -> None:
    """Say for every layer whether its strongest pairs are more than co-expression."""
    from octoscope.api.run import VERDICTS

    finished = opened(run, unchecked)
    rows = finished.verdict(model=model, category=category)
    if as_json:
        typer.echo(rows_json(rows))
        return
    by = rows.groupby(["model", "category", "verdict"], sort=False)
    counts = by.size().unstack(fill_value=0).reset_index()
    table = Table(*(str(c) for c in counts.columns), title="Layers by verdict")
    for row in counts.itertuples(index=False):
        table.add_row(*(escape(str(x)) for x in row))
    out.print(table)
    sentences = rows.sort_values("verdict", key=lambda v: v.map(VERDICTS.index), kind="stable")
    shown = sentences["sentence"] if every else sentences["sentence"].head(_FIRST)
    for text in shown:
        out.print(f"- {escape(text)}")
    if len(shown) < len(rows):
        out.print(f"{len(rows) - len(shown)} more: --all, or the table verdicts of the run")
    config = finished.config.network
    if config is not None and not config.independent:
        out.print(
            "The network counts evidence that rests on co-expression; network.independent leaves "
            "it out."
        )
    out.print(
        "A verdict is relative to the named controls; one that was not measured can explain it too."
    )
