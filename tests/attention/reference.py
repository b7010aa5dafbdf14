"""The reduction written out: slow, obvious, float64. Every fast path is tested against it."""

from __future__ import annotations

import numpy as np
from octoscope.attention.query_key_batch import Heads


def softmax_rows(logits: np.ndarray) -> np.ndarray:
    """Return softmax over the last axis."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def cell_attention(
    q: np.ndarray, k: np.ndarray, scale: float, mask: np.ndarray, heads: Heads = "mean"
) -> tuple[np.ndarray, np.ndarray]:
    """Return (probability, logit) of one cell, heads reduced.

    Parameters
    ----------
    q, k
        [heads, tokens, d_head].
    mask
        [tokens] bool; other keys get probability 0.
    heads
        ``mean``, ``max`` (of each value over heads) or one head's index.

    Returns
    -------
    tuple of ndarray
        Two arrays [tokens, tokens], query by key.
    """
    logits = scale * q.astype(np.float64) @ k.astype(np.float64).transpose(0, 2, 1)
    masked = np.where(mask, logits, -np.inf)
    probability = softmax_rows(masked)
    if heads == "mean":
        return probability.mean(0), logits.mean(0)
    if heads == "max":
        return probability.max(0), logits.max(0)
    return probability[heads], logits[heads]


def sums(
    q: np.ndarray,
    k: np.ndarray,
    scale: float,
    mask: np.ndarray,
    panel_gene: np.ndarray,
    n_genes: int,
    heads: Heads = "mean",
) -> dict[str, np.ndarray]:
    """Sum over cells what :mod:`octoscope.attention.accumulate` sums.

    Parameters
    ----------
    q, k
        [cells, heads, tokens, d_head].
    mask
        [cells, tokens] bool.
    panel_gene
        [cells, tokens] index of the token's gene in the panel, -1 for all other tokens.

    Returns
    -------
    dict
        ``probability``, ``lift``, ``logit`` [genes, genes] and ``pairs`` [genes, genes] int64.
    """
    out = {name: np.zeros((n_genes, n_genes)) for name in ("probability", "lift", "logit")}
    pairs = np.zeros((n_genes, n_genes), np.int64)
    for c in range(len(q)):
        probability, logit = cell_attention(q[c], k[c], scale, mask[c], heads)
        at = np.flatnonzero(mask[c] & (panel_gene[c] >= 0))
        genes = panel_gene[c][at]
        here, inside = np.ix_(genes, genes), np.ix_(at, at)
        out["probability"][here] += probability[inside]
        out["lift"][here] += mask[c].sum() * probability[inside]
        out["logit"][here] += logit[inside]
        pairs[here] += 1
    return {**out, "pairs": pairs}


def top_k(values: np.ndarray, eligible: np.ndarray, k: int) -> list[tuple[int, int]]:
    """Return the K largest eligible off-diagonal pairs with all ties, by (-value, i, j)."""
    n = len(values)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j and eligible[i, j]]
    pairs.sort(key=lambda p: (-values[p], *p))
    if len(pairs) <= k:
        return pairs
    last = values[pairs[k - 1]]
    return [p for p in pairs if values[p] >= last]
