"""Layers given as products against each other, by both conventions, against brute force."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from octoscope.attention.low_rank import Factors
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from factor_consistency import compare_factors

N, K = 40, 60


def layers(seed: int = 0, shared: float = 1.0) -> dict[int, Factors]:
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((2, N, 6))
    factors = {}
    for i in (0, 2, 5):
        q, k = common * shared + rng.standard_normal((2, N, 6))
        factors[i] = Factors(q.astype(np.float32), k.astype(np.float32))
    return factors


@pytest.mark.parametrize("conventions", ["corrected", "peer"])
@pytest.mark.parametrize("absolute", [False, True])
def test_equals_brute_force(conventions: str, absolute: bool) -> None:
    factors = layers()
    consistency = compare_factors(factors, K, by_absolute_value=absolute, conventions=conventions)  # type: ignore[arg-type]
    off = ~np.eye(N, dtype=bool)
    peer = conventions == "peer"
    ranks, tops, values = {}, {}, {}
    for i, f in factors.items():
        matrix = f.q @ f.k.T
        size = np.abs(matrix) if absolute else matrix
        pool = np.sort(size.ravel() if peer else size[off])
        ranks[i] = 1 + len(pool) - np.searchsorted(pool, size, side="right")
        kth = np.sort(size[off])[-K]
        tops[i], values[i] = off & (size >= kth), matrix
    union = np.logical_or.reduce(list(tops.values()))
    query, key = np.nonzero(union)
    assert consistency.n_ranked == (N * N if peer else N * (N - 1))
    assert (consistency.union["query"] == query).all()
    assert (consistency.union["key"] == key).all()
    for i in factors:
        assert np.abs(consistency.union[f"value_{i}"] - values[i][union]).max() < 1e-5
        assert (consistency.union[f"rank_{i}"] == ranks[i][union]).all()
    rows = consistency.agreement.set_index(["query_layer", "eval_layer"])
    assert len(rows) == 6
    for a, b in rows.index:
        chosen = (union & (ranks[a] <= K)) if peer else tops[a]
        quantiles = ranks[b][chosen] / consistency.n_ranked
        row = rows.loc[(a, b)]
        assert row["n_pairs"] == chosen.sum()
        expected = [quantiles.mean(), np.median(quantiles), quantiles.min(), quantiles.max()]
        statistics = row[["mean_quantile", "median_quantile", "min_quantile", "max_quantile"]]
        assert np.allclose(statistics.to_numpy(float), expected, atol=1e-12)
        rho = spearmanr(values[a][union], values[b][union]).statistic
        assert abs(consistency.spearman.loc[a, b] - rho) < 1e-5


def test_shared_structure_agrees_and_independent_layers_do_not() -> None:
    alike, apart = (
        compare_factors(layers(1, shared), K).agreement["median_quantile"].mean()
        for shared in (4.0, 0.0)
    )
    assert alike < 0.05
    assert 0.35 < apart < 0.65


def test_layers_of_other_genes_are_refused() -> None:
    factors = layers()
    short = Factors(factors[2].q[:10], factors[2].k[:10])
    with pytest.raises(ValueError, match=r"\[10, 40\]"):
        compare_factors({0: factors[0], 1: short}, K)
