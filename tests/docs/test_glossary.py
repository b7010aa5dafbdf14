"""docs/glossary.md: a term for each table, room and name of the Python API."""

from __future__ import annotations

import re
from pathlib import Path

import octoscope
import pytest
from octoscope.analysis.registry import analyses
from octoscope.results.schema import RUN_TABLES

from tests.test_rooms import ALLOWED, PACKAGE

GLOSSARY = (Path(__file__).parents[2] / "docs/glossary.md").read_text()
TABLES = [t.path for t in (*RUN_TABLES, *(t for a in analyses([]) for t in a.tables))]
# Rooms whose name is a plain word of the field or of programs, and needs no definition.
PLAIN = {
    "api", "atlas", "attention", "cli", "cluster", "config", "demo", "extract", "pipeline",
    "report", "results",
}  # fmt: skip


def test_every_table_belongs_to_a_term() -> None:
    """Red: a table that is added without a term."""
    names = {re.sub(r"(/\{.*)?(\.parquet)?$", "", path) for path in TABLES}
    assert len(names) > 40
    missing = [n for n in sorted(names) if f"`{n}`" not in GLOSSARY and f"`{n}/`" not in GLOSSARY]
    assert missing == []


def test_every_room_is_a_term_or_plain() -> None:
    rooms = {room for room in ALLOWED if (PACKAGE / room).is_dir()} - PLAIN
    assert [r for r in sorted(rooms) if r not in GLOSSARY.replace("_", " ") + GLOSSARY] == []


@pytest.mark.parametrize("name", [n for n in octoscope.__all__ if n[0].isupper()])
def test_every_class_of_the_python_api_is_a_term(name: str) -> None:
    assert (
        re.search(rf"`{name}`", GLOSSARY)
        or f"| {name.lower()} |" in GLOSSARY
        or (name.endswith("Error"))
    )
