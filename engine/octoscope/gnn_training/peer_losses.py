"""Losses as napistu-torch 0.4.0 has them."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional


def peer_weights(relation: np.ndarray, relations: int, power: float) -> torch.Tensor:
    """Return [relations] float32: 1 / count to a power, 1 on average over relations.

    Parameters
    ----------
    relation
        [edges] int64 of all training edges.
    relations
        Number of relations; those without an edge get weight 0.
    """
    count = np.bincount(relation, minlength=max(relations, 1)).astype(float)
    weight = np.where(count > 0, np.maximum(count, 1) ** -power, 0.0)
    return torch.from_numpy((weight * ((count > 0).sum() / weight.sum())).astype(np.float32))


def peer_loss(
    raw: torch.Tensor, of: torch.Tensor, weight: torch.Tensor | None, margin: float | None
) -> torch.Tensor:
    """Return the loss of edges and their negatives.

    Without a margin it is the mean binary cross-entropy of edges and that of negatives, added. With
    one it is the mean of ``relu(margin + s_neg - s_pos)``, each edge with the negative of its rank
    by weight: scores are distances below 0, not shares of the largest.

    Parameters
    ----------
    raw
        [positives + negatives] scores, positives first.
    of
        [negatives] int64 positive of each negative.
    weight
        [positives + negatives] float32, or None for ones.
    margin
        None for heads that are no distances.
    """
    positives = len(raw) - len(of)
    good, bad = raw[:positives][of], raw[positives:]
    if margin is None:
        truth = (torch.arange(len(raw)) < positives).to(raw)
        each = functional.binary_cross_entropy_with_logits(raw, truth, weight, reduction="none")
        return each[:positives].mean() + each[positives:].mean()
    if weight is None:
        return functional.relu(margin - good + bad).mean()
    of_good, of_bad = weight[:positives][of], weight[positives:]
    first, second = (torch.argsort(w, descending=True) for w in (of_good, of_bad))
    each = functional.relu(margin - good[first] + bad[second])
    return (each * of_good[first] * of_bad[second]).mean()
