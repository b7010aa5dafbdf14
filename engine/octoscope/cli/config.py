"""``octoscope config``: lists settings and explains each of them."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from octoscope.cli.shared import AsJson, rows_table, show

app = typer.Typer(help="Look at the settings of a run.", no_args_is_help=True)


@app.command()
def explain(
    field: Annotated[
        str | None, typer.Argument(help="Dotted name, or its beginning; without: every setting")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a setting means: type, default, bounds, and whether it decides results."""
    from octoscope.api.settings import settings

    rows = settings(field)

    def table() -> Table:
        if len(rows) == 1:
            meaning = {k.replace("_", " "): v for k, v in rows[0].items()}
            return rows_table(str(meaning.pop("setting")), meaning)
        name = Column("setting", no_wrap=True)
        overview = Table(name, "default", "decides results", "meaning")
        for row in rows:
            cells = ("setting", "default", "decides_results", "meaning")
            overview.add_row(*(escape(str(row[cell])) for cell in cells))
        return overview

    show(rows, as_json, table)


@app.command()
def schema() -> None:
    """Print the JSON schema of run configurations, for editors."""
    from octoscope.api.settings import settings_schema

    typer.echo(json.dumps(settings_schema(), indent=1))
