"""Layers of one model against each other, beside what their definition gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy
from octoscope.analysis.layers import _Test, compare_layers
from octoscope.analysis.matrix import MatrixSource
from octoscope.analysis.summarise_matrix import finalise
from octoscope.attention.views import one_view

from tests.analysis.matrices import source

N = 40
FULL = np.full((2, N, N), 50, np.int32)


def layers_of(values: dict[int, np.ndarray]) -> dict[int, MatrixSource]:
    """Matrices whose halves are alike."""
    return {y: source(np.stack([v, v]), FULL) for y, v in values.items()}


def tops_of(sources: dict[int, MatrixSource], k: int) -> dict[int, pd.DataFrame]:
    top = {}
    for y, m in sources.items():
        done = finalise(m, {"all": np.arange(N)}, ["conditional"], top_k=k, permutations=1, seed=0)
        top[y] = done.topk[done.topk["part"] == "total"]
    return top


def compared(values: dict[int, np.ndarray], k: int, permutations: int) -> pd.DataFrame:
    sources = layers_of(values)
    _, table = compare_layers(
        sources, np.arange(N), "conditional", tops_of(sources, k),
        permutations=permutations, seed=1,
    )  # fmt: skip
    return table.set_index(["layer_a", "layer_b"])


def test_the_null_chooses_its_pairs_as_the_comparison_did() -> None:
    rng = np.random.default_rng(0)
    values = {y: rng.normal(size=(N, N)).astype(np.float32) for y in (0, 3, 5)}
    sources = layers_of(values)
    tops = tops_of(sources, 60)
    eligible = rng.random((N, N)) < 0.95
    np.fill_diagonal(eligible, False)
    for top in tops.values():  # a pair that is not eligible is in no list
        top.drop(top.index[~eligible[top["query"], top["key"]]], inplace=True)
    test = _Test(np.arange(N), list(tops.values()), 4, more=1, seed=7)
    for dense in values.values():
        test.read(dense, eligible)
    draws = np.random.default_rng(7)
    relabel = [draws.permutation(N) for _ in range(4)]

    def by_definition(a: int, b: int, p: np.ndarray) -> float:
        """Relabel layer b, list its strongest pairs anew, join both lists, read both layers."""
        layers, lists = list(values.values()), list(tops.values())
        other = layers[b][np.ix_(p, p)]
        allowed = eligible[np.ix_(p, p)]
        back = np.argsort(p)
        chosen = np.zeros((N, N), bool)
        for i in (a, b):
            q, k = lists[i]["query"].to_numpy(), lists[i]["key"].to_numpy()
            chosen[(back[q], back[k]) if i == b else (q, k)] = True
        use = chosen & eligible & allowed
        return float(scipy.stats.spearmanr(layers[a][use], other[use]).statistic)

    for b in (1, 2):
        for a in range(b):
            null = test.null(a, b, 0.0)
            assert null.shape == (4,)
            for n, p in enumerate(relabel):
                assert null[n] == pytest.approx(by_definition(a, b, p), abs=1e-12)
            assert test.observed(a, b)[1] == pytest.approx(by_definition(a, b, np.arange(N)))


def test_unrelated_layers_have_uniform_p_although_their_pairs_were_chosen() -> None:
    p, r = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        # hubs of its own in every layer; a third one lists the pairs of the second
        values = {y: rng.normal(size=(N, N)) + rng.normal(size=N) for y in (0, 1)}
        values[2] = values[1] + 0.01 * rng.normal(size=(N, N))
        row = compared(values, 60, 60).loc[(0, 1)]
        p.append(row["p"])
        r.append(row["tested_spearman"])
    assert np.mean(r) < -0.4  # what choosing alone does
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01
    assert np.mean(np.array(p) < 0.1) < 0.25


def test_more_permutations_where_none_reaches_the_correlation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(N, N))
    values = {y: base + 0.3 * rng.normal(size=(N, N)) for y in (0, 1)}
    values[2] = rng.normal(size=(N, N))
    sources = layers_of(values)

    def rows(more: int) -> pd.DataFrame:
        _, table = compare_layers(
            sources, np.arange(N), "conditional", tops_of(sources, 60), permutations=19,
            max_permutation_factor=more, seed=0,
        )  # fmt: skip
        return table.set_index(["layer_a", "layer_b"])

    correlations = rows(5)
    assert correlations.loc[(0, 1), "n_permutations"] == 95
    assert correlations.loc[(0, 1), "p"] == pytest.approx(1 / 96)
    assert correlations.loc[(0, 2), "n_permutations"] == 19
    assert correlations.loc[(0, 2), "p"] == rows(1).loc[(0, 2), "p"]
    monkeypatch.setattr("octoscope.analysis.layers.MAX_NULL_BYTES", 1)  # no room for more
    assert rows(5).loc[(0, 1), "n_permutations"] == 19


def test_weak_agreement_is_found_where_the_correlation_is_below_zero() -> None:
    p = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        base = rng.normal(size=(N, N))
        values = {y: 0.4 * base + rng.normal(size=(N, N)) for y in (0, 1)}
        values[2] = values[1] + 0.01 * rng.normal(size=(N, N))
        row = compared(values, 100, 99).loc[(0, 1)]
        assert row["tested_spearman"] < 0
        p.append(row["p"])
    assert np.median(p) <= 0.05


def test_layers_against_each_other() -> None:
    rng = np.random.default_rng(3)
    base = rng.normal(size=(N, N))
    layers = {
        0: np.stack([base + 0.2 * rng.normal(size=(N, N)) for _ in range(2)]),
        1: np.stack([base + 0.2 * rng.normal(size=(N, N)) for _ in range(2)]),
        2: np.stack([rng.normal(size=(N, N)) for _ in range(2)]),
    }
    sources = {y: source(h, FULL) for y, h in layers.items()}
    genes = np.arange(N)
    top = {}
    for y, m in sources.items():
        done = finalise(m, {"all": genes}, ["conditional"], top_k=60, permutations=50, seed=0)
        top[y] = done.topk[done.topk["part"] == "total"]
    union, table = compare_layers(sources, genes, "conditional", top, permutations=99, seed=0)
    assert set(table.n_eligible) == {N * (N - 1)}
    dense = one_view((layers[1] * FULL).sum(0), FULL.sum(0), 100, "conditional")
    for r in union.head(40).itertuples():
        off = dense[~np.eye(N, dtype=bool)]
        assert r.value_1 == pytest.approx(dense[r.query, r.key], rel=1e-6)
        assert abs(r.rank_1 - 1 - (off > dense[r.query, r.key]).sum()) <= 1
    by = table.set_index(["layer_a", "layer_b"])
    assert by.loc[(0, 0), "spearman"] == pytest.approx(1)
    related, unrelated = by.loc[(0, 1)], by.loc[(0, 2)]
    assert related["spearman"] > 0.8
    assert related["p"] == pytest.approx(0.01)
    assert related["low"] < related["spearman"] < related["high"]
    assert related["null_high"] < related["spearman"]
    assert unrelated["spearman"] < 0.2
