"""Ranks of one matrix's strongest pairs in others: against sorting, nulls, planted structure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.analysis.agreement import (
    GROUPS,
    RankedPairs,
    agreement,
    coherence,
    rank_pairs,
    spearman,
    union,
)
from octoscope.attention.topk import TopK
from scipy.stats import spearmanr

from tests.analysis.matrices import Tiles, ranks_of, reader


def tops(readers: list[Callable[[], Tiles]], k: int) -> list[tuple[np.ndarray, np.ndarray]]:
    lists = []
    for read in readers:
        top = TopK(k)
        for block in read():
            top.update(*block)
        best = top.result()
        lists.append((best.query.astype(np.int64), best.key.astype(np.int64)))
    return lists


def ranked_pairs_of(
    matrices: list[np.ndarray], eligible: list[np.ndarray], k: int
) -> tuple[RankedPairs, list[Callable[[], Tiles]]]:
    readers = [reader(m, e) for m, e in zip(matrices, eligible, strict=True)]
    pairs = union(tops(readers, k), len(matrices[0]))
    return rank_pairs(readers, *pairs, n_genes=len(matrices[0])), readers


@given(seed=st.integers(0, 10**6), coarse=st.booleans())
@settings(max_examples=25, deadline=None)
def test_agreement_equals_sorting_everything(seed: int, coarse: bool) -> None:
    rng = np.random.default_rng(seed)
    n, ks = 17, [5, 30]
    matrices = [rng.normal(size=(n, n)).astype(np.float32) for _ in range(3)]
    if coarse:  # many ties
        matrices = [np.round(m) for m in matrices]
    eligible = [rng.random((n, n)) < 0.8 for _ in matrices]
    ranked, readers = ranked_pairs_of(matrices, eligible, ks[-1])
    agreed = agreement(ranked, dict(enumerate(readers)), ks, permutations=5, seed=0)
    ranks = [ranks_of(m, e) for m, e in zip(matrices, eligible, strict=True)]
    assert len(agreed.rows) == 6 * len(ks)
    for row in agreed.rows:
        a, b, k = row["query"], row["eval"], row["k"]
        # of a truncated tie only the pairs of the union count
        mine = (ranks[a] > 0) & (ranks[a] <= k)
        inside = np.zeros((n, n), bool)
        inside[ranked.query, ranked.key] = True
        both = mine & inside & (ranks[b] > 0)
        q = ranks[b][both] / (ranks[b] > 0).sum()
        assert row["n_pairs"] == len(q)
        if not len(q):  # k strongest that are all unknown to the other
            assert np.isnan(row["median_quantile"])
            continue
        assert row["median_quantile"] == pytest.approx(np.median(q))
        assert row["mean_quantile"] == pytest.approx(q.mean())
        assert (row["min_quantile"], row["max_quantile"]) == pytest.approx((q.min(), q.max()))
        theirs = (ranks[b] > 0) & (ranks[b] <= k)
        shared = (mine & theirs & inside).sum() / ((mine | theirs) & inside).sum()
        assert row["jaccard"] == pytest.approx(shared)


def test_medians_under_the_null_are_those_of_relabelled_genes() -> None:
    rng = np.random.default_rng(0)
    n = 40
    matrices = [rng.lognormal(size=(n, n)) for _ in range(2)]
    eligible = [np.ones((n, n), bool), rng.random((n, n)) < 0.9]
    ranked, readers = ranked_pairs_of(matrices, eligible, 100)
    agreed = agreement(ranked, {1: readers[1]}, [100], permutations=7, seed=3)
    ranks = ranks_of(matrices[1].astype(np.float32), eligible[1])
    chosen = ranked.in_top_k(100)[0]
    for draw in range(7):
        p = np.random.default_rng([3, draw]).permutation(n)
        at = ranks[p[ranked.query[chosen]], p[ranked.key[chosen]]]
        want = np.median(at[at > 0]) / (ranks > 0).sum()
        assert agreed.null[draw, 0, 0, 0] == pytest.approx(want, abs=2e-3)  # bins of value


def test_the_null_of_the_peer_ranks_self_pairs_too() -> None:
    rng = np.random.default_rng(0)
    n = 12  # so few that the diagonal is a twelfth of all
    matrices = [rng.lognormal(size=(n, n)) for _ in range(2)]
    np.fill_diagonal(matrices[1], 1e3 * rng.random(n))  # the strongest are self pairs
    every = np.ones((n, n), bool)
    readers = [reader(m, every) for m in matrices]
    ranked = rank_pairs(readers, *union(tops(readers, 30), n), n_genes=n, conventions="peer")
    agreed = agreement(ranked, {1: readers[1]}, [30], permutations=9, seed=3, conventions="peer")
    ranks = scipy.stats.rankdata(-matrices[1].astype(np.float32), "min").reshape(n, n)
    chosen = ranked.in_top_k(30)[0]
    for draw in range(9):
        p = np.random.default_rng([3, draw]).permutation(n)
        want = np.median(ranks[p[ranked.query[chosen]], p[ranked.key[chosen]]]) / n**2
        assert agreed.null[draw, 0, 0, 0] == pytest.approx(want, abs=0.01)


def test_more_permutations_where_none_reaches_the_median(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    shared = 1.5 * rng.normal(size=(60, 60))
    alike, other = [hubs(s) * np.exp(shared) for s in (0, 1)], hubs(11)
    every = np.ones((60, 60), bool)
    ranked, readers = ranked_pairs_of([*alike, other], [every] * 3, 100)
    few = agreement(ranked, {1: readers[1]}, [100], permutations=19, seed=0)
    agreed = agreement(
        ranked, {1: readers[1]}, [100], permutations=19, max_permutation_factor=5, seed=0
    )
    rows = {row["query"]: row for row in agreed.rows}
    assert rows[0]["n_permutations"] == 95
    assert rows[0]["p"] == pytest.approx(1 / 96)
    assert rows[2]["n_permutations"] == 19  # it was reached: nothing is gained by more
    assert np.array_equal(agreed.null[:19], few.null, equal_nan=True)
    assert agreed.complete_permutations(np.ones((3, 3), bool)).shape == (95, 3, 1, 1)
    monkeypatch.setattr(
        "octoscope.analysis.label_permutation.MAX_LOOKUPS", 150 * 30
    )  # look-ups, of 100 pairs
    bounded = agreement(
        ranked, {1: readers[1]}, [100], permutations=19, max_permutation_factor=5, seed=0
    )
    draws = next(row["n_permutations"] for row in bounded.rows if row["query"] == 0)
    assert 19 < draws < 95
    monkeypatch.undo()
    # what is made of several medians uses the draws that all of them have
    whole = agreement(
        ranked, dict(enumerate(readers)), [100], permutations=19, max_permutation_factor=5,
        seed=0,
    )  # fmt: skip
    complete = whole.complete_permutations(~np.eye(3, dtype=bool))
    assert np.isnan(complete[19:, 0]).all()
    assert not np.isnan(complete[:19, 0, 1:]).any()
    of_two = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
    assert not np.isnan(whole.complete_permutations(of_two)[:, 0, 1]).any()


def test_each_group_of_genes_is_deleted_in_turn() -> None:
    rng = np.random.default_rng(0)
    matrices = [rng.normal(size=(30, 30)) for _ in range(2)]
    every = np.ones((30, 30), bool)
    ranked, readers = ranked_pairs_of(matrices, [every, every], 60)
    agreed = agreement(ranked, {1: readers[1]}, [60], permutations=2, seed=9)
    group = np.random.default_rng(10).integers(0, GROUPS, 30)
    chosen = ranked.in_top_k(60)[0]
    q = ranked.quantiles[1]
    for g in range(GROUPS):
        rest = chosen & (group[ranked.query] != g) & (group[ranked.key] != g)
        assert agreed.deleted[g, 0, 0, 0] == pytest.approx(np.median(q[rest]))


def hubs(seed: int, n: int = 60) -> np.ndarray:
    """A matrix of gene effects and noise: hubs, and no pair that is special."""
    rng = np.random.default_rng(seed)
    return rng.lognormal(size=n)[:, None] * rng.lognormal(size=n) * rng.lognormal(size=(n, n))


def test_p_is_uniform_for_unrelated_matrices_with_hubs() -> None:
    every, p = np.ones((60, 60), bool), []
    for seed in range(200):
        ranked, readers = ranked_pairs_of([hubs(2 * seed), hubs(2 * seed + 1)], [every, every], 100)
        row = agreement(
            ranked, {1: readers[1]}, [100], permutations=59, max_permutation_factor=3, seed=seed
        ).rows[0]
        p.append(row["p"])
    # of 200 uniform p-values 8 to 33 are below 0.1 in 999 of 1,000 cases
    assert 8 <= (np.array(p) < 0.1).sum() <= 33
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.001


def test_shared_pairs_are_found() -> None:
    rng = np.random.default_rng(5)
    shared = 1.5 * rng.normal(size=(60, 60))
    pair = [hubs(s) * np.exp(shared) for s in (0, 1)]
    every = np.ones((60, 60), bool)
    ranked, readers = ranked_pairs_of(pair, [every, every], 100)
    row = agreement(ranked, {1: readers[1]}, [100], permutations=99, seed=0).rows[0]
    assert row["p"] == pytest.approx(0.01)
    assert row["median_quantile"] < row["null_low"]
    assert row["low"] < row["median_quantile"] < row["high"] < row["null_median"]
    assert row["jaccard"] > row["null_jaccard"]


def test_parts_join_to_the_whole() -> None:
    every = np.ones((60, 60), bool)
    ranked, readers = ranked_pairs_of([hubs(s) for s in range(3)], [every] * 3, 50)
    whole = agreement(ranked, dict(enumerate(readers)), [10, 50], permutations=4, seed=1)
    parts = [agreement(ranked, {i: r}, [10, 50], permutations=4, seed=1)
             for i, r in enumerate(readers)]  # fmt: skip
    joined = parts[0].join(parts[1]).join(parts[2])
    assert np.array_equal(joined.null, whole.null, equal_nan=True)
    assert np.array_equal(joined.deleted, whole.deleted, equal_nan=True)
    assert joined.rows == whole.rows
    assert np.array_equal(joined.medians, whole.medians, equal_nan=True)
    assert np.isnan(whole.medians[1, 1]).all()


def test_spearman_is_scipys_over_pairs_known_to_both() -> None:
    rng = np.random.default_rng(0)
    n = 20
    matrices = [np.round(rng.normal(size=(n, n)), 1) for _ in range(3)]
    eligible = [np.ones((n, n), bool), rng.random((n, n)) < 0.7, rng.random((n, n)) < 0.7]
    ranked, _ = ranked_pairs_of(matrices, eligible, 40)
    r, pairs = spearman(ranked)
    for a in range(3):
        for b in range(3):
            both = eligible[a] & eligible[b]
            use = both[ranked.query, ranked.key]
            x, y = (matrices[m][ranked.query, ranked.key][use] for m in (a, b))
            assert pairs[a, b] == use.sum()
            assert r[a, b] == pytest.approx(spearmanr(x, y)[0])


def test_ranks_as_the_peer_counts_them() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(15, 15)).astype(np.float32)
    every = np.ones((15, 15), bool)
    pairs = union(tops([reader(values)], 20), 15)
    ranked = rank_pairs([reader(values)], *pairs, n_genes=15, conventions="peer")
    assert ranked.n_ranked.tolist() == [225]
    want = ranks_of(values, every, keep_self=True)[ranked.query, ranked.key]
    assert ranked.ranks[0].tolist() == want.tolist()
    absolute = rank_pairs([reader(values)], *pairs, n_genes=15, by_absolute_value=True)
    want = ranks_of(np.abs(values), every)[ranked.query, ranked.key]
    assert absolute.ranks[0].tolist() == want.tolist()


def test_coherence_averages_models_then_groups_and_leaves_its_own_out() -> None:
    models, groups = ["a", "a", "b", "c", "d"], ["A", "A", "B", "C", "C"]
    medians = np.random.default_rng(0).uniform(0.01, 0.8, (5, 5))

    def strength(m: float) -> float:
        return float(-np.log10(2 * min(m, 0.5)))

    strengths = coherence(medians, models, groups)
    b = strength(medians[0, 2])
    c = np.mean([strength(medians[0, 3]), strength(medians[0, 4])])
    assert strengths[0] == pytest.approx((b + c) / 2)
    a = np.mean([strength(medians[3, 0]), strength(medians[3, 1])])
    assert strengths[3] == pytest.approx((a + strength(medians[3, 2])) / 2)  # not d: same group
    assert coherence(medians, models, groups, "b")[0] == pytest.approx(c)
    assert coherence(medians, models, groups, "d")[0] == pytest.approx(
        (b + strength(medians[0, 3])) / 2
    )
    assert np.isnan(coherence(medians[:2, :2], models[:2], groups[:2])).all()
    assert (coherence(np.full((5, 5), 0.9), models, groups) == 0).all()  # worse than chance is 0
    # leading dimensions, and what is not known, are carried along
    medians[0, 2] = np.nan
    both = coherence(np.stack([medians, medians]), models, groups)
    assert both.shape == (2, 5)
    assert both[1, 0] == pytest.approx(c)
