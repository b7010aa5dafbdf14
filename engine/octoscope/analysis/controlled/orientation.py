"""Direction: does the query of a strong pair act on its key, or the other way round?"""

from __future__ import annotations

import numpy as np

from octoscope.analysis import statistics
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.network import Network


def leads_to(network: Network, vertices: np.ndarray) -> np.ndarray:
    """Return [vertices, vertices] bool: edges lead from the row to the column, and none back.

    A pair that a source states in no order, or that sources state in both orders, has no direction.

    Parameters
    ----------
    vertices
        Distinct vertices of the network.
    """
    position = np.full(len(network.vertices), -1)
    position[vertices] = np.arange(len(vertices))
    a, b = position[network.edges.src], position[network.edges.dst]
    inside = (a >= 0) & (b >= 0)
    back = inside & network.edges.both_ways
    any_edge = np.zeros((len(vertices), len(vertices)), bool)
    any_edge[a[inside], b[inside]] = True
    any_edge[b[back], a[back]] = True
    return any_edge & ~any_edge.T


def orientation_test(
    query: np.ndarray,
    key: np.ndarray,
    pairs: VertexPairs,
    leads: np.ndarray,
    *,
    permutations: int,
    seed: int,
) -> dict[str, float | int]:
    """Compare the direction of listed pairs with that of their edges.

    The null permutes vertices as for the overlap, so a hub that is often a source and often a query
    is no evidence. Neither direction is assumed to be the regulator's; p is two-sided. A permuted
    list has fewer edges than one that is enriched, so its share varies more and p is too large. The
    interval deletes one vertex at a time.

    Parameters
    ----------
    query, key
        [pairs] vertices of listed pairs, the query first.
    leads
        Of :func:`leads_to`.

    Returns
    -------
    dict
        n_pairs, n_one_way (pairs whose edges all lead one way), n_query_to_key, share with
        interval, null_mean, null_low, null_high, p, n_permutations.
    """
    forth, back = leads[query, key], leads[key, query]
    n, hits = int((forth | back).sum()), int(forth.sum())
    null = np.full(permutations, np.nan)
    for d, relabel in enumerate(pairs.permutations(permutations, seed)):
        x, y = relabel[query], relabel[key]
        inside = pairs.eligible[x, y]
        one, other = leads[x, y] & inside, leads[y, x] & inside
        total = np.count_nonzero(one) + np.count_nonzero(other)
        if total:
            null[d] = np.count_nonzero(one) / total
    known = null[~np.isnan(null)]
    share = hits / n if n else float("nan")
    mean = float(known.mean()) if len(known) else float("nan")
    low, high = statistics.null_range(null)
    at = forth | back
    interval = statistics.pair_rate_interval(
        query[at], key[at], forth[at].astype(np.float64), len(pairs)
    )
    return {
        "n_pairs": len(query), "n_one_way": n, "n_query_to_key": hits, "share": share,
        "low": interval[0], "high": interval[1],
        "null_mean": mean, "null_low": low, "null_high": high,
        "p": statistics.permutation_p(abs(share - mean), np.abs(known - mean)),
        "n_permutations": len(known),
    }  # fmt: skip
