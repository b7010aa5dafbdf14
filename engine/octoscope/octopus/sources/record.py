"""The statements of one source, before it is joined with others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from octoscope.octopus.network_schema import ROLE_CODE, sign_of

_EXAMPLES = 3


@dataclass
class SourceCounts:
    """Counts of the rows of a source: ``read = kept + merged + dropped``.

    Attributes
    ----------
    read
        Rows (or interactions, reactions) of the files.
    kept
        Reactions that come out of the reader.
    merged
        Rows that repeat another row of the source.
    dropped
        Reason -> rows left out.
    noted
        Remark -> number of rows that are kept nevertheless.
    examples
        Reason or remark -> identifiers of the first few.
    unread
        Columns of the files that nothing is taken from.
    """

    read: int = 0
    kept: int = 0
    merged: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    noted: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def drop(self, why: str, count: int, examples: Any = ()) -> None:
        """Count rows that are left out."""
        self._count(self.dropped, why, int(count), examples)

    def note(self, what: str, count: int, examples: Any = ()) -> None:
        """Count things that are kept but worth knowing."""
        self._count(self.noted, what, int(count), examples)

    def _count(self, into: dict[str, int], why: str, count: int, examples: Any) -> None:
        if count:
            into[why] = into.get(why, 0) + count
            known = self.examples.setdefault(why, [])
            known += [str(e)[:80] for e in list(examples)[: _EXAMPLES - len(known)]]

    def leave_unread(self, names: Iterable[str]) -> None:
        """Name columns that nothing is taken from; columns without a name are row numbers."""
        nameless = ("", "unnamed: 0", "__index_level_0__")  # as R and pandas write them
        self.unread += [
            n for n in names if n.strip().lower() not in nameless and n not in self.unread
        ]

    def as_json(self) -> dict[str, Any]:
        """Return the figures for ``octopus.json``."""
        return {k: v for k, v in vars(self).items() if v not in ({}, [], None)}


@dataclass
class Pairs:
    """Reactions of two participants that have no stoichiometry; the first acts on the second.

    Attributes
    ----------
    a, b
        [pairs] int32 species of the source.
    role_a, role_b
        [pairs] uint8 role codes.
    reversible
        [pairs] bool: the source states no order.
    score
        [pairs] float32 in 0..1, NaN if the source gives none.
    refs
        [pairs] int32 publications.
    file, origin
        [pairs] int32: which file of the source, and the row or ordinal in it, from 1.
    sign
        [pairs] int8: 1, -1, 0 unknown.
    """

    a: np.ndarray
    b: np.ndarray
    role_a: np.ndarray
    role_b: np.ndarray
    reversible: np.ndarray
    score: np.ndarray
    refs: np.ndarray
    file: np.ndarray
    origin: np.ndarray
    sign: np.ndarray

    def __len__(self) -> int:
        return len(self.a)

    def select(self, keep: np.ndarray) -> Pairs:
        """Return the pairs of a mask or index array."""
        return Pairs(**{k: v[keep] for k, v in vars(self).items()})


def pairs_of(
    a: np.ndarray,
    b: np.ndarray,
    role_a: np.ndarray | str = "interactor",
    role_b: np.ndarray | str = "interactor",
    reversible: np.ndarray | bool = True,
    score: np.ndarray | None = None,
    refs: np.ndarray | None = None,
    file: np.ndarray | None = None,
    origin: np.ndarray | None = None,
    sign: np.ndarray | None = None,
) -> Pairs:
    """Return pairs with defaults filled in and every column in its type."""
    n = len(a)

    def roles(value: np.ndarray | str) -> np.ndarray:
        if isinstance(value, str):
            return np.full(n, ROLE_CODE[value], np.uint8)
        return np.asarray(value, np.uint8)

    acting = roles(role_a)
    return Pairs(
        np.asarray(a, np.int32),
        np.asarray(b, np.int32),
        acting,
        roles(role_b),
        np.broadcast_to(np.asarray(reversible, bool), n).copy(),
        np.full(n, np.nan, np.float32) if score is None else np.asarray(score, np.float32),
        np.zeros(n, np.int32) if refs is None else np.asarray(refs, np.int32),
        np.zeros(n, np.int32) if file is None else np.asarray(file, np.int32),
        np.arange(1, n + 1, dtype=np.int32) if origin is None else np.asarray(origin, np.int32),
        sign_of(acting) if sign is None else np.asarray(sign, np.int8),
    )


@dataclass
class Reactions:
    """Reactions of any number of participants, as SBML states them.

    Attributes
    ----------
    name
        [reactions] names.
    reversible
        [reactions] bool.
    file, origin
        [reactions] int32.
    reaction, species, role, stoichiometry
        [participants] reaction (position), species of the source, role code, float (below 0
        consumed, above 0 produced, 0 neither).
    """

    name: list[str]
    reversible: np.ndarray
    file: np.ndarray
    origin: np.ndarray
    reaction: np.ndarray
    species: np.ndarray
    role: np.ndarray
    stoichiometry: np.ndarray


@dataclass
class SourceRecord:
    """One source, read.

    Attributes
    ----------
    species
        [species] names; positions are the species of ``pairs`` and ``reactions``.
    identifiers
        species, ontology, identifier, bqb.
    pairs, reactions
        Its statements; either may be missing.
    evidence
        Columns of the source, one row per pair; None if it has none.
    pathways
        species, pathway, name.
    files
        Paths as given, for provenance; ``Pairs.file`` counts ``file_names``.
    """

    name: str
    release: str
    species: list[str]
    identifiers: pd.DataFrame
    pairs: Pairs | None = None
    reactions: Reactions | None = None
    evidence: pa.Table | None = None
    pathways: pd.DataFrame | None = None
    files: list[Path] = field(default_factory=list)
    file_names: list[str] = field(default_factory=list)
    counts: SourceCounts = field(default_factory=SourceCounts)
    defects: list[dict[str, Any]] = field(default_factory=list)

    def identified(self) -> np.ndarray:
        """Return the sorted species that have an identifier; a symbol alone does not count."""
        ids = self.identifiers
        return np.unique(ids["species"][ids["ontology"] != "symbol"].to_numpy(int))


def identifier_frame(rows: list[tuple[int, str, str, str]]) -> pd.DataFrame:
    """Return rows as species, ontology, identifier, bqb."""
    return pd.DataFrame(rows, columns=["species", "ontology", "identifier", "bqb"])
