"""``octoscope config``: lists settings and explains each of them."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter
from rich.markup import escape
from rich.table import Column, Table

from octoscope.cli.shared import AsJson, rows_table, show
from octoscope.errors import InputError

app = typer.Typer(help="Look at the settings of a run.", no_args_is_help=True)


@app.command()
def explain(
    field: Annotated[
        str | None, typer.Argument(help="Dotted name, or its beginning; without: every setting")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a setting means: type, default, bounds, and whether it decides results."""
    from octoscope.config import RunConfig
    from octoscope.config.declared import settings_of
    from octoscope.config.problems import nearest
    from octoscope.config.renamed import current_name

    name = None if field is None else current_name(field)
    rows = [
        setting_row(setting)
        for setting in settings_of(RunConfig)
        if name is None or f"{_plain(setting.name)}.".startswith(f"{_plain(name)}.")
    ]
    if not rows:
        near = nearest(RunConfig, _plain(str(name)).split("."))
        fix = "`octoscope config explain` lists them all" if near is None else f"try {near}"
        raise InputError(str(field), "is not a setting", fix)

    def table() -> Table:
        if len(rows) == 1:
            said = {k.replace("_", " "): v for k, v in rows[0].items()}
            return rows_table(str(said.pop("setting")), said)
        name = Column("setting", no_wrap=True)
        made = Table(name, "default", "decides results", "meaning")
        for row in rows:
            cells = ("setting", "default", "decides_results", "meaning")
            made.add_row(*(escape(str(row[cell])) for cell in cells))
        return made

    show(rows, as_json, table)


@app.command()
def schema() -> None:
    """Print the JSON schema of run configurations, for editors."""
    from octoscope.config import RunConfig

    typer.echo(json.dumps(RunConfig.model_json_schema(), indent=1))


def _plain(name: str) -> str:
    """Return a dotted name without the places of list items: ``models.0.path``, ``models.path``."""
    return ".".join(p for p in name.split(".") if p != "*" and not p.isdecimal())


def setting_row(setting: Any) -> dict[str, Any]:
    """Return what a setting is, in words: name, type, default, bounds, meaning."""
    field = setting.field
    if field.is_required():
        default = "(must be given)"
    else:
        default = json.dumps(_json(field.get_default(call_default_factory=True)))
    return {
        "setting": setting.name,
        "type": _kind(TypeAdapter(field.annotation).json_schema()),
        "default": default,
        "bounds": ", ".join(_bound(m) for m in field.metadata if _bound(m)),
        "decides_results": "yes" if setting.decides_results else "no",
        "meaning": field.description or "",
    }


def _kind(schema: dict[str, Any]) -> str:
    """Return the type of a value in words, of its JSON schema."""
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "$ref" in schema:
        return "mapping"
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("type", "anything"))


def _json(value: Any) -> Any:
    """Return a default as JSON; sections in it by their fields."""
    if isinstance(value, list):
        return [_json(v) for v in value]
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def _bound(constraint: Any) -> str:
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below",
             "min_length": "length at least", "max_length": "length at most"}  # fmt: skip
    for name, said in signs.items():
        value = getattr(constraint, name, None)
        if value is not None:
            return f"{said} {value}"
    return ""
