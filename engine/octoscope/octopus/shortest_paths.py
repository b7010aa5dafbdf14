"""Shortest paths between many pairs of vertices, and pathways that genes share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from octoscope.jit import compiled
from octoscope.octopus.directory import read_table
from octoscope.octopus.network import Network

_BITS = 64  # sources of a word, one bit each
_WORDS = 8  # words that one pass follows: a line of the cache


def pair_distances(
    network: Network, a: np.ndarray, b: np.ndarray, limit: int = 3, directed: bool = False
) -> np.ndarray:
    """Return [pairs] int16 numbers of edges on a shortest path, -1 if more than ``limit``.

    Breadth-first from 64 vertices at a time: each pass over the edges carries one bit per source.

    Parameters
    ----------
    a, b
        [pairs] vertices; -1 gives -1.
    limit
        Longest path looked for.
    directed
        Follow edges in their order only; otherwise any connected pair is a step.
    """
    a, b = np.asarray(a, np.int64), np.asarray(b, np.int64)
    n = len(network.vertices)
    head, tail = _steps(network, directed)
    order = np.argsort(tail, kind="stable")
    head, tail = head[order], tail[order]
    reached = np.unique(tail)
    starts = np.searchsorted(tail, reached)
    out = np.full(len(a), -1, np.int16)
    valid = (a >= 0) & (b >= 0)
    distinct = np.unique(a[valid])
    by_source = np.argsort(a, kind="stable")
    for at in range(0, len(distinct), _BITS):
        chunk = distinct[at : at + _BITS]
        seen = np.zeros(n, np.uint64)
        bit = np.uint64(1) << np.arange(len(chunk), dtype=np.uint64)
        seen[chunk] = bit
        low = np.searchsorted(a[by_source], chunk[0])
        high = np.searchsorted(a[by_source], chunk[-1], "right")
        rows = by_source[low:high]
        rows = rows[b[rows] >= 0]
        mine = bit[np.searchsorted(chunk, a[rows])]
        for step in range(limit + 1):
            arrived = (out[rows] < 0) & (seen[b[rows]] & mine > 0)
            out[rows[arrived]] = step
            if step == limit or not len(reached):
                break
            spread = np.bitwise_or.reduceat(seen[head], starts)
            grown = seen.copy()
            grown[reached] |= spread
            if (grown == seen).all():
                break
            seen = grown
    return out


def step_matrix(network: Network, vertices: np.ndarray, limit: int = 3) -> np.ndarray:
    """Return [vertices, vertices] int8 edges on a shortest path; ``limit + 1``: more, or no path.

    Through the whole network, in either direction. Breadth-first from 512 vertices at a time:
    18,000 vertices of a network of 8 million edges take a tenth of the time of
    :func:`pair_distances`.

    Parameters
    ----------
    vertices
        [vertices] distinct vertices of the network.
    """
    n = len(network.vertices)
    head, tail = _steps(network, directed=False)
    order = np.argsort(tail, kind="stable")
    head = head[order].astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(np.bincount(tail, minlength=n))])
    steps = np.full((len(vertices), len(vertices)), limit + 1, np.int8)
    for at in range(0, len(vertices), _BITS * _WORDS):
        here = np.arange(len(vertices[at : at + _BITS * _WORDS]))
        seen = np.zeros((n, _WORDS), np.uint64)
        seen[vertices[at + here], here // _BITS] = np.uint64(1) << (here % _BITS).astype(np.uint64)
        of_chunk = steps[at : at + len(here)]
        for step in range(limit + 1):
            bits = seen[vertices].astype("<u8").view(np.uint8)
            reached = np.unpackbits(bits, axis=1, bitorder="little", count=len(here)).T
            np.minimum(of_chunk, limit + 1 - (limit + 1 - step) * reached, out=of_chunk)
            if step < limit:
                grown = seen.copy()
                _spread(starts, head, seen, grown)
                seen = grown
    return steps


@compiled()
def _spread(starts: np.ndarray, head: np.ndarray, seen: np.ndarray, grown: np.ndarray) -> None:
    """Add to each vertex the bits of its neighbours.

    Parameters
    ----------
    starts, head
        [vertices + 1] where the neighbours of each begin, and the neighbours.
    seen, grown
        [vertices, words] uint64; the second is added to.
    """
    for v in range(len(starts) - 1):
        for e in range(starts[v], starts[v + 1]):
            for w in range(seen.shape[1]):
                grown[v, w] |= seen[head[e], w]


def _steps(network: Network, directed: bool) -> tuple[np.ndarray, np.ndarray]:
    n = max(len(network.vertices), 1)
    if directed:
        keys = network.index.keys
        return keys // n, keys % n
    low, high = network.pair_keys // n, network.pair_keys % n
    return np.concatenate([low, high]), np.concatenate([high, low])


def pathway_sets(network: Network) -> pd.DataFrame:
    """Return pathway, name, vertex; empty if no source gives pathways."""
    if network.folder is None:
        return pd.DataFrame({"pathway": [], "name": [], "vertex": []})
    return read_table(network.folder, "pathways").to_pandas()


def shared_pathways(
    network: Network, gene_a: Sequence[str] | np.ndarray, gene_b: Sequence[str] | np.ndarray
) -> np.ndarray:
    """Return [pairs] int64 numbers of pathways that hold both genes."""
    both = pathway_bits(network, gene_a) & pathway_bits(network, gene_b)
    return np.bitwise_count(both).sum(axis=1, dtype=np.int64)


def pathway_bits(network: Network, genes: Sequence[str] | np.ndarray) -> np.ndarray:
    """Return [genes, words] uint64 bits of the pathways that hold each gene.

    A gene outside the network is in none.
    """
    sets = pathway_sets(network).merge(network.genes[["gene", "vertex"]], on="vertex")
    in_pathways = pd.Index(sets["gene"].unique())
    names = pd.Index(sets["pathway"].unique())
    words = (len(names) + 63) // 64
    bits = np.zeros((len(in_pathways) + 1, max(words, 1)), np.uint64)  # the last row: no pathway
    row, column = in_pathways.get_indexer(sets["gene"]), names.get_indexer(sets["pathway"])
    np.bitwise_or.at(bits, (row, column // 64), np.uint64(1) << (column % 64).astype(np.uint64))
    row_of = np.append(in_pathways.get_indexer(network.gene_index), -1)
    return bits[row_of[network.gene_codes(genes)]]
