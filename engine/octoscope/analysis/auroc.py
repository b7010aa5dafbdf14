"""AUROC: how well a whole matrix separates the pairs of a network from all others."""

from __future__ import annotations

from itertools import islice

import numpy as np

from octoscope.analysis import statistics
from octoscope.analysis.kernels import count_permuted
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.attention.histograms import (
    BINS,
    auroc,
    average_precision,
    early_precision,
    percentiles,
)

ROWS = 256  # of a matrix at once
AT_ONCE = 16  # permutations: a row is read once for all of them


def auroc_test(
    bins: np.ndarray,
    eligible: np.ndarray,
    pairs: VertexPairs,
    *,
    permutations: int,
    seed: int,
    max_permutation_factor: int = 10,
) -> dict[str, float | int]:
    """Measure how well values rank the network's edges among all eligible pairs of its genes.

    The null permutes vertices as for the overlap of top pairs; where no permutation reaches the
    area, ``max_permutation_factor`` times as many are made. The interval deletes one vertex at a
    time; the distribution of the other pairs is fixed.

    Parameters
    ----------
    bins
        [genes, genes] uint16 of :func:`~octoscope.attention.histograms.bins_of`.
    eligible
        [genes, genes] bool.
    pairs
        The vertices of the genes.

    Returns
    -------
    dict
        n_pairs, n_edges (ordered, of genes on different vertices), auroc with interval, the error
        of binning, null mean and 95 % range, p (of large values), average_precision and
        early_precision with the 95 % ranges of their nulls and their chance level, number of
        permutations.
    """
    vertex = pairs.vertex_of
    bins, every = _usable_bins(bins, eligible, vertex)
    starts, keys = _gene_edges(pairs)
    i, j = np.repeat(np.arange(len(vertex)), np.diff(starts)), keys
    inside = bins[i, j] > 0
    i, j = i[inside], j[inside]
    of_edges = bins[i, j] - 1
    edges = np.bincount(of_edges, minlength=len(every))
    rest = every - edges
    area, error = auroc(edges, rest)
    share = percentiles(rest)[of_edges]

    def permute(permutations: int, seed: int) -> np.ndarray:
        null = np.full((permutations, 3), np.nan)
        permuted = map(pairs.of_gene_labels, pairs.permutations(permutations, seed))
        for first in range(0, permutations, AT_ONCE):
            genes = np.stack(list(islice(permuted, AT_ONCE)))
            counts = np.zeros((len(genes), len(every) + 1), np.int64)
            count_permuted(bins, starts, keys, genes, np.argsort(genes, 1), counts)
            for d, permuted_edges in enumerate(counts[:, 1:], first):
                others = every - permuted_edges
                null[d] = (
                    auroc(permuted_edges, others)[0],
                    average_precision(permuted_edges, others),
                    early_precision(permuted_edges, others),
                )
        return null

    precision, early = average_precision(edges, rest), early_precision(edges, rest)
    # only the area, which has a p-value, may ask for more permutations
    observed = np.array([area, np.nan, np.nan])
    null, of_precision, of_early = statistics.permute_until_reached(
        permute, observed, permutations, max_permutation_factor, seed
    ).T
    precision_low, precision_high = statistics.null_range(of_precision)
    early_low, early_high = statistics.null_range(of_early)
    low, high = statistics.pair_rate_interval(vertex[i], vertex[j], share, len(pairs))
    null_low, null_high = statistics.null_range(null)
    known = null[~np.isnan(null)]
    return {
        "n_pairs": int(every.sum()),
        "n_edges": len(i),
        "auroc": area,
        "low": low,
        "high": high,
        "binning_error": error,
        "null_mean": float(known.mean()) if len(known) else float("nan"),
        "null_low": null_low,
        "null_high": null_high,
        "p": statistics.permutation_p(area, null),
        "n_permutations": len(known),
        "average_precision": precision,
        "precision_null_low": precision_low,
        "precision_null_high": precision_high,
        "early_precision": early,
        "early_null_low": early_low,
        "early_null_high": early_high,
        "edge_share": len(i) / max(int(every.sum()), 1),
    }


def _usable_bins(
    bins: np.ndarray, eligible: np.ndarray, vertex: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return [genes, genes] uint16 bins from 1, 0: not used; and [bins] how many pairs hold each.

    Only bins that hold a value get a number: every permutation looks through all of them. Values
    are finite, so fewer than 65,536 bins hold one.
    """
    mapped = vertex >= 0

    def used(rows: slice) -> np.ndarray:
        pairs = eligible[rows] & mapped[rows, None] & mapped
        return pairs & (vertex[rows, None] != vertex)

    blocks = [slice(first, first + ROWS) for first in range(0, len(bins), ROWS)]
    counts = np.zeros(BINS, np.int64)
    for rows in blocks:
        counts += np.bincount(bins[rows][used(rows)], minlength=BINS)
    filled = np.flatnonzero(counts)
    number = np.zeros(BINS, np.uint16)
    number[filled] = np.arange(1, len(filled) + 1)
    out = np.zeros_like(bins)
    for rows in blocks:
        np.multiply(number[bins[rows]], used(rows), out=out[rows])
    return out, counts[filled]


def _gene_edges(pairs: VertexPairs) -> tuple[np.ndarray, np.ndarray]:
    """Return the ordered gene pairs whose vertices an edge joins, by query.

    Returns
    -------
    tuple of ndarray
        [genes + 1] int64 where the keys of each gene start, and [pairs] int32 keys.
    """
    mapped = np.flatnonzero(pairs.vertex_of >= 0).astype(np.int32)
    position = pairs.vertex_of[mapped]
    keys = [mapped[pairs.adjacency[vertex, position]] for vertex in position]
    lengths = np.zeros(len(pairs.vertex_of) + 1, np.int64)
    lengths[mapped + 1] = [len(of_gene) for of_gene in keys]
    return np.cumsum(lengths), np.concatenate([np.empty(0, np.int32), *keys])
