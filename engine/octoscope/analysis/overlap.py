"""Overlap of top pairs with a network: rate over unordered pairs, background, permutation p."""

from __future__ import annotations

from functools import partial

import numpy as np

from octoscope.analysis import statistics
from octoscope.analysis.vertex_pairs import VertexPairs


def overlap_test(
    query: np.ndarray,
    key: np.ndarray,
    pairs: VertexPairs,
    *,
    permutations: int,
    seed: int,
    max_permutation_factor: int = 10,
) -> dict[str, float | int]:
    """Compare top pairs with a network.

    The unit is the unordered pair of two vertices. The null permutes vertices that have an eligible
    pair among those of like degree and like number of eligible partners. It counts edges over the
    pairs that are eligible after relabelling, because only these could have been listed. Where no
    permutation reaches the observed rate, ``max_permutation_factor`` times as many are made. The
    interval deletes one vertex at a time.

    Parameters
    ----------
    query, key
        [pairs] gene indices of the ordered top pairs.
    pairs
        The pairs that could have been listed.

    Returns
    -------
    dict
        Counts, edge rate with interval, background rate, null mean and 95 % range, fold over the
        null mean, p, number of permutations and strata, vertices alone in their stratum, and the
        share of pairs of two such vertices (no permutation changes these pairs).
    """
    n = len(pairs.vertex_of)
    low, high = np.minimum(query, key).astype(np.int64), np.maximum(query, key)
    u, v = pairs.listed(query, key)
    edges = pairs.adjacency[u, v]
    count, listed = int(edges.sum()), len(u)
    rate = count / listed if listed else float("nan")
    null = statistics.permute_until_reached(
        partial(_null, u, v, pairs), rate, permutations, max_permutation_factor, seed
    )
    interval = statistics.pair_rate_interval(u, v, edges.astype(np.float64), len(pairs))
    null_low, null_high = statistics.null_range(null)
    known = null[~np.isnan(null)]
    mean = float(known.mean()) if len(known) else float("nan")
    alone = pairs.alone
    return {
        "n_top_ordered": len(query),
        "n_unordered": len(np.unique(low * n + high)),
        "n_pairs": listed,
        "n_edges": count,
        "edge_rate": rate,
        "low": interval[0],
        "high": interval[1],
        "n_background": pairs.n_pairs,
        "background_rate": pairs.n_edges / pairs.n_pairs if pairs.n_pairs else float("nan"),
        "null_mean": mean,
        "null_low": null_low,
        "null_high": null_high,
        "fold_over_null": rate / mean if mean and mean > 0 else float("nan"),
        "p": statistics.permutation_p(rate, null),
        "n_permutations": len(known),
        "n_genes_in_network": int((pairs.vertex_of >= 0).sum()),
        "n_strata": len(np.unique(pairs.strata)),
        "n_genes_alone": int(pairs.n_genes[alone].sum()),
        "share_uncontrolled": float((alone[u] & alone[v]).mean()) if listed else float("nan"),
    }


def _null(
    u: np.ndarray, v: np.ndarray, pairs: VertexPairs, permutations: int, seed: int
) -> np.ndarray:
    """Return [permutations] edge rates of the relabelled pairs; NaN where none is eligible."""
    out = np.full(permutations, np.nan)
    for d, relabel in enumerate(pairs.permutations(permutations, seed)):
        x, y = relabel[u], relabel[v]
        inside = pairs.eligible[x, y]
        n = np.count_nonzero(inside)
        if n:
            out[d] = np.count_nonzero(pairs.adjacency[x, y] & inside) / n
    return out
