"""Donor groups left out in turn: intervals against formulas and simulation, and lists."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.analysis.donor_jackknife import Block, donor_jackknife, interval
from octoscope.analysis.leave_one_out import DerivedLeaveOneOut, SumsLeaveOneOut
from octoscope.attention.topk import TopK

N, G = 20, 5
GENES = np.arange(N)


def test_groups_of_one_size_give_the_delete_one_jackknife() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(7, 4))  # donors, values
    without = np.stack([np.delete(x, i, 0).mean(0) for i in range(7)])
    low, high = interval(x.mean(0), without, np.ones((7, 4), bool), np.full(7, 3))
    # of a mean, the jackknife's standard error is that of the mean
    half = 2.446912 * x.std(0, ddof=1) / np.sqrt(7)  # t of 6 degrees of freedom
    assert np.allclose(low, x.mean(0) - half)
    assert np.allclose(high, x.mean(0) + half)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=3, max_size=8), st.integers(0, 2**31))
def test_groups_of_unequal_size_follow_the_published_formula(sizes: list[int], seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=sum(sizes))
    parts = np.split(x, np.cumsum(sizes)[:-1])
    whole, n, g = x.mean(), len(x), len(sizes)
    without = np.array([(x.sum() - p.sum()) / (n - len(p)) for p in parts])
    estimate = g * whole - sum((1 - m / n) * t for m, t in zip(sizes, without, strict=True))
    variance = 0.0
    for m, t in zip(sizes, without, strict=True):
        h = n / m
        variance += (h * whole - (h - 1) * t - estimate) ** 2 / (h - 1) / g
    low, high = interval(
        np.array([whole]), without[:, None], np.ones((g, 1), bool), np.array(sizes)
    )
    ratio = (high - low)[0] / 2 / np.sqrt(variance)
    assert 2.3 < ratio < 4.31  # t of 2 to 7 degrees of freedom
    assert (low + high)[0] / 2 == pytest.approx(whole)


def test_the_interval_covers_a_mean_over_donors_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    sizes = np.array([2, 1, 3, 2, 2, 1])
    owner = np.repeat(np.arange(6), sizes)
    inside = naive = 0
    for _ in range(1000):
        donor = rng.normal(size=11)  # what differs between donors
        cells = donor[:, None] + rng.normal(0, 3, (11, 50))  # and within
        without = np.array([cells[owner != g].mean() for g in range(6)])
        low, high = interval(
            np.array([cells.mean()]), without[:, None], np.ones((6, 1), bool), sizes
        )
        inside += bool(low[0] <= 0 <= high[0])
        half = 1.96 * cells.std() / np.sqrt(cells.size)
        naive += bool(abs(cells.mean()) <= half)
    assert 920 <= inside <= 980  # 950 expected, standard deviation 7
    assert naive < 600  # the mistake it replaces: cells as if they were donors


def test_groups_that_do_not_hold_a_pair_do_not_count() -> None:
    rng = np.random.default_rng(3)
    missed = naive = 0
    for _ in range(600):
        x = rng.normal(size=3)  # of ten donors, three hold the pair
        without = np.full((10, 1), x.mean())
        without[:3, 0] = [np.delete(x, i).mean() for i in range(3)]
        holds = np.arange(10)[:, None] < 3
        low, high = interval(np.array([x.mean()]), without, holds, np.ones(10, int))
        missed += not low[0] <= 0 <= high[0]
        few = interval(np.array([x.mean()]), without[:3], holds[:3], np.ones(3, int))
        assert np.allclose((low, high), few)
        low, high = interval(np.array([x.mean()]), without, holds | True, np.ones(10, int))
        naive += not low[0] <= 0 <= high[0]
    assert 12 <= missed <= 48  # 30 expected, standard deviation 5.3
    assert naive > 55  # the mistake: every group counts


def test_too_few_groups_and_what_is_not_known_have_no_interval() -> None:
    two = np.ones((2, 2), bool)
    assert np.isnan(interval(np.ones(2), np.ones((2, 2)), two, np.array([1, 1]))).all()
    without = np.array([[1.0, 2], [np.nan, 2], [3, 5], [1, 2]])
    low, high = interval(np.array([1.5, 2]), without, np.ones((4, 2), bool), np.ones(4, int))
    assert np.isnan([low[0], high[0]]).all()
    assert not np.isnan([low[1], high[1]]).any()


def sums(seed: int = 0) -> tuple[SumsLeaveOneOut, np.ndarray, np.ndarray]:
    """Return a matrix of donor groups, and their [groups, genes, genes] sums and counts."""
    rng = np.random.default_rng(seed)
    n_cells = rng.integers(0, 9, (G, N, N))
    values = rng.gamma(2, 1, (G, N, N)) * n_cells

    def reader(g: int):  # type: ignore[no-untyped-def]
        return lambda first, stop, quantity: (
            (1, 3, 0)[quantity] * values[g, first:stop], n_cells[g, first:stop]
        )  # fmt: skip

    matrix = SumsLeaveOneOut([2, 1, 1, 3, 1], [10, 9, 9, 12, 9], [reader(g) for g in range(G)],
                             N, 20, 8)  # fmt: skip
    return matrix, values, n_cells


@pytest.mark.parametrize("view", ["marginal", "conditional", "lift"])
@pytest.mark.parametrize("genes", [GENES, GENES[3::4]])
def test_every_group_is_left_out_of_sums_and_counts(view: str, genes: np.ndarray) -> None:
    matrix, values, n_cells = sums()
    n_cells[:, 0, :5] = [[0] * 5, [0, 9, 9, 9, 9], [0] * 5, [0, 0, 9, 9, 30], [0] * 5]
    values[:, 0, :5] *= n_cells[:, 0, :5] > 0
    grid = np.ix_(genes, genes)
    blocks = list(matrix.blocks(genes, view))
    assert [b.first for b in blocks] == [0, *np.cumsum([len(b.eligible) for b in blocks])[:-1]]
    without, known, holds = (
        np.concatenate([getattr(b, x) for b in blocks], 1) for x in ("values", "known", "holds")
    )
    eligible = np.concatenate([b.eligible for b in blocks])
    assert np.array_equal(eligible, n_cells.sum(0)[grid] >= 20)
    for g in range(G):
        rest = [x for x in range(G) if x != g]
        n = n_cells[rest].sum(0)[grid]
        by = np.full(n.shape, 49 - matrix.cells[g]) if view == "marginal" else n
        mean = values[rest].sum(0)[grid] * (3 if view == "lift" else 1) / np.maximum(by, 1)
        assert np.allclose(without[g], np.where(n > 0, mean, 0), atol=1e-6)
        assert np.array_equal(known[g], n > 0)
        assert np.array_equal(holds[g], (n_cells[g][grid] > 0) | (view == "marginal"))


class Dense:
    """Matrices without each group, as they are."""

    def __init__(self, values: np.ndarray, known: np.ndarray, eligible: np.ndarray) -> None:
        self._values, self._known = values.astype(np.float32), known
        self._eligible, self.donors = eligible, [1] * len(values)

    def blocks(self, genes: np.ndarray, view: str) -> Iterator[Block]:
        """Yield rows in tiles of 6."""
        for at in range(0, N, 6):
            known = self._known[:, at : at + 6]
            yield Block(
                at, self._values[:, at : at + 6], known, np.ones_like(known),
                self._eligible[at : at + 6],
            )  # fmt: skip


def test_lists_without_each_group_are_compared_with_the_whole() -> None:
    rng = np.random.default_rng(2)
    base = rng.normal(size=(N, N))
    without = base + rng.normal(0, 0.2, (G, N, N))
    without[2] = rng.normal(size=(N, N))  # everything hangs on the third group
    known = rng.random((G, N, N)) < 0.95
    best = TopK(30)
    eligible = rng.random((N, N)) < 0.8
    best.update(0, base.astype(np.float32), eligible)
    top = best.result()
    low, high, row = donor_jackknife(Dense(without, known, eligible), GENES, "logit", top, 30)
    own = set(zip(top.query.tolist(), top.key.tolist(), strict=True))
    lists = []
    for values, known_pairs in zip(without.astype(np.float32), known, strict=True):
        masked = np.where(known_pairs & eligible & ~np.eye(N, dtype=bool), values, -np.inf)
        flat = np.argsort(-masked, axis=None)[:30]
        lists.append(set(zip(*(x.tolist() for x in np.divmod(flat, N)), strict=True)))
    jaccard = [len(own & x) / len(own | x) for x in lists]
    assert row["donor_jaccard_mean"] == pytest.approx(np.mean(jaccard))
    assert row["donor_jaccard_min"] == pytest.approx(jaccard[2])
    assert jaccard[2] < 0.2
    assert row["donor_kept"] == pytest.approx(len(own.intersection(*lists)) / 30)
    assert (row["donors"], row["donor_groups"]) == (G, G)
    blank = ~known[:, top.query, top.key].all(0)
    assert np.array_equal(np.isnan(low), blank)
    assert np.array_equal(np.isnan(high), blank)


def two_way(values: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Return what a dense least-squares fit of row and column effects over ``use`` leaves."""
    i, j = np.nonzero(use)
    design = np.zeros((len(i), 2 * N))
    design[np.arange(len(i)), i] = design[np.arange(len(i)), N + j] = 1
    effects = np.linalg.lstsq(design, values[use], rcond=None)[0]
    return values - effects[:N, None] - effects[None, N:]


def test_gene_effects_are_fitted_anew_without_each_group() -> None:
    rng = np.random.default_rng(4)
    values = (
        rng.normal(size=(G, N, N)) + 3 * rng.normal(size=(G, N, 1)) + rng.normal(size=(G, 1, N))
    )
    known, eligible = rng.random((G, N, N)) < 0.9, rng.random((N, N)) < 0.9
    matrix = DerivedLeaveOneOut(Dense(values, known, eligible))
    plain = np.concatenate([b.values for b in matrix.blocks(GENES, "lift")], 1)
    assert np.array_equal(plain, values.astype(np.float32))
    centred = np.concatenate([b.values for b in matrix.blocks(GENES, "lift.centred")], 1)
    sizes = np.concatenate([b.values for b in matrix.blocks(GENES, "lift.centred.absolute")], 1)
    off = ~np.eye(N, dtype=bool)
    for g in range(G):
        use = known[g] & eligible & off
        assert np.allclose(centred[g][use], two_way(values[g], use)[use], atol=1e-4)
    assert np.array_equal(sizes, np.abs(centred))


def test_the_interval_of_a_centred_pair_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    every, missed = np.ones((G + 1, N, N), bool), []
    off = ~np.eye(N, dtype=bool)
    for _ in range(8):
        truth = rng.normal(size=(N, N))
        # donors differ in their gene effects, far more than in pairs
        donors = truth + 0.5 * rng.normal(size=(G + 1, N, N)) + 2 * rng.normal(size=(G + 1, N, 1))
        without = np.stack([np.delete(donors, g, 0).mean(0) for g in range(G + 1)])
        matrix = DerivedLeaveOneOut(Dense(without, every, every[0]))
        values = np.concatenate([b.values for b in matrix.blocks(GENES, "lift.centred")], 1)
        whole, right = two_way(donors.mean(0), off), two_way(truth, off)
        ends = interval(whole[off], values[:, off], every[:, off], np.ones(G + 1, int))
        missed.append(((right[off] < ends[0]) | (right[off] > ends[1])).mean())
    assert 0.02 < np.mean(missed) < 0.09  # 5 % of 3,040
