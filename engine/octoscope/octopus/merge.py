"""Consensus: sources joined by identifiers into vertices, statements into reactions."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import pandas as pd

from octoscope.octopus.cofactors import cofactor_rows
from octoscope.octopus.gene_vertices import IDENTITY
from octoscope.octopus.identifiers import (
    best_identifiers,
    best_names,
    joined_by_key,
    species_types,
    vertex_names,
)
from octoscope.octopus.network_schema import ACTORS, ROLE_CODE, sign_of
from octoscope.octopus.reaction_edges import wire
from octoscope.octopus.sources.record import Reactions, SourceRecord

_INTERACTOR = ROLE_CODE["interactor"]


@dataclass
class Statements:
    """Edges that one source states, one entry per assertion.

    Attributes
    ----------
    src, dst, role_src, role_dst, directed, sign, score, refs, file, origin, reaction
        As in :data:`octoscope.octopus.network_schema.EDGES`.
    evidence
        Row of the source's evidence, -1 none.
    """

    src: np.ndarray
    dst: np.ndarray
    role_src: np.ndarray
    role_dst: np.ndarray
    directed: np.ndarray
    sign: np.ndarray
    score: np.ndarray
    refs: np.ndarray
    file: np.ndarray
    origin: np.ndarray
    reaction: np.ndarray
    evidence: np.ndarray


@dataclass
class Consensus:
    """All sources joined.

    Attributes
    ----------
    vertices
        vertex, name, label, species_type.
    identifiers, pathways
        With a ``vertex`` column.
    statements
        One entry per source record, in their order.
    """

    vertices: pd.DataFrame
    identifiers: pd.DataFrame
    pathways: pd.DataFrame
    statements: list[Statements]
    cofactors_removed: int


def join_sources(
    records: list[SourceRecord],
    mode: Literal["peer", "corrected"],
    drop_cofactors: bool = True,
) -> Consensus:
    """Join species that share an identifier, and statements with the same participants in roles.

    Any identifier that says what a species is, is homologous to, or is encoded by joins it
    (transitively), as in the peer's nondogmatic consensus. A statement is valid both ways if any
    source that makes it says so. Statements whose two ends become one vertex in one role are left
    out and counted.
    """
    offsets = np.cumsum([0, *(len(r.species) for r in records)])
    total = int(offsets[-1])
    frames = []
    for record, offset in zip(records, offsets, strict=False):
        if len(record.identifiers):
            own = best_identifiers(record.identifiers)
            frames.append(own.assign(species=own["species"] + offset))
    every = pd.concat(frames, ignore_index=True) if frames else records[0].identifiers
    own = every[every["bqb"].isin(IDENTITY)]
    key = own["ontology"].astype(str) + ":" + own["identifier"].astype(str)
    label = joined_by_key(total, own["species"].to_numpy(int), key)
    count = int(label.max()) + 1 if total else 0
    every = best_identifiers(every.assign(species=label[every["species"].to_numpy(int)]))
    merged = every.rename(columns={"species": "vertex"})
    removed = 0
    participants: list[tuple[np.ndarray, ...] | None] = []
    used = np.zeros(count, bool)
    for record, offset in zip(records, offsets, strict=False):
        if record.pairs is not None:
            used[label[record.pairs.a + offset]] = used[label[record.pairs.b + offset]] = True
        rows = None
        if record.reactions is not None:
            rows = _participants(record.reactions, label, offset)
            if drop_cofactors:
                gone = cofactor_rows(rows[0], rows[1], rows[3], merged)
                removed += int(gone.sum())
                rows = tuple(x[~gone] for x in rows)
            used[rows[1]] = True
        participants.append(rows)
    vertex = np.where(used, np.cumsum(used) - 1, -1)
    statements = _statements(records, offsets, vertex[label], participants, vertex, mode)
    names = [n for r in records for n in r.species]
    labels = best_names(label, names, count)
    merged = merged[used[merged["vertex"].to_numpy(int)]]
    merged = merged.assign(vertex=vertex[merged["vertex"].to_numpy(int)]).reset_index(drop=True)
    kept = [labels[i] for i in np.flatnonzero(used)]
    typed = merged.rename(columns={"vertex": "species"})
    vertices = pd.DataFrame(
        {
            "vertex": np.arange(len(kept), dtype=np.int32),
            "name": vertex_names(typed, kept),
            "label": kept,
            "species_type": species_types(typed, len(kept)),
        }
    )
    return Consensus(vertices, merged, _pathways(records, offsets, vertex[label]), statements,
                     removed)  # fmt: skip


def _participants(r: Reactions, label: np.ndarray, offset: int) -> tuple[np.ndarray, ...]:
    """Return reaction, vertex, role, stoichiometry, one row per species and role of a reaction."""
    vertex = label[r.species + offset]
    key = (r.reaction.astype(np.int64) * (len(label) + 1) + vertex) * 16 + r.role
    first = np.sort(np.unique(key, return_index=True)[1])
    return r.reaction[first], vertex[first], r.role[first], r.stoichiometry[first]


def _pathways(records: list[SourceRecord], offsets: np.ndarray, vertex: np.ndarray) -> pd.DataFrame:
    parts = [
        pd.DataFrame(
            {
                "pathway": r.pathways["pathway"].astype(str),
                "name": r.pathways["name"].astype(str),
                "vertex": vertex[r.pathways["species"].to_numpy(int) + o],
            }
        )
        for r, o in zip(records, offsets, strict=False)
        if r.pathways is not None and len(r.pathways)
    ]
    if not parts:
        return pd.DataFrame({"pathway": [], "name": [], "vertex": []})
    table = pd.concat(parts, ignore_index=True)
    return table[table["vertex"] >= 0].drop_duplicates(ignore_index=True)


def _statements(
    records: list[SourceRecord],
    offsets: np.ndarray,
    vertex_of: np.ndarray,
    participants: list[tuple[np.ndarray, ...] | None],
    vertex: np.ndarray,
    mode: str,
) -> list[Statements]:
    """Number reactions over all sources, then let each source state its edges of them."""
    keys: list[np.ndarray] = []
    for record, offset in zip(records, offsets, strict=False):
        if record.pairs is None:
            keys.append(np.zeros(0, np.int64))
            continue
        x = vertex_of[record.pairs.a + offset] * 16 + record.pairs.role_a
        y = vertex_of[record.pairs.b + offset] * 16 + record.pairs.role_b
        keys.append((np.minimum(x, y) << 32) | np.maximum(x, y))
    distinct, number = np.unique(np.concatenate(keys), return_inverse=True)
    both_ways = np.zeros(len(distinct), bool)
    starts = np.cumsum([0, *(len(k) for k in keys)])
    for record, a, b in zip(records, starts, starts[1:], strict=False):
        if record.pairs is not None:
            both_ways[number[a:b][record.pairs.reversible]] = True
    out = []
    known: dict[frozenset[tuple[int, int, float]], int] = {}
    for i, record in enumerate(records):
        parts = []
        if record.pairs is not None:
            mine = number[starts[i] : starts[i + 1]]
            parts.append(_of_pairs(record, offsets[i], vertex_of, mine, both_ways, mode))
        rows = participants[i]
        if record.reactions is not None and rows is not None:
            numbered = (rows[0], vertex[rows[1]], rows[2], rows[3])
            parts.append(_of_reactions(record, record.reactions, numbered, known, len(distinct)))
        out.append(_concatenated(parts))
    return out


def _of_pairs(
    record: SourceRecord,
    offset: int,
    vertex_of: np.ndarray,
    number: np.ndarray,
    both_ways: np.ndarray,
    mode: str,
) -> Statements:
    pairs = record.pairs
    assert pairs is not None
    a, b = vertex_of[pairs.a + offset], vertex_of[pairs.b + offset]
    self_pair = (a == b) & (pairs.role_a == pairs.role_b)
    record.counts.note("pair of one vertex with itself (no edge)", int(self_pair.sum()))
    # Of a source's repeated statements the one of the highest score speaks.
    score = np.where(np.isnan(pairs.score), -1, pairs.score)
    order = np.lexsort((-score, number))
    first = order[np.flatnonzero(np.diff(number[order], prepend=-1))]
    record.counts.note("statement that another of this source makes", len(number) - len(first))
    keep = np.sort(first[~self_pair[first]])
    a, b, role_a, role_b = a[keep], b[keep], pairs.role_a[keep], pairs.role_b[keep]
    undirected = both_ways[number[keep]] & ~np.isin(role_a, ACTORS)
    pair = (role_a == _INTERACTOR) & (role_b == _INTERACTOR)
    if mode == "corrected":
        undirected |= pair
    swap = pair & (a > b)  # interactors have no order of their own
    return Statements(
        np.where(swap, b, a), np.where(swap, a, b), role_a, role_b, ~undirected,
        pairs.sign[keep], pairs.score[keep], pairs.refs[keep], pairs.file[keep],
        pairs.origin[keep], number[keep],
        keep if record.evidence is not None else np.full(len(keep), -1),
    )  # fmt: skip


def _of_reactions(
    record: SourceRecord,
    reactions: Reactions,
    rows: tuple[np.ndarray, ...],
    known: dict[frozenset[tuple[int, int, float]], int],
    base: int,
) -> Statements:
    reaction, vertex, role, amount = rows
    numbers = np.full(len(reactions.name), -1)
    members: dict[int, list[tuple[int, int, float]]] = {}
    for r, v, o, s in zip(reaction.tolist(), vertex.tolist(), role.tolist(), amount.tolist(),
                          strict=True):  # fmt: skip
        members.setdefault(r, []).append((v, o, s))
    for r, participants in members.items():
        numbers[r] = known.setdefault(frozenset(participants), base + len(known))
    record.counts.note("reaction left with one participant (no edge)",
                      sum(len(m) < 2 for m in members.values()))  # fmt: skip
    edges = wire(reaction, vertex, role, amount)
    at = edges[:, 0]
    n = len(edges)
    return Statements(
        edges[:, 1], edges[:, 2], edges[:, 3], edges[:, 4],
        ~reactions.reversible[at] | np.isin(edges[:, 3], ACTORS),
        sign_of(edges[:, 3]),
        np.full(n, np.nan, np.float32), np.zeros(n, np.int32), reactions.file[at],
        reactions.origin[at], numbers[at], np.full(n, -1),
    )  # fmt: skip


def _concatenated(parts: list[Statements]) -> Statements:
    if not parts:
        return Statements(**{f.name: np.zeros(0, np.int64) for f in fields(Statements)})
    if len(parts) == 1:
        return parts[0]
    return Statements(**{k: np.concatenate([vars(p)[k] for p in parts]) for k in vars(parts[0])})
