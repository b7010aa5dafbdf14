"""Overlap of top pairs with a network: rate over unordered pairs, background, permutation p."""

from __future__ import annotations

from functools import partial

import numpy as np

from octoscope.analysis import statistics
from octoscope.octopus.nulls import degree_strata, permutations_within


def overlap_test(
    query: np.ndarray,
    key: np.ndarray,
    vertices: np.ndarray,
    adjacency: np.ndarray,
    eligible: np.ndarray,
    *,
    permutations: int,
    seed: int,
    max_permutation_factor: int = 10,
) -> dict[str, float | int]:
    """Compare top pairs with a network.

    The unit is the unordered pair of two genes on different vertices, both in the network. The
    null permutes the network's gene labels among genes of like degree; where no
    permutation reaches the observed count, ``max_permutation_factor`` times as many are made. The
    interval deletes one gene at a time.

    Parameters
    ----------
    query, key
        [pairs] gene indices of the ordered top pairs.
    vertices
        [genes] vertex of each gene, -1 if it has none.
    adjacency
        [genes, genes] bool, symmetric.
    eligible
        [genes, genes] bool: pairs that could have been top pairs.

    Returns
    -------
    dict
        Counts, edge rate with interval, background rate, null mean and 95 % range, fold over the
        null mean, p, number of permutations and strata, genes alone in their stratum, and the
        share of pairs of two such genes (no permutation changes these pairs).
    """
    n = len(vertices)
    mapped = vertices >= 0
    low, high = np.minimum(query, key), np.maximum(query, key)
    keys = np.unique(low.astype(np.int64) * n + high)
    i, j = keys // n, keys % n
    inside = mapped[i] & mapped[j] & (vertices[i] != vertices[j])
    i, j = i[inside], j[inside]
    # background: every eligible unordered pair of the same universe
    a, b = np.triu_indices(n, 1)
    either = eligible[a, b] | eligible[b, a]
    universe = either & mapped[a] & mapped[b] & (vertices[a] != vertices[b])
    background = adjacency[a[universe], b[universe]]
    edges = adjacency[i, j]
    count, pairs = int(edges.sum()), len(i)
    degree = adjacency[:, mapped].sum(1)
    where = np.flatnonzero(mapped)
    strata = degree_strata(degree[where])
    null = statistics.permute_until_reached(
        partial(_null, i, j, where, strata, adjacency),
        count if pairs else float("nan"), permutations, max_permutation_factor, seed,
    )  # fmt: skip
    rate = count / pairs if pairs else float("nan")
    null_rate = null / pairs if pairs else np.zeros(0)
    interval = statistics.pair_rate_interval(i, j, edges.astype(np.float64), n)
    null_low, null_high = statistics.null_range(null_rate)
    mean = float(null_rate.mean()) if len(null_rate) else float("nan")
    alone = np.zeros(n, bool)
    alone[where] = np.bincount(strata, minlength=1)[strata] == 1
    return {
        "n_top_ordered": len(query),
        "n_unordered": len(keys),
        "n_pairs": pairs,
        "n_edges": count,
        "edge_rate": rate,
        "low": interval[0],
        "high": interval[1],
        "n_background": int(universe.sum()),
        "background_rate": float(background.mean()) if len(background) else float("nan"),
        "null_mean": mean,
        "null_low": null_low,
        "null_high": null_high,
        "fold_over_null": rate / mean if mean and mean > 0 else float("nan"),
        "p": statistics.permutation_p(count, null) if pairs else float("nan"),
        "n_permutations": len(null),
        "n_genes_in_network": int(mapped.sum()),
        "n_strata": len(np.unique(strata)),
        "n_genes_alone": int(alone.sum()),
        "share_uncontrolled": float((alone[i] & alone[j]).mean()) if pairs else float("nan"),
    }


def _null(
    i: np.ndarray,
    j: np.ndarray,
    where: np.ndarray,
    strata: np.ndarray,
    adjacency: np.ndarray,
    permutations: int,
    seed: int,
) -> np.ndarray:
    """Return [permutations] numbers of edges among the pairs of the relabelled network."""
    out = np.empty(permutations)
    relabel = np.arange(len(adjacency))
    for d, permuted in enumerate(permutations_within(strata, permutations, seed)):
        relabel[where] = where[permuted]
        out[d] = adjacency[relabel[i], relabel[j]].sum()
    return out
