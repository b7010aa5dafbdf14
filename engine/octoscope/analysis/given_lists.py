"""Edge rates of a list of pairs from anywhere: with the null of the overlap, and as published."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from octoscope.analysis.overlap import overlap_test
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.network import Network


@dataclass(frozen=True)
class PeerRates:
    """Edge rate and background as the napistu posts count them.

    The observed side asks of each listed ordered pair whether any edge leads that way. The
    background counts edges, not pairs: several of one pair, and those of a vertex with itself, all
    count, over (n - 1)^2 pairs instead of n (n - 1). There is no null, so a list of hubs is
    "enriched".

    Attributes
    ----------
    rate, background
        NaN where there is no pair.
    """

    rate: float
    background: float

    @property
    def fold(self) -> float:
        """The published enrichment: rate over background."""
        return self.rate / self.background if self.background > 0 else float("nan")


def peer_rates(network: Network, a: np.ndarray, b: np.ndarray, vocabulary: np.ndarray) -> PeerRates:
    """Return the rates as published.

    Parameters
    ----------
    a, b
        [pairs] vertices of the listed ordered pairs; -1: not in the network, left out.
    vocabulary
        Vertices that could have been listed.
    """
    mapped = (a >= 0) & (b >= 0)
    is_edge = network.index.find(a[mapped], b[mapped]) >= 0
    inside = np.zeros(len(network.vertices) + 1, bool)
    inside[vocabulary[vocabulary >= 0]] = True
    e = network.edges
    counted = inside[e.src] & inside[e.dst]
    edges = int(counted.sum()) + int((counted & e.both_ways & (e.src != e.dst)).sum())
    n = int(inside.sum())
    background = edges / (n - 1) ** 2 if n > 1 else float("nan")
    return PeerRates(float(is_edge.mean()) if len(is_edge) else float("nan"), background)


def list_rates(
    network: Network,
    query: np.ndarray,
    key: np.ndarray,
    vocabulary: np.ndarray,
    *,
    permutations: int,
    seed: int,
) -> tuple[dict[str, float | int], PeerRates]:
    """Compare a list of pairs with a network, every pair of the vocabulary being eligible.

    Parameters
    ----------
    query, key
        [pairs] Ensembl ids, or names that the network knows.
    vocabulary
        Distinct ids of the genes that could have been listed, those of the list among them.

    Returns
    -------
    tuple
        What :func:`overlap_test` says, and the rates as published.
    """
    vertices = network.vertex_of(vocabulary)
    position_of = {gene: i for i, gene in enumerate(vocabulary)}
    a, b = (np.array([position_of[g] for g in genes], np.int64) for genes in (query, key))
    eligible = np.ones((len(vocabulary), len(vocabulary)), bool)
    pairs = VertexPairs.of_genes(vertices, network.adjacency(vertices), eligible)
    tested = overlap_test(a, b, pairs, permutations=permutations, seed=seed)
    return tested, peer_rates(network, vertices[a], vertices[b], vertices)
