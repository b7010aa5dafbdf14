"""Lists, networks and strata made at random for the tests of the controlled comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from octoscope.analysis.controlled.mantel_haenszel import StratumCounts
from octoscope.analysis.vertex_pairs import VertexPairs


@dataclass(frozen=True)
class Table:
    """Pairs of some vertices, one entry each: strata, network, list; and their counts."""

    u: np.ndarray
    v: np.ndarray
    stratum: np.ndarray
    edge: np.ndarray
    listed: np.ndarray
    covariates: np.ndarray
    counts: StratumCounts

    @property
    def cells(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Listed pairs, listed edges, pairs and edges of the strata that the list has pairs in."""
        s = np.unique(self.stratum[self.listed])
        every = [
            np.bincount(self.stratum[use], minlength=len(self.counts.pairs))[s]
            for use in (self.listed, self.listed & self.edge)
        ]
        return every[0], every[1], self.counts.pairs[s], self.counts.edges[s]


def table(
    seed: int, vertices: int = 14, strata: int = 4, groups: np.ndarray | None = None
) -> Table:
    """Draw pairs whose chance to be listed and to be an edge differs by stratum and vertex."""
    rng = np.random.default_rng(seed)
    u, v = np.triu_indices(vertices, 1)
    stratum = rng.integers(0, strata, len(u))
    gene = rng.normal(size=vertices)
    chance = 1 / (1 + np.exp(-(gene[u] + gene[v] + stratum - strata / 2)))
    edge, listed = rng.random((2, len(u))) < 0.1 + 0.6 * chance
    covariates = rng.normal(size=(3, len(u))) + stratum + listed
    group = np.arange(vertices) if groups is None else groups
    pairs_of, edges_of = np.zeros((2, strata, group.max() + 1), np.int32)
    for s, a, b, e in zip(stratum, group[u], group[v], edge, strict=True):
        for g in {a, b}:
            pairs_of[s, g] += 1
            edges_of[s, g] += e
    counts = StratumCounts(
        np.bincount(stratum, minlength=strata), np.bincount(stratum[edge], minlength=strata),
        np.stack([np.bincount(stratum, x, strata) for x in covariates]),
        np.arange(strata), pairs_of, edges_of,
    )  # fmt: skip
    return Table(u, v, stratum, edge, listed, covariates, counts)


def vertex_pairs(rng: np.random.Generator, genes: int, per_vertex: int = 1) -> VertexPairs:
    """Draw a network and eligible pairs; some genes have no vertex, families share one."""
    vertices = rng.permutation(np.arange(genes) // per_vertex)
    vertices[rng.random(genes) < 0.1] = -1
    edges = np.triu(rng.random((genes, genes)) < 0.2, 1)  # of vertices
    edges |= edges.T
    adjacency = edges[np.ix_(vertices, vertices)]
    eligible = rng.random((genes, genes)) < 0.6
    return VertexPairs.of_genes(vertices, adjacency, eligible)


def symmetric(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw correlations of two halves that agree, and their mean, [3, n, n] float32."""
    upper = np.triu(rng.uniform(-0.8, 0.8, (n, n)), 1)
    halves = np.clip(upper + np.triu(rng.normal(0, 0.2, (2, n, n)), 1), -1, 1)
    both = np.stack([*halves, halves.mean(0)])
    return (both + both.transpose(0, 2, 1)).astype(np.float32)


def blocks_of(
    values: np.ndarray, cuts: list[np.ndarray]
) -> Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]:
    """Return a reader of [3, vertices, vertices] values in blocks of the given vertices."""
    return lambda: ((rows, np.ascontiguousarray(values[:, rows])) for rows in cuts)
