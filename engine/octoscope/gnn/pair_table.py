"""A table of pairs as users have it: vertices, genes or symbols, with or without relations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from octoscope.errors import InputError, reads
from octoscope.gnn.graph import GnnGraph
from octoscope.octopus.lookups import vertex_pairs_of
from octoscope.octopus.name_lookup import require_known, with_names
from octoscope.octopus.pair_files import read_pairs

_ENDS = (("src", "dst"), ("query", "key"), ("gene_a", "gene_b"), ("from_gene", "to_gene"))


@dataclass(frozen=True)
class PairTable:
    """Pairs of a table, as pairs of vertices.

    Attributes
    ----------
    frame
        The table as it was read.
    row
        [vertex pairs] rows of the table; a gene of several vertices gives its row several pairs, a
        row whose gene has no vertex none.
    src, dst
        [vertex pairs] int64 vertices.
    relation
        [vertex pairs] int64 relations, or None where the table names none.
    names_as
        What the names were read as.
    """

    frame: pd.DataFrame
    row: np.ndarray
    src: np.ndarray
    dst: np.ndarray
    relation: np.ndarray | None
    names_as: str


@reads("give a table of pairs")
def read_pair_table(path: Path, graph: GnnGraph, relations: Sequence[str]) -> PairTable:
    """Read a table (Parquet, TSV, CSV) of ordered pairs.

    Columns ``src, dst`` hold vertices: positions (integers) or names. ``query, key`` (or ``gene_a,
    gene_b``, or ``from_gene, to_gene``) hold Ensembl ids, symbols or other identifiers of genes.
    ``relation`` (names) or ``relation_type`` (positions) is optional.

    Parameters
    ----------
    relations
        Names of the relations of the checkpoint, empty for a head without.

    Raises
    ------
    InputError
        If the file cannot be read, has no pair, lacks the columns, names a vertex or relation that
        does not exist, or none of its genes is in the graph.
    """
    ends, frame = _columns(path)
    if not len(frame):
        raise InputError(str(path), "holds no pair", "give a table with at least one row")
    where = f"{path}: {ends[0]}, {ends[1]}"
    if ends == ("src", "dst"):
        a, b = (_vertices(frame[c], graph, f"{path}: {c}") for c in ends)
        row, summary = np.arange(len(frame)), f"{len(frame):,} pairs of vertices"
    else:
        names = pd.unique(pd.concat([frame[c] for c in ends], ignore_index=True))
        named, counts = with_names(graph.names, names)
        pairs = vertex_pairs_of(named, *(frame[c].to_numpy(object) for c in ends))
        known = pairs[0] >= 0
        n_known = sum(n for kind, n in counts.items() if kind)
        if n_known and not known.any():  # before the warning that few names are known
            raise InputError(
                where,
                f"no row has both genes in the graph, which knows {n_known:,} of "
                f"{len(names):,} names",
                "give pairs of genes that it knows",
            )
        summary = require_known(where, named, counts, str(names[0]))
        if not known.any():
            raise InputError(where, "no row names two genes", "give pairs of genes")
        a, b, row = (part[known] for part in pairs[:3])
    relation = _relation(frame, relations, str(path))
    return PairTable(frame, row, a, b, None if relation is None else relation[row], summary)


def _columns(path: Path) -> tuple[tuple[str, str], pd.DataFrame]:
    frame = read_pairs(path, ())
    ends = next((e for e in _ENDS if e[0] in frame and e[1] in frame), None)
    if ends is not None and any(pd.api.types.is_float_dtype(frame[c]) for c in ends):
        frame = read_pairs(path, ends)  # as text: numbers beside a blank cell would be fractions
    if ends is None:
        raise InputError(
            str(path), f"has the columns {', '.join(map(str, frame.columns))[:200]}",
            "name the pairs src, dst (vertices) or query, key (genes)",
        )  # fmt: skip
    return ends, frame


def _vertices(values: pd.Series, graph: GnnGraph, where: str) -> np.ndarray:
    n = graph.n_vertices
    text = values.astype(str).str.strip()
    if pd.api.types.is_integer_dtype(values.dtype) and not values.isna().any():
        out = values.to_numpy(np.int64)
        wrong = np.flatnonzero((out < 0) | (out >= n))
        fix = f"vertices are 0..{n - 1}"
    else:
        out = graph.vertex_names.get_indexer(pd.Index(text))
        number = pd.to_numeric(text.where(text.str.fullmatch(r"\d{1,9}")), errors="coerce")
        out = np.where((out < 0) & (number < n), number.fillna(-1), out).astype(np.int64)
        wrong = np.flatnonzero((out < 0) | values.isna())
        fix = f"names are such as {graph.vertex_names[0]!r}; name genes in columns query, key"
    if len(wrong):
        raise InputError(f"{where}: row {wrong[0]}", f"{text.iloc[wrong[0]]!r} is no vertex "
                         f"({len(wrong):,} such rows)", fix)  # fmt: skip
    return out.astype(np.int64)


def _relation(frame: pd.DataFrame, names: Sequence[str], where: str) -> np.ndarray | None:
    column = next((c for c in ("relation", "relation_type") if c in frame), None)
    if column is None or not names:
        return None
    values = frame[column]
    if column == "relation":
        out = pd.Index(names).get_indexer(pd.Index(values.astype(str)))
    else:
        number = pd.to_numeric(values, errors="coerce")
        known = number.isin(range(len(names)))
        out = np.where(known, number.fillna(0), -1).astype(np.int64)
    wrong = np.flatnonzero(out < 0)
    if len(wrong):
        raise InputError(
            f"{where}: {column}: row {wrong[0]}",
            f"{str(values.iloc[wrong[0]])!r} is no relation of the checkpoint",
            f"its relations are {', '.join(f'{i} {n}' for i, n in enumerate(names))}",
        )
    return out.astype(np.int64)
