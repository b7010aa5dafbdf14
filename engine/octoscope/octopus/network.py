"""A molecular network opened from an Octopus directory: look-ups for many pairs at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from octoscope.errors import InputError, reads
from octoscope.octopus.directory import codes_of, read_meta, read_table
from octoscope.octopus.gene_vertices import ensembl_gene
from octoscope.octopus.network_schema import ROLES
from octoscope.octopus.pairs import (
    Edges,
    PairIndex,
    find_keys,
    index_pairs,
    pair_codes,
    unordered_keys,
)

_LOADED = [
    "src", "dst", "role_src", "role_dst", "directed", "sign", "source", "score", "refs",
    "reaction", "evidence",
]  # fmt: skip


@dataclass(frozen=True)
class Network:
    """A molecular network. The graph is a view of source assertions.

    Attributes
    ----------
    vertices
        Columns of :data:`octoscope.octopus.network_schema.VERTICES`; ``vertex`` is 0..n-1.
    genes
        Columns ``gene`` (Ensembl id), ``vertex``, ``how``; a gene may have several vertices and a
        vertex several genes.
    edges
        Source assertions.
    sources
        Names of the sources, in the order of ``edges.source``.
    meta
        Content of ``octopus.json``: sources, releases, counts.
    folder
        Where it was read from; None for one made in memory.
    identifiers
        vertex, ontology, identifier, bqb of one made in memory; None: those of the folder.
    """

    vertices: pd.DataFrame
    genes: pd.DataFrame
    edges: Edges
    sources: list[str]
    meta: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    identifiers: pd.DataFrame | None = None

    @cached_property
    def pair_keys(self) -> np.ndarray:
        """Sorted int64 keys low * n + high of connected unordered pairs, no self pairs."""
        return unordered_keys(self.edges, len(self.vertices))

    @cached_property
    def index(self) -> PairIndex:
        """Sorted ordered pairs with what is asserted of each."""
        return index_pairs(self.edges, len(self.vertices))

    @cached_property
    def degree(self) -> np.ndarray:
        """[vertices] int64 numbers of distinct neighbours, self excluded."""
        n = len(self.vertices)
        low, high = self.pair_keys // max(n, 1), self.pair_keys % max(n, 1)
        return np.bincount(low, minlength=n) + np.bincount(high, minlength=n)

    @cached_property
    def gene_index(self) -> pd.Index:
        """Distinct genes, in the order of ``genes``."""
        return pd.Index(self.genes["gene"].unique())

    def gene_codes(self, genes: Sequence[str] | np.ndarray) -> np.ndarray:
        """Return [genes] positions in ``gene_index``, -1 if absent; versions of ids are ignored."""
        codes, distinct = pd.factorize(np.asarray(genes, dtype=object))
        plain = [ensembl_gene(str(g)) or str(g) for g in distinct]
        position = self.gene_index.get_indexer(pd.Index(plain, dtype=object))
        return np.where(codes >= 0, position[codes] if len(position) else -1, -1)

    def vertex_of(self, ensembl: Sequence[str] | np.ndarray) -> np.ndarray:
        """Return [genes] int64 vertices; -1 where a gene is not in the network.

        The first one for a gene with several vertices (compartments).
        """
        at = self.gene_codes(ensembl)
        first = self.genes.groupby("gene", sort=False)["vertex"].min().to_numpy(np.int64)
        return np.where(at >= 0, first[at] if len(first) else -1, -1)

    def connected(self, a: np.ndarray, b: np.ndarray) -> pd.arrays.BooleanArray:
        """Return [pairs] whether an edge joins two vertices, in either direction.

        Nullable: NA where a gene has no vertex (-1), as nothing is known of such a pair.
        """
        a, b = np.asarray(a, np.int64), np.asarray(b, np.int64)
        low, high = np.minimum(a, b), np.maximum(a, b)
        code = pair_codes(a, b, len(self.vertices))
        query = np.where((low >= 0) & (low != high), code, -1)
        return pd.arrays.BooleanArray(find_keys(self.pair_keys, query) >= 0, low < 0)

    def adjacency(self, vertices: np.ndarray) -> np.ndarray:
        """Return [genes, genes] bool, symmetric, False between genes of one vertex and for -1."""
        distinct, inverse = np.unique(vertices, return_inverse=True)
        n = len(self.vertices)
        at = np.full(n + 1, -1)
        at[distinct[distinct >= 0]] = np.flatnonzero(distinct >= 0)
        low, high = at[self.pair_keys // max(n, 1)], at[self.pair_keys % max(n, 1)]
        inside = (low >= 0) & (high >= 0)
        small = np.zeros((len(distinct), len(distinct)), bool)
        small[low[inside], high[inside]] = True
        small |= small.T
        return small[inverse[:, None], inverse[None, :]]

    def with_edges(self, edges: Edges) -> Network:
        """Return the same vertices and genes with other assertions."""
        return replace(self, edges=edges)


@contextmanager
def octopus_folder(path: str | Path) -> Iterator[Path]:
    """Give the folder of an Octopus directory, or of the embedded one (``demo``)."""
    if str(path) == "demo":
        with as_file(files("octoscope.demo").joinpath("data/octopus")) as folder:
            yield folder
    else:
        yield Path(path)


@reads("build or import the directory again")
def open_network(path: str | Path) -> Network:
    """Read an Octopus directory, or the embedded demonstration network (``demo``).

    Raises
    ------
    InputError
        If a file or column is missing, or an edge names a vertex, role or source that does not
        exist.
    """
    with octopus_folder(path) as folder:
        meta = read_meta(folder)
        vertices = read_table(folder, "vertices").to_pandas()
        genes = read_table(folder, "genes").to_pandas()
        table = read_table(folder, "edges", _LOADED)
    where, names = f"{folder}/edges.parquet", list(meta["sources"])
    columns: dict[str, np.ndarray] = {}
    for column in _LOADED:
        known = {"role_src": ROLES, "role_dst": ROLES, "source": names}.get(column)
        if known is None:
            values = table[column].to_numpy()
            columns[column] = values.astype(bool) if column == "directed" else values
            continue
        try:
            columns[column] = codes_of(table[column], known)
        except ValueError as error:
            raise InputError(f"{where}: {column}", str(error), "build it again") from None
    edges, n = Edges(**columns), len(vertices)
    outside = (edges.src < 0) | (edges.src >= n) | (edges.dst < 0) | (edges.dst >= n)
    if outside.any():
        raise InputError(
            f"{where}: row {int(outside.argmax())}",
            f"names a vertex outside 0..{n - 1}",
            "build or import the directory again",
        )
    if (genes["vertex"] < 0).any() or (genes["vertex"] >= n).any():
        raise InputError(
            f"{folder}/genes.parquet", f"a vertex outside 0..{n - 1}", "build it again"
        )
    return Network(vertices, genes, edges, names, meta, folder)
