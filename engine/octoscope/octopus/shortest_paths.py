"""Shortest paths between many pairs of vertices, and pathways that genes share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from octoscope.octopus.directory import read_table
from octoscope.octopus.network import Network

_BITS = 64  # sources that one pass follows, one bit each


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
    held = pd.Index(sets["gene"].unique())
    names = pd.Index(sets["pathway"].unique())
    words = (len(names) + 63) // 64
    bits = np.zeros((len(held) + 1, max(words, 1)), np.uint64)  # the last row: no pathway
    row, column = held.get_indexer(sets["gene"]), names.get_indexer(sets["pathway"])
    np.bitwise_or.at(bits, (row, column // 64), np.uint64(1) << (column % 64).astype(np.uint64))
    row_of = np.append(held.get_indexer(network.gene_index), -1)
    return bits[row_of[network.gene_codes(genes)]]
