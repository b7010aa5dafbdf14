"""How the embeddings of the relations of a head lie to each other, with a permutation null."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from octoscope.errors import InputError
from octoscope.gnn.gnn_checkpoint import Checkpoint


def relation_geometry(
    checkpoint: Checkpoint, permutations: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """Compare the embeddings of every two relations.

    The similarity is the cosine. Of RotatE it is the mean over columns of cos(phase difference),
    the real part of the mean of ``e^(i(a - b))``, which a full turn does not change. The null
    permutes the columns of one of the two: it keeps both sets of values and breaks which column
    stands beside which.

    Returns
    -------
    DataFrame
        A row per unordered pair of relations: ``relation_a, relation_b, similarity, angle``
        (degrees, of the similarity), ``mean_turn`` (degrees, RotatE only: direction of the mean of
        ``e^(i(a - b))``), ``null_low, null_high`` (2.5 and 97.5 % of the null), ``p`` (two-sided,
        (1 + draws at least as far from the null's mean) / (1 + draws)), ``q`` (Benjamini-Hochberg
        over the pairs), ``n`` (columns), ``permutations``. Null where an embedding is zero.

    Raises
    ------
    InputError
        If the head has no relations, or only one that counts.
    """
    head = checkpoint.head
    if not head.n_relations:
        raise InputError(str(checkpoint.path), f"its head {head.kind} knows no relations",
                         "give a checkpoint with a relation head")  # fmt: skip
    table = head.weights[head.relation_key].numpy().astype(np.float64)
    used = np.arange(len(table))
    if "is_symmetric" in head.weights:  # rows of symmetric relations are never read
        used = np.flatnonzero(~head.weights["is_symmetric"].bool().numpy())
    if len(used) < 2:
        raise InputError(str(checkpoint.path), f"has {len(used)} relation embedding that is used",
                         "give a checkpoint with at least two")  # fmt: skip
    angular = head.kind in ("rotate", "conditional_rotate")
    pairs = list(itertools.combinations(used.tolist(), 2))
    a, b = (table[[p[i] for p in pairs]] for i in (0, 1))
    seen = _similarity(a, b, angular)
    rng = np.random.Generator(np.random.PCG64(seed))
    null = np.empty((permutations, len(pairs)))
    for i in range(permutations):
        null[i] = _similarity(a, b[:, rng.permutation(table.shape[1])], angular)
    center = null.mean(0)
    far = (np.abs(null - center) >= np.abs(seen - center) - 1e-12).sum(0)
    p = np.where(np.isnan(seen), np.nan, (1 + far) / (1 + permutations))
    low, high = np.quantile(null, [0.025, 0.975], axis=0)
    turn = (
        np.degrees(np.angle(np.exp(1j * (a - b)).mean(1))) if angular else np.full(len(a), np.nan)
    )
    names = np.array(checkpoint.relations, object)
    return pd.DataFrame(
        {
            "relation_a": names[[p[0] for p in pairs]],
            "relation_b": names[[p[1] for p in pairs]],
            "similarity": seen,
            "angle": np.degrees(np.arccos(np.clip(seen, -1, 1))),
            "mean_turn": turn,
            "null_low": low,
            "null_high": high,
            "p": p,
            "q": _adjusted(p),
            "n": table.shape[1],
            "permutations": permutations,
        }
    )


def _similarity(a: np.ndarray, b: np.ndarray, angular: bool) -> np.ndarray:
    """Return [pairs] similarities of [pairs, columns] rows."""
    if angular:
        return np.cos(a - b).mean(1)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    product = (a * b).sum(1)
    return np.divide(product, norms, out=np.full(len(a), np.nan), where=norms > 0)


def _adjusted(p: np.ndarray) -> np.ndarray:
    out = np.full(len(p), np.nan)
    known = ~np.isnan(p)
    if known.any():
        out[known] = false_discovery_control(p[known])
    return out
