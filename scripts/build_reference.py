"""Write docs/reference/tables.md from the schema: python scripts/build_reference.py."""

from __future__ import annotations

from pathlib import Path

from octoscope.analysis.registry import Table, analyses
from octoscope.results.schema import RUN_TABLES

PAGE = Path(__file__).parents[1] / "docs/reference/tables.md"
HEAD = """# Tables of a run

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


def page() -> str:
    """Return the page as Markdown."""
    parts = [HEAD, "## The run itself\n", *map(_table, RUN_TABLES)]
    for analysis in analyses():
        parts += [f"## Analysis `{analysis.name}`\n", *map(_table, analysis.tables)]
    return "\n".join(parts)


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


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
