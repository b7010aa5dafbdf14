"""Layouts of edge lists: which column holds what, in the tables that people bring."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from octoscope.errors import InputError

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


_PLAIN = Layout(
    columns={
        "source": ("source", "tf", "regulator", "from"),
        "target": ("target", "to", "gene"),
        "sign": ("sign", "mor", "weight"),
        "stimulation": ("is_stimulation",),
        "inhibition": ("is_inhibition",),
        "directed": ("directed", "is_directed"),
        "score": ("score",),
        "references": ("references", "n_references", "pmid", "pmids"),
    }
)
_BIOGRID = Layout(
    columns={
        "source": ("Entrez Gene Interactor A",),
        "target": ("Entrez Gene Interactor B",),
        "references": ("Publication Source", "Pubmed ID"),
        "source_taxon": ("Organism ID Interactor A", "Organism Interactor A"),
        "target_taxon": ("Organism ID Interactor B", "Organism Interactor B"),
    },
    ids="ncbi_entrez_gene", directed=False, known="BioGRID",
    remark=("Experimental System Type", "genetic",
            "genetic interaction (keep: {Experimental System Type: [physical]} leaves them out)"),
)  # fmt: skip
_DATABASES = {
    "UNIPROT": "uniprot", "PUBCHEM": "pubchem", "CHEBI": "chebi", "RNACENTRAL": "rnacentral",
    "MIRBASE": "mirbase", "DRUGBANK": "drugbank",
}  # fmt: skip
# The columns of a download of SIGNOR, which has no line of names where its web service gives it.
_SIGNOR_COLUMNS = (
    "ENTITYA", "TYPEA", "IDA", "DATABASEA", "ENTITYB", "TYPEB", "IDB", "DATABASEB", "EFFECT",
    "MECHANISM", "RESIDUE", "SEQUENCE", "TAX_ID", "CELL_DATA", "TISSUE_DATA", "MODULATOR_COMPLEX",
    "TARGET_COMPLEX", "MODIFICATIONA", "MODASEQ", "MODIFICATIONB", "MODBSEQ", "PMID", "DIRECT",
    "NOTES", "ANNOTATOR", "SENTENCE", "SIGNOR_ID", "SCORE",
)  # fmt: skip
_SIGNOR = Layout(
    columns={
        "source": ("IDA",),
        "target": ("IDB",),
        "source_ids": ("DATABASEA",),
        "target_ids": ("DATABASEB",),
        "sign": ("EFFECT",),
        "references": ("PMID",),
        "score": ("SCORE",),
        "taxon": ("TAX_ID",),
    },
    values={
        "sign": {"up-regulates*": 1, "down-regulates*": -1, "form complex": 0, "unknown": 0},
        "source_ids": _DATABASES, "target_ids": _DATABASES,
    },
    ids="uniprot", directed=True, known="SIGNOR",
)  # fmt: skip
_STRING_WEB = Layout(
    columns={"source": ("#node1", "node1"), "target": ("node2",), "score": ("combined_score",)},
    ids="symbol", directed=False, known="an export of STRING's web site",
)  # fmt: skip
_STRING_API = Layout(
    columns={"source": ("preferredName_A",), "target": ("preferredName_B",), "score": ("score",),
             "taxon": ("ncbiTaxonId",)},
    ids="symbol", directed=False, known="STRING's web service",
)  # fmt: skip
_BIOPLEX = Layout(
    columns={"source": ("GeneA",), "target": ("GeneB",), "score": ("pInt", "p(Interaction)")},
    ids="ncbi_entrez_gene", directed=False, known="BioPlex",
)  # fmt: skip
# NicheNet: its `source` is the database of the pair
_NICHENET = replace(
    _PLAIN, known="NicheNet", ids="symbol", directed=True,
    columns={**_PLAIN.columns, "source": ("from",), "target": ("to",)},
)  # fmt: skip
_SIGNOR_ID = re.compile(r"SIGNOR-\d+$")
_OMNIPATH = replace(_PLAIN, known="OmniPath, or our own export of that form")
_EXPORT = replace(_PLAIN, known="our own export")
# Columns that tell a layout -> the layout.
_KNOWN: tuple[tuple[frozenset[str], Layout], ...] = (
    (frozenset({"entrez gene interactor a", "entrez gene interactor b"}), _BIOGRID),
    (frozenset({"#node1", "node2", "combined_score"}), _STRING_WEB),
    (frozenset({"node1", "node2", "combined_score"}), _STRING_WEB),
    (frozenset({"preferredname_a", "preferredname_b", "score"}), _STRING_API),
    (frozenset({"genea", "geneb", "uniprota", "uniprotb"}), _BIOPLEX),
    (frozenset({"from", "to", "source", "database"}), _NICHENET),
    (frozenset({"ida", "idb", "databasea", "databaseb", "effect"}), _SIGNOR),
    (frozenset({"source", "target", "is_directed", "is_stimulation"}), _OMNIPATH),
    (frozenset({"source", "target", "role_source", "role_target"}), _EXPORT),
)


def names_without_header(first: list[str]) -> list[str] | None:
    """Return the column names of a layout that is known without a line of names.

    SIGNOR's web service gives such a table: its rows end with the id of the relation and, since
    2020, a score.

    Parameters
    ----------
    first
        Fields of the first line.

    Returns
    -------
    list of str or None
        One name per field; None if the line is of no such layout.
    """
    at = _SIGNOR_COLUMNS.index("SIGNOR_ID")
    if len(first) <= at or not _SIGNOR_ID.match(first[at]):
        return None
    further = [f"column {i + 1}" for i in range(len(_SIGNOR_COLUMNS), len(first))]
    return [*_SIGNOR_COLUMNS, *further][: len(first)]


def layout_of(names: list[str], given: Layout) -> Layout:
    """Return the layout of a file by its column names, with what the user says put first."""
    present = {n.casefold() for n in names}
    own = next((layout for required, layout in _KNOWN if required <= present), _PLAIN)
    return replace(
        own,
        columns={**own.columns, **given.columns},
        values={r: {**own.values.get(r, {}), **given.values.get(r, {})}
                for r in {*own.values, *given.values}},
        keep=given.keep,
        ids=given.ids or own.ids,
        directed=own.directed if given.directed is None else given.directed,
        header=given.header,
        score_max=given.score_max,
    )  # fmt: skip


def places_of(
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
            raise InputError(
                where, f"no column {role!r}; found {', '.join(names)[:200]}",
                "name the columns of the ends under columns: {source: …, target: …}; without a "
                "line of names set header: false and give numbers",
            )  # fmt: skip
    for column in (*layout.keep, *(layout.remark or ())[:1]):
        at = find(column)
        if at is not None:
            out[f"keep {column}"] = at
        elif column in layout.keep:
            raise InputError(where, f"no column {column!r}; found {', '.join(names)[:200]}",
                             "correct keep: {…}")  # fmt: skip
    return out
