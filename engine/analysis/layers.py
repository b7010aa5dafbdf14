"""Phase 2: layers of one model against each other over the union of their top pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import scipy

from engine.analysis import statistics
from engine.analysis.matrix import PairMatrix
from engine.attention.ranks import values_and_ranks

_ROWS = 1024  # of a block whose values are counted together


def union_of(topk: list[pd.DataFrame]) -> tuple[np.ndarray, np.ndarray]:
    """Return (query, key) of every pair in any table, ordered by (query, key)."""
    pairs = pd.concat([t[["query", "key"]] for t in topk]).drop_duplicates()
    pairs = pairs.sort_values(["query", "key"])
    return pairs["query"].to_numpy(np.int64), pairs["key"].to_numpy(np.int64)


def compare_layers(
    matrices: Mapping[int, PairMatrix],
    genes: np.ndarray,
    view: str,
    topk: dict[int, pd.DataFrame],
    *,
    permutations: int,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read every union pair in every layer; Spearman correlation of every two layers over them.

    The null permutes gene labels of the second layer (rows and columns together, QAP): the
    union pairs of the first are then read at permuted places in the second. The interval deletes
    one gene at a time (ranks held fixed). Each layer is read once.

    Parameters
    ----------
    matrices
        Layer -> matrix.
    genes
        [genes] ascending axis indices of the gene set.
    topk
        Layer -> its top pairs (axis indices).

    Returns
    -------
    union
        query, key (axis indices), value_<layer> (null where not eligible), rank_<layer>: exact,
        among all eligible pairs of the layer (0 where not eligible).
    compared
        layer_a, layer_b, n_pairs, spearman, low, high, null_low, null_high, p, n_eligible (ranked
        pairs of layer b).
    """
    layers = list(matrices)
    pairs = union_of(list(topk.values()))
    union = dict(zip(("query", "key"), (x.astype(np.int32) for x in pairs), strict=True))
    query, key = (np.searchsorted(genes, x) for x in pairs)
    rng = np.random.default_rng(seed)
    relabel = [rng.permutation(len(genes)) for _ in range(permutations)]
    rows = []
    for j, b in enumerate(layers):
        dense, eligible = _dense(matrices[b], genes, view)
        y, ranks, n_eligible = values_and_ranks(partial(_blocks, dense, eligible), query, key)
        union |= {f"value_{b}": y, f"rank_{b}": ranks}
        # layers mostly have the same eligible pairs: these share the reading of permuted places
        alike: dict[bytes, list[int]] = {}
        for a in layers[:j]:
            use = ~(np.isnan(union[f"value_{a}"]) | np.isnan(y))
            alike.setdefault(use.tobytes(), []).append(a)
        nulls = {b: np.full(permutations, np.nan)}
        for mask, together in alike.items():
            use = np.frombuffer(mask, bool)
            values = {a: union[f"value_{a}"][use] for a in together}
            nulls |= _null(values, query[use], key[use], relabel, dense, eligible)
        del dense, eligible  # before the next layer is read
        for a in layers[: j + 1]:
            x, null = union[f"value_{a}"], nulls[a]
            use = ~(np.isnan(x) | np.isnan(y))
            r, low, high = _spearman(x[use], y[use], query[use], key[use], len(genes))
            null_low, null_high = statistics.null_range(null)
            rows.append(
                {
                    "layer_a": a,
                    "layer_b": b,
                    "n_pairs": int(use.sum()),
                    "spearman": r,
                    "low": low,
                    "high": high,
                    "null_low": null_low,
                    "null_high": null_high,
                    "p": statistics.permutation_p(r, null) if a != b else float("nan"),
                    "n_eligible": n_eligible,
                }
            )
    return pd.DataFrame(union), pd.DataFrame(rows)


def _null(
    values: Mapping[int, np.ndarray],
    query: np.ndarray,
    key: np.ndarray,
    relabel: Sequence[np.ndarray],
    dense: np.ndarray,
    eligible: np.ndarray,
) -> dict[int, np.ndarray]:
    """Return, per layer, [draws] Spearman with another layer at permuted places.

    Parameters
    ----------
    values
        Layer -> [pairs].
    dense, eligible
        [genes, genes] of the other layer.
    """
    ranked = {a: scipy.stats.rankdata(x) for a, x in values.items()}
    nulls = {a: np.full(len(relabel), np.nan) for a in values}
    for n, p in enumerate(relabel if len(query) > 2 else []):
        q, k = p[query], p[key]
        ok = eligible[q, k]
        there = scipy.stats.rankdata(dense[q, k][ok])
        for a, x in ranked.items():
            nulls[a][n] = _pearson(x[ok], there)
    return nulls


def _dense(matrix: PairMatrix, genes: np.ndarray, view: str) -> tuple[np.ndarray, np.ndarray]:
    """Hold one view of one matrix [genes, genes]; a pair of a gene with itself is not eligible."""
    dense = np.zeros((len(genes), len(genes)), np.float32)
    eligible = np.zeros(dense.shape, bool)
    for first, values, ok in matrix.values(genes, view):
        dense[first : first + len(values)] = values
        eligible[first : first + len(values)] = ok
    np.fill_diagonal(eligible, False)
    return dense, eligible


def _blocks(
    dense: np.ndarray, eligible: np.ndarray
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    for first in range(0, len(dense), _ROWS):
        yield first, dense[first : first + _ROWS], eligible[first : first + _ROWS]


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    if len(x) < 3:
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    return float((x @ y) / scale) if scale > 0 else float("nan")


def _spearman(
    x: np.ndarray, y: np.ndarray, query: np.ndarray, key: np.ndarray, n_genes: int
) -> tuple[float, float, float]:
    if len(x) < 3:
        return float("nan"), float("nan"), float("nan")
    return statistics.pair_correlation(
        scipy.stats.rankdata(x), scipy.stats.rankdata(y), query, key, n_genes
    )
