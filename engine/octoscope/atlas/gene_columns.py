"""Which var columns hold gene ids and symbols, and what species the genes are of: for messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from octoscope.atlas import frames
from octoscope.atlas.chunks import name_of
from octoscope.errors import InputError
from octoscope.genes import (
    identifier_in,
    reference_genes,
    species_of,
    strip_version,
    without_genome,
)

_MOST = 0.5  # of a column's values that must be ids, or symbols
_SAMPLE = 2000


def columns_like(var: Any, path: str, what: str) -> list[str]:
    """Return var columns most of whose values are Ensembl gene ids (``ids``), or ``symbols``."""
    known = set(reference_genes()["symbol"]) if what == "symbols" else set()
    columns = []
    for name in frames.frame_columns(var):
        try:
            values = frames.as_text(frames.read_column(var, name, path, fill_missing=True))
        except InputError:
            continue
        if _mostly(values, lambda v: v in known if known else strip_version(v) is not None):
            columns.append(name)
    return columns


def _mostly(values: np.ndarray, fits: Callable[[str], bool]) -> bool:
    """Return whether most of a sample of the values fit."""
    some = values[np.linspace(0, len(values) - 1, min(len(values), _SAMPLE)).astype(int)]
    return len(some) > 0 and float(np.mean([fits(str(v)) for v in some])) > _MOST


_TRANSPOSE = (
    "the names of the cells are genes, so rows and columns are exchanged: write adata.T (cells are "
    "rows in AnnData)"
)


def _are_genes(names: np.ndarray) -> bool:
    """Return whether most names are Ensembl gene ids or symbols of GENCODE."""
    known = set(reference_genes()["symbol"])
    return _mostly(names, lambda n: n in known or identifier_in(without_genome(n)[1]) is not None)


def where_ids_are(var: Any, path: str, cells: np.ndarray | None = None) -> str | None:
    """Return which setting leads to Ensembl ids in another column, or None.

    Parameters
    ----------
    cells
        [n] str, names of the cells. If most are genes, the advice is to transpose the matrix.
    """
    columns = columns_like(var, path, "ids")
    if not columns:
        return _TRANSPOSE if cells is not None and _are_genes(cells) else None
    ways = " or ".join(f"atlas.gene_id_key: {name} (--gene-id {name})" for name in columns)
    return f"var[{columns[0]}] holds Ensembl ids: set {ways}"


def absent_id_column(root: Any, var: Any, key: str, path: str) -> InputError:
    """Return the error that says that the frame of the genes lacks the column of ids.

    Counts in ``raw`` have a frame of their own, which often lacks what ``var`` has.
    """
    where = f"{path}: {name_of(var)}"
    have = frames.frame_columns(var)
    fix = "correct atlas.gene_id_key (--gene-id)"
    if name_of(var) != "var" and key in frames.frame_columns(root["var"]):
        fix = (
            f"var has it: adata.raw.var[{key!r}] = adata.var[{key!r}] and write it again, or name "
            "counts outside raw in atlas.counts (--counts)"
        )
    return InputError(where, f"no column {key!r}; it has {have}", fix)


def genomes(ids: np.ndarray) -> dict[str, int]:
    """Return prefix of a genome (``GRCh38_``, ``mm10___``) -> number of ids that have it."""
    prefixes = (without_genome(str(i))[0] for i in ids)
    return dict(Counter(p for p in prefixes if p))


def species(ids: np.ndarray) -> dict[str, int]:
    """Return species -> number of ids that name it.

    By Ensembl id, by prefix of a genome, and by symbol: one of GENCODE's is human, one that is so
    in capitals only (Gapdh) is mouse.
    """
    known = set(reference_genes()["symbol"])
    n_ids: Counter[str] = Counter()
    for name in map(str, ids):
        kind = species_of(name)
        if kind is None and (
            name in known or (name == name.capitalize() and name.upper() in known)
        ):
            kind = "human" if name in known else "mouse"
        if kind is not None:
            n_ids[kind] += 1
    return dict(n_ids)
