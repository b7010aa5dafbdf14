"""Phase 1 and 2 on planted matrices: reliability, support, layers, gene sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from octoscope.analysis.matrix import MatrixSource
from octoscope.analysis.summarise_matrix import finalise

from tests.analysis.matrices import source

N = 40


def main_effects(seed: int, noise: float, signal: float) -> np.ndarray:
    """Two halves that share gene effects, and a pair signal of the given size."""
    rng = np.random.default_rng(seed)
    effects = rng.lognormal(size=N)[:, None] + rng.lognormal(size=N)[None]
    shared = signal * rng.normal(size=(N, N))
    return np.stack([effects + shared + noise * rng.normal(size=(N, N)) for _ in range(2)])


FULL = np.full((2, N, N), 50, np.int32)


def stats_of(m: MatrixSource, permutations: int = 100) -> pd.Series:
    done = finalise(
        m, {"all": np.arange(N)}, ["conditional"], top_k=30, permutations=permutations, seed=0
    )
    return done.stats.iloc[0]


def test_noise_with_gene_effects_is_not_mistaken_for_signal() -> None:
    row = stats_of(source(main_effects(0, noise=0.3, signal=0.0), FULL))
    assert row["half_raw"] > 0.8  # main effects alone
    assert abs(row["half_centred"]) < 0.1
    assert row["half_p"] > 0.01
    assert row["half_null_low"] < row["half_centred"] < row["half_null_high"]


def test_shared_pair_signal_is_found() -> None:
    row = stats_of(source(main_effects(0, noise=0.3, signal=0.3), FULL))
    assert 0.35 < row["half_centred"] < 0.65
    assert row["half_p"] == pytest.approx(1 / 101)
    assert row["half_centred_low"] < 0.5 < row["half_centred_high"]
    assert row["spearman_brown"] > row["half_centred"]


def test_what_is_of_cells_is_null_where_they_are_not_known() -> None:
    known = source(main_effects(0, noise=0.3, signal=0.3), FULL)
    both = [
        finalise(m, {"all": np.arange(N)}, ["conditional"], top_k=30, permutations=50, seed=0)
        for m in (known, replace(known, cells=None, min_cells=None))
    ]
    before, after = (done.stats.iloc[0] for done in both)
    of_cells = ["n_cells", "n_cells_half0", "n_cells_half1", "min_cells"]
    of_cells += [c for c in after.index if c.startswith("half_")] + ["spearman_brown"]
    assert len(of_cells) == 19
    assert after[of_cells].isna().all()
    assert after.drop(of_cells).equals(before.drop(of_cells))
    whole = both[0].topk[both[0].topk["part"] == "total"]
    assert (
        both[1]
        .topk[["part", "query", "key", "value", "rank"]]
        .equals(whole[["part", "query", "key", "value", "rank"]])
    )
    assert both[1].topk[["cells", "value_half0", "value_half1"]].isna().all().all()


def test_p_values_of_noise_are_uniform_enough() -> None:
    p = [stats_of(source(main_effects(s, 0.3, 0.0), FULL), 50)["half_p"] for s in range(40)]
    assert np.mean(np.array(p) < 0.1) < 0.25
    assert 0.35 < np.mean(p) < 0.65


def test_p_of_many_genes_is_of_the_sample_that_its_null_has() -> None:
    n = 300
    sample = np.random.default_rng(0).choice(n, 256, replace=False)  # as seed 0 draws it
    outside = np.setdiff1d(np.arange(n), sample)
    rng = np.random.default_rng(1)
    halves = rng.normal(size=(2, n, n))
    shared = rng.normal(size=(n, n))
    # pairs within the sample are noise; whoever is outside has signal enough for all
    halves[:, outside] += 3 * shared[outside]
    halves[:, :, outside] += 3 * shared[:, outside]
    m = source(halves, np.full((2, n, n), 50, np.int32))
    done = finalise(
        m, {"all": np.arange(n)}, ["conditional"], top_k=30, permutations=50, seed=0
    ).stats.iloc[0]
    assert done["half_null_genes"] == 256
    assert done["half_centred"] > 0.3
    assert abs(done["half_sampled"]) < 0.05
    assert done["half_p"] > 0.02


def test_ineligible_pairs_appear_nowhere() -> None:
    pairs = FULL.copy()
    pairs[:, :5] = 4  # support of 8 cells: below the floor
    halves = main_effects(1, 0.1, 0.3)
    halves[:, :5] += 100
    m = source(halves, pairs)
    done = finalise(m, {"all": np.arange(N)}, ["conditional"], top_k=50, permutations=50, seed=0)
    assert done.topk["query"].min() >= 5
    assert done.stats.iloc[0]["n_eligible"] == (N - 5) * (N - 1)
    assert done.histogram["count"].sum() == (N - 5) * (N - 1)
    assert (done.genes.loc[done.genes["gene"] < 5, "row_pairs"] == 0).all()


def test_top_pairs_carry_rank_support_and_both_halves() -> None:
    rng = np.random.default_rng(0)
    pairs = rng.integers(15, 45, (2, N, N)).astype(np.int32)
    halves = main_effects(2, 0.2, 0.3)
    m = source(halves, pairs, cells=(45, 45), tile=7)
    genes = np.array([1, 4, 9, 10, 17, 25, 30, 39])
    done = finalise(m, {"some": genes}, ["conditional"], top_k=12, permutations=50, seed=0)
    total = (halves * pairs).sum(0) / pairs.sum(0)
    top = done.topk[done.topk["part"] == "total"]
    want = sorted((-np.float32(total[i, j]), i, j) for i in genes for j in genes if i != j)[:12]
    assert [(q, k) for q, k in zip(top["query"], top["key"], strict=True)] == [w[1:] for w in want]
    assert top["rank"].tolist() == list(range(1, 13))
    for r in top.itertuples():
        assert r.cells == pairs[:, r.query, r.key].sum()
        for h in (0, 1):
            assert getattr(r, f"value_half{h}") == pytest.approx(halves[h, r.query, r.key], 1e-5)
    assert done.stats.iloc[0]["n_top"] == 12
    for h in (0, 1):  # pairs that both halves hold often enough
        of_half = done.topk[done.topk["part"] == f"half{h}"]
        usable = (pairs.sum(0) >= 20) & (pairs >= 10).all(0)
        want = sorted(
            (-np.float32(halves[h, i, j]), i, j)
            for i in genes for j in genes if i != j and usable[i, j]
        )[:12]  # fmt: skip
        listed = zip(of_half["query"], of_half["key"], strict=True)
        assert list(listed) == [w[1:] for w in want]
        assert of_half["value"].to_numpy() == pytest.approx(of_half[f"value_half{h}"], rel=1e-6)


def test_a_half_without_cells_gives_undefined_not_zero() -> None:
    pairs = FULL.copy()
    pairs[1] = 0
    row = stats_of(source(main_effects(0, 0.1, 0.1), pairs, cells=(50, 0)))
    assert np.isnan(row["half_centred"])
    assert np.isnan(row["half_topk_jaccard"])
    assert row["n_eligible"] == N * (N - 1)


def test_quantiles_of_eligible_values_are_in_the_stats() -> None:
    m = source(main_effects(3, noise=0.3, signal=0.3), FULL)
    row = stats_of(m)
    values = np.concatenate([v[e & ~np.eye(N, dtype=bool)[f : f + len(v)]]
                             for f, v, e in m.values(np.arange(N), "conditional")])  # fmt: skip
    for name, at in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999)):
        want = np.quantile(values, at, method="inverted_cdf")
        assert abs(row[f"value_{name}"] - want) <= abs(want) / 128
    assert row["value_p50"] < row["value_p99"] < row["value_p999"]
