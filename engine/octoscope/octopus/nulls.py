"""Permutations of gene labels that keep each gene among genes of like degree."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import pandas as pd

from octoscope.octopus.network import Network

_CACHE_BYTES = 64_000_000


def degree_strata(degree: np.ndarray) -> np.ndarray:
    """Return [genes] stratum numbers: quarter-log2 bins of degree + 1, never merged.

    Merging bins until they hold ten genes puts hubs of quite different degree together: pairs
    that only prefer hubs then reach p < 0.05 in 45 % of simulated runs instead of 10 %
    (docs/science.md). The price is that a hub alone in its bin keeps its place.
    """
    bins = np.floor(4 * np.log2(degree + 1.0)).astype(int)
    return np.unique(bins, return_inverse=True)[1]


def label_strata(degree: np.ndarray, partners: np.ndarray, n_genes: np.ndarray) -> np.ndarray:
    """Return [vertices] stratum numbers: like degree, like number of partners, as many genes.

    Parameters
    ----------
    degree, partners
        [vertices] edges among the eligible pairs of a vertex, and these pairs. A well expressed
        gene has more of both, so labels that move from it to a rare gene would change how many
        pairs of a list can be edges at all. Both in quarter-log2 bins.
    n_genes
        [vertices] genes on each vertex; a family changes places with a family of its size.
    """
    each = np.stack([degree_strata(degree), degree_strata(partners), n_genes])
    return np.unique(each, axis=1, return_inverse=True)[1].reshape(-1)


def permute_within(strata: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return [genes] a permutation that maps every gene into its own stratum."""
    order = np.argsort(strata, kind="stable")
    shuffled = np.lexsort((rng.random(len(strata)), strata))
    out = np.empty(len(strata), np.int64)
    out[order] = shuffled
    return out


def permutations_within(strata: np.ndarray, permutations: int, seed: int) -> Iterable[np.ndarray]:
    """Yield ``permutations`` permutations of :func:`permute_within`, the same for the same seed.

    Tests of one gene set use the same permutations repeatedly, so small ones are cached.
    """
    if permutations * len(strata) * 8 <= _CACHE_BYTES:
        yield from _cached(strata.tobytes(), strata.dtype.str, permutations, seed)
        return
    rng = np.random.default_rng(seed)
    for _ in range(permutations):
        yield permute_within(strata, rng)


@lru_cache(maxsize=4)
def _cached(strata: bytes, dtype: str, permutations: int, seed: int) -> np.ndarray:
    rng, within = np.random.default_rng(seed), np.frombuffer(strata, dtype)
    return np.stack([permute_within(within, rng) for _ in range(permutations)])


def gene_table(network: Network, genes: list[str] | np.ndarray) -> pd.DataFrame:
    """Return what a degree-matched null needs to know of a set of genes.

    Returns
    -------
    DataFrame
        gene, vertex, how, same_vertex (another gene of the set has this vertex), degree
        (neighbours in the whole network), degree_in_set (neighbours among the set's vertices),
        stratum (of ``degree_in_set``), and ``degree_<source>`` for every source. Whole numbers are
        null for a gene that is not in the network.
    """
    vertices = network.vertex_of(genes)
    inside = vertices >= 0
    how = network.genes.drop_duplicates("gene").set_index("gene")["how"]
    distinct, inverse = np.unique(vertices[inside], return_inverse=True)
    within = network.adjacency(distinct).sum(1)[inverse] if len(distinct) else np.zeros(0, int)
    count = np.bincount(inverse, minlength=len(distinct))[inverse] if len(distinct) else within
    known = pd.arrays.IntegerArray(vertices, ~inside)
    table = pd.DataFrame({"gene": np.asarray(genes, dtype=object), "vertex": known})
    table["how"] = how.reindex(table["gene"]).to_numpy()
    table["same_vertex"] = False
    table.loc[inside, "same_vertex"] = count > 1

    def put(name: str, values: np.ndarray) -> None:
        whole = np.zeros(len(table), np.int64)
        whole[inside] = values
        table[name] = pd.arrays.IntegerArray(whole, ~inside)

    put("degree", network.degree[vertices[inside]])
    put("degree_in_set", within)
    put("stratum", degree_strata(within))
    for code, source in enumerate(network.sources):
        mine = network.with_edges(network.edges.select(network.edges.source == code))
        put(f"degree_{source}", mine.degree[vertices[inside]])
    return table
