"""Do the strongest pairs of a matrix score higher than pairs of vertices that are like them?

The same statistic is compared: the median over listed pairs against the median over the pairs that
a permuted list holds. Vertices are permuted among those of like degree, like number of eligible
partners and as many genes (:class:`octoscope.analysis.vertex_pairs.VertexPairs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from octoscope.analysis import statistics
from octoscope.analysis.vertex_pairs import VertexPairs

_BOOTSTRAPS = 200
ALL = "all pairs"


def median_test(
    u: np.ndarray,
    v: np.ndarray,
    pairs: VertexPairs,
    scores: np.ndarray,
    parts: Mapping[str, np.ndarray],
    *,
    permutations: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Compare the median score of listed pairs with permuted lists, in each part of the pairs.

    Parameters
    ----------
    u, v
        [pairs] positions of the vertices of distinct unordered pairs.
    scores
        [vertices, vertices] float32, symmetric, NaN where a pair has no score.
    parts
        Name -> [vertices, vertices] bool: pairs that belong to it.

    Returns
    -------
    list
        Per part: ``part``, ``n_listed``, ``n_pairs`` (those with a score), ``median`` with the
        interval ``low``, ``high`` (vertices drawn with replacement), quartiles, ``n_background``
        and ``background_median`` over all eligible pairs of the part, ``difference`` of the two
        medians, mean and range of the null, one-sided ``p`` of large medians, ``n_permutations``.
    """
    names = list(parts)
    null = _null(u, v, pairs, scores, [parts[n] for n in names], permutations, seed)
    weights = _vertex_weights(len(pairs), seed)
    upper = np.triu(pairs.eligible, 1)
    rows = []
    for i, name in enumerate(names):
        inside = parts[name][u, v]
        values = scores[u[inside], v[inside]]
        known = ~np.isnan(values)
        values = values[known].astype(np.float64)
        of_all = scores[upper & parts[name]]
        background = of_all[~np.isnan(of_all)].astype(np.float64)
        median = _median(values)
        low, high = _interval(values, u[inside][known], v[inside][known], weights)
        quarters = np.quantile(values, [0.25, 0.75]) if len(values) else (np.nan, np.nan)
        null_low, null_high = statistics.null_range(null[:, i])
        drawn = null[~np.isnan(null[:, i]), i]
        rows.append({
            "part": name, "n_listed": int(inside.sum()), "n_pairs": len(values),
            "median": median, "low": low, "high": high,
            "lower_quartile": float(quarters[0]), "upper_quartile": float(quarters[1]),
            "n_background": len(background), "background_median": _median(background),
            "difference": median - _median(background),
            "null_mean": float(drawn.mean()) if len(drawn) else float("nan"),
            "null_low": null_low, "null_high": null_high,
            "p": statistics.permutation_p(median, null[:, i]), "n_permutations": len(drawn),
        })  # fmt: skip
    return rows


def edges_against_others(
    scores: np.ndarray, edges: np.ndarray, pairs: VertexPairs
) -> dict[str, float | int]:
    """Return how well scores tell eligible pairs with an edge from those without.

    Returns
    -------
    dict
        Numbers and medians of both, and ``auc``, the chance that a pair with an edge scores higher
        than one without (ties count half). No interval: all eligible pairs are counted.
    """
    upper = np.triu(pairs.eligible, 1) & ~np.isnan(scores)
    inside, outside = scores[upper & edges], scores[upper & ~edges]
    return {
        "n_edges": len(inside), "n_others": len(outside),
        "median_edges": _median(inside), "median_others": _median(outside),
        "auc": _area(inside, outside),
    }  # fmt: skip


def _area(inside: np.ndarray, outside: np.ndarray) -> float:
    if not len(inside) or not len(outside):
        return float("nan")
    ordered = np.sort(outside)
    below = np.searchsorted(ordered, inside, "left") + np.searchsorted(ordered, inside, "right")
    return float(below.mean() / (2 * len(outside)))


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _null(
    u: np.ndarray,
    v: np.ndarray,
    pairs: VertexPairs,
    scores: np.ndarray,
    parts: list[np.ndarray],
    permutations: int,
    seed: int,
) -> np.ndarray:
    """Return [permutations, parts] medians of permuted lists; NaN where a part has no pair."""
    out = np.full((permutations, len(parts)), np.nan)
    for d, relabel in enumerate(pairs.permutations(permutations, seed)):
        x, y = relabel[u], relabel[v]
        values = scores[x, y].astype(np.float64)  # the mean of two middle values rounds alike
        usable = pairs.eligible[x, y] & ~np.isnan(values)
        for i, part in enumerate(parts):
            taken = values[usable & part[x, y]]
            if len(taken):
                out[d, i] = np.median(taken)
    return out


def _vertex_weights(n: int, seed: int) -> np.ndarray:
    """Return [draws, vertices] times that each vertex is drawn, n with replacement."""
    rng = np.random.default_rng([seed, 1])
    return rng.multinomial(n, np.full(n, 1 / max(n, 1)), _BOOTSTRAPS) if n else np.zeros((0, 0))


def _interval(
    values: np.ndarray, u: np.ndarray, v: np.ndarray, weights: np.ndarray
) -> tuple[float, float]:
    """Return the 95 % range of weighted medians; a pair weighs the product of its two vertices.

    This bootstrap draws vertices, so pairs that share one move together (Owen 2007, "The pigeonhole
    bootstrap"); it is wider than one that draws pairs.
    """
    if len(values) < 2:
        return float("nan"), float("nan")
    order = np.argsort(values)
    ranked, u, v = values[order], u[order], v[order]
    found = list(map(partial(_weighted_median, ranked), weights[:, u] * weights[:, v]))
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)


def _weighted_median(ranked: np.ndarray, weight: np.ndarray) -> float:
    total = np.cumsum(weight)
    if not total[-1]:
        return float("nan")
    return float(ranked[np.searchsorted(total, total[-1] / 2)])
