"""Schema of an Octopus directory: columns, types and names of roles."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

SCHEMA = "octoscope-octopus/2"

UNNAMED = "Napistu"  # source of imported edges whose sources the files do not tell
# Key of a view's ``meta`` and summary: sources that may rest on co-expression, as nothing tells.
NOT_KNOWN = "not_known_independent"

# Roles of a participant, by their terms in the Systems Biology Ontology.
SBO = {
    "SBO:0000010": "reactant",
    "SBO:0000011": "product",
    "SBO:0000013": "catalyst",
    "SBO:0000019": "modifier",
    "SBO:0000020": "inhibitor",
    "SBO:0000336": "interactor",
    "SBO:0000459": "stimulator",
    "SBO:0000644": "modified",
}
ROLES = (*SBO.values(), "unknown")
ROLE_CODE = {name: code for code, name in enumerate(ROLES)}
SIGN_OF_ROLE = {"stimulator": 1, "inhibitor": -1}
# Roles of the same participants when a reversible reaction runs backwards.
MIRRORED = np.array(
    [ROLE_CODE[{"reactant": "product", "product": "reactant"}.get(r, r)] for r in ROLES], np.uint8
)
# What acts on a reaction acts on it in both directions: no edge leads back to it.
ACTORS = tuple(ROLE_CODE[r] for r in ("catalyst", "modifier", "inhibitor", "stimulator"))

_NAME = pa.dictionary(pa.int8(), pa.string())
_MANY = pa.dictionary(pa.int32(), pa.string())

VERTICES = pa.schema(
    [
        ("vertex", pa.int32()),
        ("name", pa.string()),  # stable id: the peer's vertex name, or the first identifier
        ("label", pa.string()),
        ("node_type", pa.string()),  # species or reaction
        ("species_type", pa.string()),
        ("species", pa.string()),  # what compartments have in common
        ("compartment", pa.string()),
    ]
)
GENES = pa.schema([("gene", pa.string()), ("vertex", pa.int32()), ("how", pa.string())])
IDENTIFIERS = pa.schema(
    [
        ("vertex", pa.int32()),
        ("ontology", pa.dictionary(pa.int16(), pa.string())),
        ("identifier", pa.string()),
        ("bqb", _NAME),
    ]
)
PATHWAYS = pa.schema([("pathway", pa.string()), ("name", pa.string()), ("vertex", pa.int32())])
REACTIONS = pa.schema([("reaction", pa.int32()), ("name", pa.string())])
EDGES = pa.schema(
    [
        ("src", pa.int32()),
        ("dst", pa.int32()),
        ("role_src", _NAME),
        ("role_dst", _NAME),
        ("directed", pa.bool_()),  # false: the source states the pair, not an order
        ("sign", pa.int8()),  # 1, -1, 0 unknown
        ("source", _NAME),
        ("release", _NAME),
        ("score", pa.float32()),  # 0..1 as the source gives it; null where it gives none
        ("refs", pa.int32()),  # publications, where the source counts them
        ("origin_file", _MANY),
        ("origin", pa.int32()),  # line (text) or ordinal (XML) in that file, from 1; 0 unknown
        ("reaction", pa.int32()),  # assertions of one merged reaction share it
        ("evidence", pa.int32()),  # row of evidence/<source>.parquet, -1 none
    ]
)
TABLES = {
    "vertices": VERTICES,
    "genes": GENES,
    "identifiers": IDENTIFIERS,
    "pathways": PATHWAYS,
    "reactions": REACTIONS,
    "edges": EDGES,
}


def coded(codes: np.ndarray, names: tuple[str, ...] | list[str], wide: bool = False) -> pa.Array:
    """Return integer codes as a dictionary array of names."""
    kind = pa.int32() if wide else pa.int8()
    return pa.DictionaryArray.from_arrays(pa.array(codes, kind), pa.array(list(names), pa.string()))


def relation_name(code: int) -> str:
    """Return ``upstream -> downstream`` of a relation: upstream role x number of roles + other."""
    return f"{ROLES[code // len(ROLES)]} -> {ROLES[code % len(ROLES)]}"


def count_relations(role_src: np.ndarray, role_dst: np.ndarray) -> dict[str, int]:
    """Return how often each relation occurs among role codes."""
    kinds = np.bincount(role_src.astype(int) * len(ROLES) + role_dst)
    return {relation_name(int(k)): int(kinds[k]) for k in np.flatnonzero(kinds)}


def sign_of(role: np.ndarray) -> np.ndarray:
    """Return int8 signs of upstream role codes: 1 stimulator, -1 inhibitor, 0 any other."""
    table = np.array([SIGN_OF_ROLE.get(r, 0) for r in ROLES], np.int8)
    return table[role]
