"""Write the generated pages of docs: the reference, and the first tutorial as a Jupyter notebook.

python scripts/build_reference.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import typer.main
from octoscope.analysis.registry import Table, analyses
from octoscope.cli.app import app
from octoscope.config import RunConfig
from octoscope.config.declared import settings_of
from octoscope.config.setting_rows import setting_row
from octoscope.results.schema import RUN_TABLES
from typer.cli import get_docs_for_click

FOLDER = Path(__file__).parents[1] / "docs/reference"
TABLES = """# Tables of a run

Made by `scripts/build_reference.py` from the schema in the code: change it there.

Tables are Parquet (zstd) with deterministic bytes. Null means unknown or undefined, never zero.
Genes are unversioned Ensembl ids with a `_symbol` column beside them; direction is query gene →
key gene. `{model}` stands for an attention variant, `{category}` for the number of a category
(`c0003`), `{layer}` and `{token}` for the number of a layer and a kind of special token. What the
figures mean and how their nulls were calibrated: [science.md](../science.md). Files that are no
tables: [formats](../formats/README.md).

In Python: `Results.open(run).tables["agreement"]` (`octoscope.results.run_results`). Runs of
earlier versions are read under these names.
"""
COMMANDS = """# Commands

Made by `scripts/build_reference.py` from the command line in the code: change it there. Examples by
task: [Commands by task](../how-to/commands.md).
"""
SETTINGS = """# Settings of a run

Made by `scripts/build_reference.py` from the declarations in the code: change them there. What to
set for a task: [Configure a run](../how-to/configuration.md). `octoscope config explain FIELD`
prints one of them, `octoscope config schema` the JSON schema for editors.

A dot separates a section from its field; `*` stands for each item of a list. A setting that decides
results is part of the plan: `resume` refuses another value.
"""


def tables_page() -> str:
    """Return the page of tables as Markdown."""
    parts = [TABLES, "## The run itself\n", *map(_table, RUN_TABLES)]
    for analysis in analyses():
        parts += [f"## Analysis `{analysis.name}`\n", *map(_table, analysis.tables)]
    return "\n".join(parts)


def commands_page() -> str:
    """Return the page of commands as Markdown, one section a command."""
    command = typer.main.get_command(app)
    page = get_docs_for_click(obj=command, ctx=typer.Context(command), name="octoscope")
    lines = [line.rstrip() for line in page.replace("# `octoscope`\n", COMMANDS, 1).splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def settings_page() -> str:
    """Return the page of settings as Markdown, one table a section."""
    sections: dict[str, list[str]] = {}
    for setting in settings_of(RunConfig):
        row = {k: _cell(str(v)) for k, v in setting_row(setting).items()}
        bounds = f"; {row['bounds']}" if row["bounds"] else ""
        sections.setdefault(setting.name.rpartition(".")[0], []).append(
            f"| `{setting.name}` | {row['type']}{bounds} | {row['default']} "
            f"| {row['decides_results']} | {row['meaning']} |"
        )
    parts = [SETTINGS]
    for name, lines in sections.items():
        parts += [
            f"## {f'`{name}`' if name else 'The top'}\n",
            "| setting | type | default | decides results | meaning |\n|---|---|---|---|---|",
            "\n".join(lines) + "\n",
        ]
    return "\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _table(table: Table) -> str:
    lines = [f"### `{table.path}`", "", f"One row per {table.rows}."]
    if table.when:
        lines += ["", f"Only with {table.when}."]
    lines += ["", "| column | type | meaning |", "|---|---|---|"]
    for column in table.columns:
        when = f" (only with {column.when})" if column.when else ""
        meaning = column.meaning.replace("|", "\\|")
        lines.append(f"| `{column.name}` | {column.dtype} | {meaning}{when} |")
    return "\n".join([*lines, ""])


def notebook() -> str:
    """Return the first tutorial as a notebook without outputs: each block of its page is a cell."""
    page = (FOLDER / "../tutorials/first_run.md").read_text()
    parts = re.split(r"^```python\n(.*?)^```$", page, flags=re.M | re.S)
    cells = [("markdown", parts[0])]
    for block, text in zip(parts[1::2], parts[2::2], strict=True):
        cells += [("code", block), ("markdown", text)]
    code = {"execution_count": None, "outputs": []}
    body = {
        "cells": [
            {
                "cell_type": kind,
                "id": f"cell-{n}",
                "metadata": {},
                **(code if kind == "code" else {}),
                "source": text.strip().splitlines(keepends=True),
            }
            for n, (kind, text) in enumerate(cells)
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "tables.md": tables_page,
    "commands.md": commands_page,
    "settings.md": settings_page,
    "../tutorials/first_run.ipynb": notebook,
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())
