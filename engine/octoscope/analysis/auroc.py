"""AUROC: how well a whole matrix separates the pairs of a network from all others."""

from __future__ import annotations

import numpy as np

from octoscope.analysis import statistics
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.attention.histograms import BINS, auroc, average_precision, percentiles


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
        of binning, null mean and 95 % range, p (of large values), average_precision with the 95 %
        range of its null and its chance level, number of permutations.
    """
    vertex = pairs.vertex_of
    usable = eligible & (vertex >= 0)[:, None] & (vertex >= 0) & (vertex[:, None] != vertex)
    a, b = _gene_edges(pairs)
    inside = usable[a, b]
    i, j = a[inside], b[inside]
    # keep only the bins that hold a value: every permutation looks through all of them
    held = np.flatnonzero(np.bincount(bins[usable], minlength=BINS))
    new_bin = np.zeros(BINS, np.uint16)
    new_bin[held] = np.arange(len(held))
    bins, n_bins = new_bin[bins], len(held)
    every = np.bincount(bins[usable], minlength=n_bins)
    edges = np.bincount(bins[i, j], minlength=n_bins)
    area, error = auroc(edges, every - edges)
    share = percentiles(every - edges)[bins[i, j]]

    def permute(permutations: int, seed: int) -> np.ndarray:
        null = np.full((permutations, 2), np.nan)
        for d, relabel in enumerate(pairs.permutations(permutations, seed)):
            gene = pairs.of_gene_labels(relabel)
            x, y = gene[a], gene[b]
            inside = usable[x, y]
            permuted_edges = np.bincount(bins[x[inside], y[inside]], minlength=n_bins)
            null[d] = (
                auroc(permuted_edges, every - permuted_edges)[0],
                average_precision(permuted_edges, every - permuted_edges),
            )
        return null

    precision = average_precision(edges, every - edges)
    # only the area, which has a p-value, may ask for more permutations
    observed = np.array([area, np.nan])
    null, of_precision = statistics.permute_until_reached(
        permute, observed, permutations, max_permutation_factor, seed
    ).T
    precision_low, precision_high = statistics.null_range(of_precision)
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
        "edge_share": len(i) / max(int(every.sum()), 1),
    }


def _gene_edges(pairs: VertexPairs) -> tuple[np.ndarray, np.ndarray]:
    """Return the ordered gene pairs whose vertices an edge joins."""
    mapped = np.flatnonzero(pairs.vertex_of >= 0)
    position = pairs.vertex_of[mapped]
    a, b = np.nonzero(pairs.adjacency[np.ix_(position, position)])
    return mapped[a], mapped[b]
