"""AUROC: how well a whole matrix separates the pairs of a network from all others."""

from __future__ import annotations

import numpy as np

from octoscope.analysis import statistics
from octoscope.attention.histograms import BINS, auroc, average_precision, percentiles
from octoscope.octopus.nulls import degree_strata, permutations_within


def auroc_test(
    bins: np.ndarray,
    eligible: np.ndarray,
    vertices: np.ndarray,
    adjacency: np.ndarray,
    *,
    permutations: int,
    seed: int,
    max_permutation_factor: int = 10,
) -> dict[str, float | int]:
    """Measure how well values rank the network's edges among all eligible pairs of its genes.

    The null permutes the network's gene labels among genes of like degree, as for the overlap of
    top pairs; where no permutation reaches the area, ``max_permutation_factor`` times as many are
    made. The interval deletes one gene at a time; the distribution of the other pairs is fixed.

    Parameters
    ----------
    bins
        [genes, genes] uint16 of :func:`~octoscope.attention.histograms.bins_of`.
    eligible
        [genes, genes] bool.
    vertices
        [genes] vertex of each gene, -1 if it has none.
    adjacency
        [genes, genes] bool, symmetric.

    Returns
    -------
    dict
        n_pairs, n_edges (ordered, of genes on different vertices), auroc with interval, the error
        of binning, null mean and 95 % range, p (of large values), average_precision with the 95 %
        range of its null and its chance level, number of permutations.
    """
    mapped = vertices >= 0
    usable = eligible & mapped[:, None] & mapped & (vertices[:, None] != vertices)
    i, j = np.nonzero(usable & adjacency)
    # keep only the bins that hold a value: every permutation looks through all of them
    held = np.flatnonzero(np.bincount(bins[usable], minlength=BINS))
    place = np.zeros(BINS, np.uint16)
    place[held] = np.arange(len(held))
    bins, n_bins = place[bins], len(held)
    every = np.bincount(bins[usable], minlength=n_bins)
    edges = np.bincount(bins[i, j], minlength=n_bins)
    area, error = auroc(edges, every - edges)
    share = percentiles(every - edges)[bins[i, j]]
    where = np.flatnonzero(mapped)
    strata = degree_strata(adjacency[:, mapped].sum(1)[where])
    a, b = np.nonzero(adjacency & mapped[:, None] & mapped)

    def permute(permutations: int, seed: int) -> np.ndarray:
        relabel, null = np.arange(len(bins)), np.full((permutations, 2), np.nan)
        for d, permuted in enumerate(permutations_within(strata, permutations, seed)):
            relabel[where] = where[permuted]
            x, y = relabel[a], relabel[b]
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
    low, high = statistics.pair_rate_interval(i, j, share, len(bins))
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
