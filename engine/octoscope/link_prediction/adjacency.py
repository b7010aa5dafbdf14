"""Sparse matrices of the training edges: all that floors may know of a network."""

from __future__ import annotations

from scipy import sparse

from octoscope.gnn.directed_spectrum import adjacency_of
from octoscope.link_prediction.links import Links
from octoscope.link_prediction.splits import Split


def train_adjacency(links: Links, split: Split) -> sparse.csr_array:
    """Return [vertices, vertices] float32 CSR: 1 where a training edge leads from row to column.

    Parallel edges count once; self pairs are left out.
    """
    rows = split.rows("train")
    return adjacency_of(links.src[rows], links.dst[rows], links.n)


def train_neighbours(links: Links, split: Split) -> sparse.csr_array:
    """Return the symmetric form of :func:`train_adjacency`: 1 where an edge joins two vertices."""
    return neighbours(train_adjacency(links, split))


def neighbours(adjacency: sparse.csr_array) -> sparse.csr_array:
    """Return 1 where a directed adjacency or its transpose has an entry, float32 CSR."""
    both = (adjacency + adjacency.T).tocsr()
    both.data[:] = 1
    both.sort_indices()
    return both
