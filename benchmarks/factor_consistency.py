"""Layers that are products of factors against each other: top pairs, ranks, agreement.

What the peer's ``compare_layer_attention_consistency`` answers, without holding a matrix. The
estimator ``mean_residual`` gives such layers: the logits of the attention of a mean cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy
from factor_readings import top_pairs, values_and_ranks
from octoscope.attention.low_rank import Factors
from octoscope.attention.map_threads import map_blocks
from octoscope.attention.topk import TopPairs
from octoscope.config.types import Conventions


@dataclass(frozen=True)
class Consistency:
    """Layers of one model compared over the union of their top pairs.

    Attributes
    ----------
    top
        Layer -> its top pairs.
    union
        query, key (gene positions), value_<layer>, rank_<layer>; ordered by (query, key).
    spearman
        [layers, layers] correlation of values over the union.
    agreement
        query_layer, eval_layer, n_pairs, and the mean, median, min and max quantile
        (rank / number of ranked pairs; small is strong) that the query layer's strongest pairs
        have in the evaluated layer.
    n_ranked
        Number of pairs among which ranks are counted.
    """

    top: dict[int, TopPairs]
    union: pd.DataFrame
    spearman: pd.DataFrame
    agreement: pd.DataFrame
    n_ranked: int


def compare_factors(
    layers: Mapping[int, Factors],
    top_k: int,
    *,
    by_absolute_value: bool = False,
    conventions: Conventions = "corrected",
) -> Consistency:
    """Compare layers given as products.

    Parameters
    ----------
    layers
        Layer -> factors over the same genes; each is asked for twice, so a mapping may make
        them on demand instead of holding all.
    top_k
        Pairs per layer, all ties at the last kept; self pairs are left out.
    by_absolute_value
        Order and rank by |value|.
    conventions
        ``corrected``: ranks among ordered pairs of different genes, the query set is the top
        pairs. ``peer`` (napistu-torch 0.4.0): ranks among all genes^2 values, the query set is
        every union pair of rank <= K, which self pairs can make smaller.

    Raises
    ------
    ValueError
        If layers differ in their number of genes.
    """
    sizes, top = set(), {}
    for name in layers:
        factors = layers[name]
        sizes.add(len(factors.q))
        top[name] = top_pairs(factors, top_k, by_absolute_value=by_absolute_value)
    if len(sizes) != 1:
        raise ValueError(f"layers have different numbers of genes: {sorted(sizes)}")
    n, peer = sizes.pop(), conventions == "peer"
    n_ranked = n * n if peer else n * (n - 1)
    codes = {name: t.query.astype(np.int64) * n + t.key for name, t in top.items()}
    every = np.unique(np.concatenate(list(codes.values())))
    query, key = np.divmod(every, n)
    values, ranks = {}, {}
    for name in layers:
        values[name], ranks[name] = values_and_ranks(
            layers[name], query, key, by_absolute_value=by_absolute_value, keep_self=peer
        )
    union = {"query": query.astype(np.int32), "key": key.astype(np.int32)}
    union |= {f"value_{name}": v for name, v in values.items()}
    union |= {f"rank_{name}": r for name, r in ranks.items()}
    ranked = np.stack(list(map_blocks(scipy.stats.rankdata, list(values.values()))))

    def compared(a: int) -> list[dict[str, float]]:
        chosen = np.flatnonzero(ranks[a] <= top_k if peer else np.isin(every, codes[a]))
        return [
            {"query_layer": a, "eval_layer": b, **_agreement(ranks[b][chosen], n_ranked)}
            for b in layers
            if a != b
        ]

    rows = [row for part in map_blocks(compared, list(layers)) for row in part]
    return Consistency(
        top,
        pd.DataFrame(union),
        pd.DataFrame(np.corrcoef(ranked), index=list(layers), columns=list(layers)),
        pd.DataFrame(rows),
        n_ranked,
    )


def _agreement(ranks: np.ndarray, n_ranked: int) -> dict[str, float]:
    q = ranks / n_ranked
    if not len(q):
        return {"n_pairs": 0}
    return {
        "n_pairs": len(q),
        "mean_quantile": float(q.mean()),
        "median_quantile": float(np.median(q)),
        "min_quantile": float(q.min()),
        "max_quantile": float(q.max()),
    }
