"""A finished run's tables against the schema: every column, its type, and none that is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from octoscope.analysis.registry import Column, Table
from octoscope.results.schema import schema

_WORK = ("matrices", "pairs", "residuals", "units")
_NAMES = {
    "large_string": "string", "dictionary<values=string, indices=int32, ordered=0>": "string",
    "double": "float64", "float": "float32",
}  # fmt: skip


def tables_of(run: Path) -> dict[str, pa.Table]:
    """Return every table of a run by its path."""
    paths = [p.relative_to(run) for p in sorted(run.rglob("*.parquet"))]
    return {p.as_posix(): pq.read_table(run / p) for p in paths if p.parts[0] not in _WORK}


def faults(run: Path) -> list[str]:
    """Return what the tables of a run have that the schema lacks, and the other way round."""
    lines: list[str] = []
    for path, table in tables_of(run).items():
        known = table_of(path)
        if known is None:
            lines.append(f"{path}: not in the schema")
            continue
        for field in table.schema:
            column = column_of(known, field.name)
            if column is None:
                lines.append(f"{path}: {field.name}: not in the schema")
                continue
            dtype = _NAMES.get(str(field.type), str(field.type))
            # the types of a table without rows, or of values all null, say nothing
            empty = table[field.name].null_count == len(table)
            if dtype != column.dtype and not empty:
                lines.append(f"{path}: {field.name}: {dtype}, not {column.dtype}")
        for column in known.columns:
            pattern = re.sub(r"\\\{\w+\\\}", ".+", re.escape(column.name))
            described = any(re.fullmatch(pattern, name) for name in table.column_names)
            if not described and not column.when:
                lines.append(f"{path}: {column.name}: in the schema alone")
    return lines


def unmade(run: Path) -> list[str]:
    """Return tables that every complete run has and this one lacks."""
    tables = {known.path for path in tables_of(run) if (known := table_of(path))}
    return [path for path, table in schema().items() if not table.when and path not in tables]


def table_of(path: str) -> Table | None:
    """Return what the table at a path of a run holds, e.g. ``topk/scgpt.parquet``."""
    tables = schema()
    # the path with a category's number before that with any name
    ordered = sorted(tables.items(), key=lambda x: "{model}" in x[0])
    return next((t for p, t in ordered if re.fullmatch(_expression(p), path)), None)


def column_of(table: Table, name: str) -> Column | None:
    """Return what a column holds, its name with a layer, model or token filled in."""
    exact = next((c for c in table.columns if c.name == name), None)
    return exact or next(
        (c for c in table.columns if re.fullmatch(_expression(c.name), name)), None
    )


def _expression(pattern: str) -> str:
    """Return the regular expression of what a path or a name with placeholders stands for."""
    filled = {"model": r"[A-Za-z0-9._-]+", "token": ".+", "layer": r"\d+", "category": r"c\d{4,}"}
    parts = re.split(r"\{(\w+)\}", pattern)
    return "".join(filled[p] if i % 2 else re.escape(p) for i, p in enumerate(parts))
