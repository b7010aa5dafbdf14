"""How well scores of pairs tell those with an edge from those without."""

from __future__ import annotations

import numpy as np

from octoscope.analysis.vertex_pairs import VertexPairs


def edges_against_others(
    scores: np.ndarray, edges: np.ndarray, pairs: VertexPairs
) -> dict[str, float | int]:
    """Return how well scores tell eligible pairs with an edge from those without.

    Parameters
    ----------
    scores
        [vertices, vertices] float32, symmetric, NaN where a pair has no score.

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
