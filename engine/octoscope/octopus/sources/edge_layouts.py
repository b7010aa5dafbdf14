"""What a layout of an edge list says, and where its columns stand in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from octoscope.errors import InputError
from octoscope.octopus.sources.no_pairs import (
    refuse_what_names_no_pairs,
    second_line,
    suggested_ends,
)

# What a column may hold: the ends, and what else is read of a row.
Role = Literal[
    "source", "target", "sign", "stimulation", "inhibition", "directed", "score", "references",
    "source_ids", "target_ids", "taxon", "source_taxon", "target_taxon",
]  # fmt: skip
Column = str | int


@dataclass(frozen=True)
class Layout:
    """How the columns of an edge list are read.

    Attributes
    ----------
    columns
        Role (:data:`Role`) -> names of its column, of which the first that is there counts, or
        its number from 1.
    values
        Role -> value of the file -> what it stands for; ``*`` at the end of a value stands for any
        ending, and case does not matter. Values that are not named stay.
    keep
        Column -> values of the rows that are read; every row, if it is not named.
    ids
        Ontology of both ends; None: not told.
    directed
        Whether rows that tell nothing of an order have one; None: not told.
    header
        Whether the first line names the columns; None: not told.
    score_max
        What scores are divided by.
    remark
        Column, value, text: rows of that value are counted under that text.
    known
        Name of the layout; columns that a known layout does not use need no warning.
    """

    columns: Mapping[str, tuple[Column, ...]] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    keep: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ids: str | None = None
    directed: bool | None = None
    header: bool | None = None
    score_max: float = 1.0
    remark: tuple[str, str, str] | None = None
    known: str = ""


def column_numbers_of(
    path: Path, names: list[str], layout: Layout, given: Layout, named: bool
) -> dict[str, int]:
    """Return role -> position of its column; ``keep <column>`` for columns that choose rows.

    Parameters
    ----------
    named
        Whether ``names`` are names; else the fields of a first row, and columns have numbers.

    Raises
    ------
    InputError
        If there is no column of an end, or one that the user names is not there.
    """
    plain = [n.casefold() for n in names]
    where = f"{path}: line 1"

    def find(column: Column) -> int | None:
        if isinstance(column, int):
            return column - 1 if 1 <= column <= len(names) else None
        at = column.strip().casefold()
        if named and plain.count(at) > 1:
            raise InputError(where, f"column {column!r} twice",
                             "keep one of them, or give its number under columns: {…}")  # fmt: skip
        return plain.index(at) if named and at in plain else None

    out: dict[str, int] = {}
    claimed = {find(c) for columns in given.columns.values() for c in columns}
    for role, candidates in layout.columns.items():
        positions = [i for i in map(find, candidates) if i is not None]
        if role not in given.columns:
            positions = [i for i in positions if i not in claimed]
        if positions:
            out[role] = positions[0]
        elif role in given.columns:
            raise InputError(where, f"no column {candidates[0]!r}; found {', '.join(names)[:200]}",
                             f"correct columns: {{{role}: …}}")  # fmt: skip
    if not named and not given.columns:
        out = {"source": 0, "target": 1}
    for role in ("source", "target"):
        if role not in out:
            refuse_what_names_no_pairs(path, names)
            ends = suggested_ends(names, second_line(path))
            raise InputError(
                where, f"no column {role!r}; found {', '.join(names)[:200]}",
                f"these look like the ends: {ends}; directed: false if a pair has no order" if ends
                else "name the columns of the ends under columns: {source: …, target: …}; without "
                "a line of names set header: false and give numbers",
            )  # fmt: skip
    for column in (*layout.keep, *(layout.remark or ())[:1]):
        at = find(column)
        if at is not None:
            out[f"keep {column}"] = at
        elif column in layout.keep:
            raise InputError(where, f"no column {column!r}; found {', '.join(names)[:200]}",
                             "correct keep: {…}")  # fmt: skip
    return out
