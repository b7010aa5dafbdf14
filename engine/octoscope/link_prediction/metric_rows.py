"""Rows of the table of metrics: each scorer, group and metric with intervals and gains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from octoscope.link_prediction.link_metrics import (
    Estimate,
    auc,
    average_precision,
    interval,
    mean_of,
    ranks,
    relation_weighted,
)
from octoscope.link_prediction.links import Links
from octoscope.link_prediction.negatives import Negatives, Positives, with_negatives
from octoscope.link_prediction.strata import strata

HITS = (1, 10, 50)
Scores = Mapping[str, np.ndarray]


def pair_rows(
    links: Links,
    positives: Positives,
    negatives: Negatives,
    floors: Scores,
    models: Scores,
    degree: np.ndarray,
) -> list[dict[str, Any]]:
    """Return rows of AUC and average precision, and of the AUC weighted by relation.

    Parameters
    ----------
    floors, models
        [positives + negatives] scores by name, positives first.
    degree
        [vertices] numbers of neighbours in training.
    """
    truth = np.arange(len(positives.src) + len(negatives.src)) < len(positives.src)
    src, dst, relation = with_negatives(positives, negatives)
    out = []
    for kind, name, mask in strata(links, positives, degree):
        rows = np.flatnonzero(np.concatenate([mask, mask[negatives.of]]))
        here = truth[rows]
        ends = src[rows], dst[rows]
        counts = {"n_positives": int(here.sum()), "n_negatives": int((~here).sum())}
        metrics: dict[str, dict[str, Estimate]] = {}
        for scorer, score in {**floors, **models}.items():
            estimates = {
                "auc": auc(score[rows], here),
                "average_precision": average_precision(score[rows], here),
            }
            if kind == "all" and len(links.graph.relations) > 1:
                estimates["relation_weighted_auc"] = relation_weighted(score, truth, relation)
            for metric, estimate in estimates.items():
                metrics.setdefault(metric, {})[scorer] = estimate
        about = {"negatives": negatives.how, "stratum": kind, "group": name}
        out += _rows(about, metrics, set(floors), ends, counts)
    return out


def ranking_rows(
    links: Links,
    positives: Positives,
    blank: np.ndarray,
    floors: Scores,
    models: Scores,
    degree: np.ndarray,
) -> list[dict[str, Any]]:
    """Return rows of mean reciprocal rank and hits.

    Parameters
    ----------
    blank
        [queries, candidates] bool: no candidate.
    floors, models
        [queries * (1 + candidates)] scores by name; of each query the edge first.
    """
    queries, candidates = blank.shape
    of_rank = {}
    for scorer, score in {**floors, **models}.items():
        table = score.reshape(queries, candidates + 1)
        of_rank[scorer] = ranks(table[:, 0], np.where(blank, np.nan, table[:, 1:]))
    out = []
    for kind, name, mask in strata(links, positives, degree):
        metrics: dict[str, dict[str, Estimate]] = {}
        for scorer, rank in of_rank.items():
            metrics.setdefault("mrr", {})[scorer] = mean_of(1 / rank[mask])
            for k in HITS:
                hit = (rank[mask] <= k).astype(float)
                metrics.setdefault(f"hits@{k}", {})[scorer] = mean_of(hit)
        counts = {"n_positives": int(mask.sum()), "n_negatives": int((~blank[mask]).sum())}
        ends = positives.src[mask], positives.dst[mask]
        about = {"negatives": "candidates", "stratum": kind, "group": name}
        out += _rows(about, metrics, set(floors), ends, counts)
    return out


def _rows(
    about: dict[str, str],
    metrics: Mapping[str, Mapping[str, Estimate]],
    floors: set[str],
    ends: tuple[np.ndarray, np.ndarray],
    counts: dict[str, int],
) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for metric, of in metrics.items():
        mine = {name: e for name, e in of.items() if name in floors and not np.isnan(e.value)}
        best = max(mine, key=lambda name: mine[name].value) if mine else None
        for scorer, estimate in of.items():
            low, high, vertices = interval(estimate, *ends)
            kind = "floor" if scorer in floors else "model"
            row = {**about, "scorer": scorer, "kind": kind, "metric": metric,
                   "value": estimate.value, "low": max(low, 0.0), "high": min(high, 1.0),
                   "best_floor": None, "gain": np.nan, "gain_low": np.nan,
                   "gain_high": np.nan}  # fmt: skip
            if kind == "model" and best is not None:
                gain = estimate - mine[best]
                lower, upper, _ = interval(gain, *ends)
                row |= {"best_floor": best, "gain": gain.value, "gain_low": lower,
                        "gain_high": upper}  # fmt: skip
            out.append(row | counts | {"n_vertices": vertices})
    return out
