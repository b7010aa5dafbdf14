"""Comparisons of the layers of one model over the union of their top pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import scipy

from octoscope.analysis import statistics
from octoscope.analysis.matrix import PairMatrix
from octoscope.analysis.partner_strata import PartnerStrata
from octoscope.attention.ranks import values_and_ranks
from octoscope.jit import compiled

_ROWS = 1024  # of a block whose values are counted together
TESTED = 1000  # strongest pairs of a layer that the null reads at permuted places
MAX_NULL_BYTES = 256 * 1024**2  # bytes of values at permuted places that more permutations may take


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
    max_permutation_factor: int = 1,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read every union pair in every layer; Spearman correlation of every two layers over them.

    Each layer is read once. The interval deletes one gene at a time (ranks held fixed).

    Both layers chose the pairs. This alone makes unrelated layers anticorrelated: a pair that is
    strong in one is mostly weak in the other. So the null repeats the choice: it permutes the gene
    labels of the second layer (rows and columns together, QAP; among genes with a like number of
    eligible partners), moves its top pairs with them and makes the union again. The test is of the
    correlation over the union of the 1,000 strongest pairs of the two layers; neither of them chose
    the pairs that a third layer adds.

    Parameters
    ----------
    matrices
        Layer -> matrix.
    genes
        [genes] ascending axis indices of the gene set.
    topk
        Layer -> its top pairs (axis indices) with their ranks.
    max_permutation_factor
        Factor by which permutations increase where none reaches the correlation; less if they would
        take more than :data:`MAX_NULL_BYTES`, since every layer is read once.

    Returns
    -------
    union
        query, key (axis indices), value_<layer> (null where not eligible), rank_<layer>: exact,
        among all eligible pairs of the layer (null where not eligible).
    compared
        layer_a, layer_b, n_pairs, spearman, low, high, n_tested, tested_spearman, null_low,
        null_high, p (of tested_spearman), n_permutations, n_eligible (ranked pairs of layer b).
    """
    layers = list(matrices)
    pairs = union_of(list(topk.values()))
    union: dict[str, Any] = {
        end: x.astype(np.int32) for end, x in zip(("query", "key"), pairs, strict=True)
    }
    query, key = (np.searchsorted(genes, x) for x in pairs)
    tops = [t[t["rank"] <= TESTED] for t in topk.values()]
    test = _Test(genes, tops, permutations, max_permutation_factor, seed)
    n_eligible = {}
    for name, matrix in matrices.items():
        dense, eligible = _dense(matrix, genes, view)
        values, ranks, n_eligible[name] = values_and_ranks(
            partial(_blocks, dense, eligible), query, key
        )
        union |= {
            f"value_{name}": values,
            f"rank_{name}": pd.arrays.IntegerArray(ranks, ranks == 0),
        }
        test.read(dense, eligible)
        del dense, eligible  # before the next layer is read
    rows = []
    for j, b in enumerate(layers):
        for i, a in enumerate(layers[: j + 1]):
            x, y = union[f"value_{a}"], union[f"value_{b}"]
            use = ~(np.isnan(x) | np.isnan(y))
            r, low, high = _spearman(x[use], y[use], query[use], key[use], len(genes))
            n_tested, own = test.observed(i, j)
            null = test.null(i, j, own) if i < j else np.zeros(0)  # a layer has none with itself
            null_low, null_high = statistics.null_range(null)
            rows.append(
                {
                    "layer_a": a,
                    "layer_b": b,
                    "n_pairs": int(use.sum()),
                    "spearman": r,
                    "low": low,
                    "high": high,
                    "n_tested": n_tested,
                    "tested_spearman": own,
                    "null_low": null_low,
                    "null_high": null_high,
                    "p": statistics.permutation_p(own, null),
                    "n_permutations": statistics.n_permutations_of(null),
                    "n_eligible": n_eligible[b],
                }
            )
    return pd.DataFrame(union), pd.DataFrame(rows)


class _Test:
    """Correlation of two layers under permuted labels, over the strongest pairs of either.

    Parameters
    ----------
    genes
        [genes] ascending axis indices.
    tops
        The strongest pairs of each layer.
    permutations, more
        Permutations, and the factor by which they increase where none reaches the observed value.
    """

    def __init__(
        self, genes: np.ndarray, tops: list[pd.DataFrame], permutations: int, more: int, seed: int
    ) -> None:
        n = self._n = len(genes)
        positions = [[np.searchsorted(genes, t[side]) for side in ("query", "key")] for t in tops]
        codes = [query.astype(np.int64) * n + key for query, key in positions]
        self._codes = np.unique(np.concatenate(codes))
        self._among = np.stack([np.isin(self._codes, c) for c in codes])  # [layers, pairs]
        self._first = permutations
        bytes_of_all = null_bytes(permutations, len(self._codes), len(tops), n)
        more = (
            max(1, min(more, int(MAX_NULL_BYTES // max(bytes_of_all, 1)))) if len(tops) > 1 else 1
        )
        self._seed, self._n_permutations = seed, permutations * more
        self._to: list[np.ndarray] = []
        self._back: list[np.ndarray] = []
        # of each layer, values of the pairs; at the places that each permutation gives them, and
        # at those that its inverse does, where a relabelled layer's own strongest pairs come to lie
        self._values: list[np.ndarray] = []
        self._moved: list[np.ndarray] = []
        self._under: list[np.ndarray] = []

    def read(self, dense: np.ndarray, eligible: np.ndarray) -> None:
        """Read the values of the next layer, [genes, genes], that the test needs.

        Labels are permuted among genes with a like number of eligible partners in the first layer;
        a pair's cells, and so its eligibility, do not depend on the layer.
        """
        if not self._to:
            strata = PartnerStrata(np.count_nonzero(eligible, axis=1))
            rng = np.random.default_rng(self._seed)
            self._to = [
                strata.permutation(rng).astype(np.int32) for _ in range(self._n_permutations)
            ]
            self._back = [np.argsort(p).astype(np.int32) for p in self._to]

        def at(codes: np.ndarray) -> np.ndarray:
            return np.where(eligible.ravel()[codes], dense.ravel()[codes], np.float32(np.nan))

        self._values.append(at(self._codes))
        for collected, where in ((self._moved, self._to), (self._under, self._back)):
            out = np.empty((len(where), len(self._codes)), np.float32)
            for row, p in zip(out, where, strict=True):
                row[:] = at(self._permuted(p))
            collected.append(out)

    def _permuted(self, p: np.ndarray) -> np.ndarray:
        query, key = np.divmod(self._codes, self._n)
        return p[query].astype(np.int64) * self._n + p[key]

    def observed(self, a: int, b: int) -> tuple[int, float]:
        """Return the number of pairs in the lists of two layers, and their correlation there."""
        pairs = self._among[a] | self._among[b]
        return _correlated(self._values[a][pairs], self._values[b][pairs])

    def null(self, a: int, b: int, observed: float) -> np.ndarray:
        """Return [permutations] correlations of layer ``a`` with layer ``b`` relabelled."""
        remaining, more = iter(range(len(self._to))), len(self._to) // self._first
        its, own = (np.flatnonzero(self._among[layer]) for layer in (a, b))

        def permute(permutations: int, _: int) -> np.ndarray:
            return np.array(
                [
                    _under_permutation(
                        self._codes, its, own, self._back[n], self._n,
                        self._values[a], self._under[a][n], self._moved[b][n], self._values[b],
                    )
                    for n in islice(remaining, permutations)
                ]
            )  # fmt: skip

        return statistics.permute_until_reached(permute, observed, self._first, more, 0)


@compiled()
def _under_permutation(
    codes: np.ndarray,
    its: np.ndarray,
    own: np.ndarray,
    back: np.ndarray,
    n_genes: int,
    values_a: np.ndarray,
    under_a: np.ndarray,
    moved_b: np.ndarray,
    values_b: np.ndarray,
) -> float:
    """Return the Spearman correlation of layer a with layer b under one permutation of b's genes.

    Over a's strongest pairs and the places where b's come to lie, each once; NaN is left out.

    Parameters
    ----------
    codes
        [pairs] query * genes + key, ascending.
    its, own
        Positions in ``codes`` of a's, and of b's, strongest pairs, ascending.
    back
        [genes] where each gene comes to lie.
    values_a, values_b
        [pairs] values.
    under_a
        [pairs] values of a where b's pairs come to lie.
    moved_b
        [pairs] values of b that come to lie at the pairs.
    """
    x, y = np.empty(len(its) + len(own)), np.empty(len(its) + len(own))
    n = 0
    for t in its:
        if not (np.isnan(values_a[t]) or np.isnan(moved_b[t])):
            x[n], y[n] = values_a[t], moved_b[t]
            n += 1
    theirs = codes[its]
    for t in own:
        here = np.int64(back[codes[t] // n_genes]) * n_genes + back[codes[t] % n_genes]
        at = np.searchsorted(theirs, here)
        listed = at < len(theirs) and theirs[at] == here
        if not (listed or np.isnan(under_a[t]) or np.isnan(values_b[t])):
            x[n], y[n] = under_a[t], values_b[t]
            n += 1
    a, b = _ranks(x[:n]), _ranks(y[:n])
    xx = yy = xy = 0.0
    for i in range(n):
        xx += a[i] * a[i]
        yy += b[i] * b[i]
        xy += a[i] * b[i]
    return xy / np.sqrt(xx * yy) if n > 2 and xx > 0 and yy > 0 else np.nan


@compiled()
def _ranks(values: np.ndarray) -> np.ndarray:
    """Return [values] ranks less their mean; equal values share theirs."""
    order, n = np.argsort(values), len(values)
    ranks, first = np.empty(n), 0
    while first < n:
        stop = first + 1
        while stop < n and values[order[stop]] == values[order[first]]:
            stop += 1
        for i in range(first, stop):
            ranks[order[i]] = (first + stop - n) / 2
        first = stop
    return ranks


def null_bytes(permutations: int, pairs: float, layers: int, n_genes: int) -> float:
    """Return the bytes of permutations, their inverses, and values at the places that they give."""
    return 2.0 * permutations * 4 * (pairs * layers + n_genes)


def _correlated(x: np.ndarray, y: np.ndarray) -> tuple[int, float]:
    """Return how many pairs both know, and the Spearman correlation over these."""
    use = ~(np.isnan(x) | np.isnan(y))
    ranked = (scipy.stats.rankdata(v[use]) for v in (x, y))
    return int(use.sum()), statistics.plain_correlation(*ranked)


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


def _spearman(
    x: np.ndarray, y: np.ndarray, query: np.ndarray, key: np.ndarray, n_genes: int
) -> tuple[float, float, float]:
    if len(x) < 3:
        return float("nan"), float("nan"), float("nan")
    return statistics.pair_correlation(
        scipy.stats.rankdata(x), scipy.stats.rankdata(y), query, key, n_genes
    )
