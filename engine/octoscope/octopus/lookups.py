"""Vectorised look-ups of many ordered pairs of vertices or genes in a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from octoscope.octopus.network import Network
from octoscope.octopus.pairs import NEGATIVE, POSITIVE, STATED
from octoscope.octopus.shortest_paths import pair_distances, shared_pathways


def describe_vertices(network: Network, a: np.ndarray, b: np.ndarray) -> pd.DataFrame:
    """Say everything asserted of ordered vertex pairs, one row each.

    Parameters
    ----------
    a, b
        [pairs] vertices; -1 stands for none.

    Returns
    -------
    DataFrame
        ``forward`` and ``reverse`` (an edge a to b, b to a), ``stated`` (some source gives this
        order), ``sources`` and ``relations`` of the forward edges (joined by ``;``), ``sign``
        (1, -1, 0 unknown or contradictory), ``contradictory`` (both signs are asserted), ``score``
        (largest of the forward edges, NaN if none), ``degree_a``, ``degree_b`` (distinct
        neighbours; null for vertex -1), ``same_vertex``.
    """
    a, b = np.asarray(a, np.int64), np.asarray(b, np.int64)
    rows = np.arange(len(a))
    return _described(network, a, b, rows, len(a))


def describe_genes(
    network: Network, gene_a: Sequence[str] | np.ndarray, gene_b: Sequence[str] | np.ndarray
) -> pd.DataFrame:
    """Say everything asserted of ordered gene pairs, one row each.

    A gene with several vertices answers for all of them: an edge between any two counts, signs
    and sources are joined, the degree is that of the gene's largest vertex.

    Returns
    -------
    DataFrame
        As :func:`describe_vertices`, with ``mapped`` (both genes are in the network) and
        ``same_vertex``: different genes that share a vertex, or the same gene twice. No edge of
        the network can join such a pair, so it must not count as a pair without an edge.
    """
    a, b, rows, mapped = vertex_pairs_of(network, gene_a, gene_b)
    out = _described(network, a, b, rows, len(mapped))
    out.insert(0, "mapped", mapped)
    return out


def vertex_pairs_of(
    network: Network, gene_a: Sequence[str] | np.ndarray, gene_b: Sequence[str] | np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return vertex pairs of gene pairs, the gene pair of each, and which gene pairs are mapped.

    A gene pair that is not mapped has one vertex pair, of -1.
    """
    first, second = network.gene_codes(gene_a), network.gene_codes(gene_b)
    offsets, members = _gene_vertices(network)
    counts = np.diff(offsets)
    mapped = (first >= 0) & (second >= 0)
    many = np.where(mapped, counts[first] * counts[second], 1)
    rows = np.repeat(np.arange(len(first)), many)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(many) - many, many)
    per = np.where(mapped, counts[second], 1)[rows]
    inside, last = mapped[rows], len(members) - 1
    a = members[np.minimum(offsets[first][rows] + within // per, last)]
    b = members[np.minimum(offsets[second][rows] + within % per, last)]
    return np.where(inside, a, -1), np.where(inside, b, -1), rows, mapped


def _gene_vertices(network: Network) -> tuple[np.ndarray, np.ndarray]:
    codes = network.gene_index.get_indexer(pd.Index(network.genes["gene"]))
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes, minlength=len(network.gene_index))
    offsets = np.concatenate([[0], np.cumsum(counts), [counts.sum()]])
    members = network.genes["vertex"].to_numpy(np.int64)[order]
    return offsets, members if len(members) else np.array([-1])


def _described(
    network: Network, a: np.ndarray, b: np.ndarray, rows: np.ndarray, n: int
) -> pd.DataFrame:
    """Answer vertex pairs and join those of one row; every row has at least one pair."""
    index = network.index
    at, back = index.find(a, b), index.find(b, a)
    here = at >= 0
    single = len(rows) == n  # rows are then 0..n-1
    starts = None if single else np.flatnonzero(np.diff(rows, prepend=-1))

    def joined(values: np.ndarray, how: np.ufunc) -> np.ndarray:
        return values if starts is None or not n else how.reduceat(values, starts)

    def of(values: np.ndarray) -> np.ndarray:
        taken = values[at] if len(values) else np.zeros(len(at), values.dtype)
        return joined(np.where(here, taken, np.zeros(1, values.dtype)), np.bitwise_or)

    sign = of(index.sign)
    score = np.full(len(a), np.nan, np.float32)
    score[here] = index.score[at[here]]
    return pd.DataFrame(
        {
            "forward": joined(here, np.logical_or),
            "reverse": joined(back >= 0, np.logical_or),
            "stated": of(index.order) & STATED > 0,
            "sources": bit_names(of(index.sources), network.sources),
            "relations": bit_names(of(index.relations), index.relation_names),
            "sign": np.select([sign == POSITIVE, sign == NEGATIVE], [1, -1], 0).astype(np.int8),
            "contradictory": sign == POSITIVE | NEGATIVE,
            "score": joined(score, np.fmax),
            "degree_a": null_below_zero(joined(_degree(network, a), np.maximum)),
            "degree_b": null_below_zero(joined(_degree(network, b), np.maximum)),
            "same_vertex": joined((a == b) & (a >= 0), np.logical_or),
        }
    )


def null_below_zero(values: np.ndarray) -> pd.arrays.IntegerArray:
    """Return whole numbers as a nullable array: null where -1 stands for unknown."""
    return pd.arrays.IntegerArray(values, values < 0)


def _degree(network: Network, vertices: np.ndarray) -> np.ndarray:
    known = (vertices >= 0) & (vertices < len(network.vertices))
    out = np.full(len(vertices), -1, np.int64)
    out[known] = network.degree[vertices[known]]
    return out


def bit_names(bits: np.ndarray, names: list[str]) -> pd.Categorical[str]:
    """Return bit sets as ``;``-joined names; the number of distinct sets is small."""
    distinct, codes = np.unique(bits, return_inverse=True)
    labels = [";".join(n for i, n in enumerate(names) if int(s) >> i & 1) for s in distinct]
    return pd.Categorical.from_codes(codes, categories=pd.Index(labels))


def annotate(
    pairs: pd.DataFrame, network: Network, a: str, b: str, distance: int = 0
) -> pd.DataFrame:
    """Add everything asserted of two columns of genes; works on a Dask partition as well.

    Parameters
    ----------
    a, b
        Names of the columns of genes (Ensembl ids).
    distance
        Also add ``distance``: edges on the shortest path between any vertices of the two genes, up
        to this many (null: longer, or a gene is not in the network). 0: leave it out.

    Returns
    -------
    DataFrame
        The columns of ``pairs``, those of :func:`describe_genes`, and ``shared_pathways``; names
        that ``pairs`` has already get the prefix ``network_``. Null where the network lacks a gene
        (not ``mapped``); ``sign`` also where it is unknown or contradictory.
    """
    gene_a, gene_b = pairs[a].to_numpy(object), pairs[b].to_numpy(object)
    described = _null_if_unknown(describe_genes(network, gene_a, gene_b)).set_axis(pairs.index)
    pathways = shared_pathways(network, gene_a, gene_b)
    described["shared_pathways"] = pd.arrays.IntegerArray(
        pathways, ~described["mapped"].to_numpy(bool)
    )
    if distance:
        a_of, b_of, rows, _ = vertex_pairs_of(network, gene_a, gene_b)
        steps = pair_distances(network, a_of, b_of, limit=distance).astype(np.int32)
        steps[steps < 0] = distance + 1
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        nearest = np.minimum.reduceat(steps, starts) if len(starts) else steps
        described["distance"] = pd.arrays.IntegerArray(nearest, nearest > distance)
    taken = [c for c in described if c in pairs]
    return pd.concat([pairs, described.rename(columns={c: f"network_{c}" for c in taken})], axis=1)


def _null_if_unknown(described: pd.DataFrame) -> pd.DataFrame:
    """Return answers of :func:`describe_genes` with null for what the network cannot know."""
    mapped, sign = described["mapped"].to_numpy(bool), described["sign"].to_numpy(np.int8)
    for name in ("forward", "reverse", "stated", "contradictory", "same_vertex"):
        described[name] = pd.arrays.BooleanArray(described[name].to_numpy(bool), ~mapped)
    for name in ("sources", "relations"):
        described[name] = described[name].where(mapped)
    described["sign"] = pd.arrays.IntegerArray(sign, sign == 0)
    return described
