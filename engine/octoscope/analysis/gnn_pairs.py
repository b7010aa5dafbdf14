"""How well scores of pairs tell those with an edge from those without."""

from __future__ import annotations

import numpy as np


def edges_against_others(
    scores: np.ndarray, edges: np.ndarray, eligible: np.ndarray
) -> dict[str, float | int]:
    """Return how well scores tell eligible pairs with an edge from those without.

    Parameters
    ----------
    scores
        [pairs] float32, NaN where a pair has no score.
    edges, eligible
        [pairs] bool: an edge joins the two; some list could hold the pair.

    Returns
    -------
    dict
        Numbers and medians of both, and ``auc``, the chance that a pair with an edge scores higher
        than one without (ties count half). No interval: all eligible pairs are counted.
    """
    known = eligible & ~np.isnan(scores)
    inside, outside = scores[known & edges], scores[known & ~edges]
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
