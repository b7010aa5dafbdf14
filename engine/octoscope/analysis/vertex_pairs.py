"""Pairs of network vertices that a list can hold: the universe of every comparison with a network.

A null must draw from the pairs that the list was drawn from. Genes without an eligible pair are
not in it, degree counts edges of eligible pairs alone, and genes of one vertex stay together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from octoscope.octopus.nulls import label_strata, permutations_within
from octoscope.octopus.pairs import pair_codes


@dataclass(frozen=True)
class VertexPairs:
    """The vertices of a set of genes, and which pairs of them can be listed.

    Attributes
    ----------
    vertex_of
        [genes] position of each gene's vertex, -1: the gene is not in the network.
    eligible
        [vertices, vertices] bool, symmetric, False on the diagonal: some pair of their genes could
        have been listed in one of its directions.
    adjacency
        [vertices, vertices] bool, symmetric: an edge joins them.
    """

    vertex_of: np.ndarray
    eligible: np.ndarray
    adjacency: np.ndarray

    @classmethod
    def of_genes(
        cls, vertices: np.ndarray, adjacency: np.ndarray, eligible: np.ndarray
    ) -> VertexPairs:
        """Gather genes by vertex.

        Parameters
        ----------
        vertices
            [genes] vertex of each gene, -1 if it has none.
        adjacency
            [genes, genes] bool, symmetric.
        eligible
            [genes, genes] bool: pairs that could have been listed.
        """
        mapped = np.flatnonzero(vertices >= 0)
        _, first, position = np.unique(vertices[mapped], return_index=True, return_inverse=True)
        vertex_of = np.full(len(vertices), -1)
        vertex_of[mapped] = position
        one = mapped[first]  # of each vertex, by position
        either = eligible[np.ix_(mapped, mapped)] if len(one) < len(mapped) else None
        if either is None:
            either = eligible[np.ix_(one, one)]
        else:
            either = _any_by_group(_any_by_group(either, position).T, position).T
        either = either | either.T
        np.fill_diagonal(either, False)
        return cls(vertex_of, either, adjacency[np.ix_(one, one)])

    def __len__(self) -> int:
        return len(self.eligible)

    @cached_property
    def partners(self) -> np.ndarray:
        """[vertices] int64 numbers of eligible pairs of each vertex."""
        return self.eligible.sum(1)

    @cached_property
    def degree(self) -> np.ndarray:
        """[vertices] int64 numbers of its eligible pairs that an edge joins."""
        return np.array(
            [np.count_nonzero(e & a) for e, a in zip(self.eligible, self.adjacency, strict=True)],
            np.int64,
        )

    @cached_property
    def n_genes(self) -> np.ndarray:
        """[vertices] int64 numbers of genes of each vertex."""
        return np.bincount(self.vertex_of[self.vertex_of >= 0], minlength=len(self))

    @cached_property
    def free(self) -> np.ndarray:
        """[free vertices] positions of vertices with an eligible pair: those that are permuted."""
        return np.flatnonzero(self.partners)

    @cached_property
    def strata(self) -> np.ndarray:
        """[free vertices] stratum of each: like degree, like number of partners, as many genes."""
        at = self.free
        return label_strata(self.degree[at], self.partners[at], self.n_genes[at])

    @cached_property
    def alone(self) -> np.ndarray:
        """[vertices] bool: free and alone in its stratum, so that no permutation moves it."""
        alone = np.zeros(len(self), bool)
        alone[self.free] = np.bincount(self.strata, minlength=1)[self.strata] == 1
        return alone

    @property
    def n_pairs(self) -> int:
        """Eligible unordered pairs of vertices."""
        return int(self.partners.sum()) // 2

    @property
    def n_edges(self) -> int:
        """Eligible unordered pairs of vertices that an edge joins."""
        return int(self.degree.sum()) // 2

    def listed(self, query: np.ndarray, key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the distinct unordered pairs of two vertices of listed gene pairs, in their order.

        The vertex of the query comes first, of several gene pairs that of the first.

        Parameters
        ----------
        query, key
            [pairs] gene indices. Pairs within a vertex and of genes without one are left out.
        """
        u, v = self.vertex_of[query], self.vertex_of[key]
        inside = (u >= 0) & (v >= 0) & (u != v)
        u, v = u[inside], v[inside]
        first = np.sort(np.unique(pair_codes(u, v, len(self)), return_index=True)[1])
        return u[first], v[first]

    def permutations(self, permutations: int, seed: int) -> Iterator[np.ndarray]:
        """Yield [vertices] permuted positions: every free vertex goes into its own stratum."""
        relabel = np.arange(len(self))
        for permuted in permutations_within(self.strata, permutations, seed):
            relabel[self.free] = self.free[permuted]
            yield relabel

    def of_gene_labels(self, relabel: np.ndarray) -> np.ndarray:
        """Return [genes] where each gene goes if vertices are permuted; families stay together.

        A vertex goes to one with as many genes, so their genes match one to one, in order.
        """
        mapped = np.flatnonzero(self.vertex_of >= 0)
        position = self.vertex_of[mapped]
        order = np.argsort(position, kind="stable")
        start = np.concatenate([[0], np.cumsum(self.n_genes)[:-1]])
        rank = np.empty(len(mapped), np.int64)
        rank[order] = np.arange(len(mapped)) - start[position[order]]
        out = np.arange(len(self.vertex_of))
        out[mapped] = mapped[order][start[relabel[position]] + rank]
        return out


def _any_by_group(rows: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return [groups, columns] whether any row of each group is True."""
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    return np.logical_or.reduceat(rows[order], starts, axis=0)
