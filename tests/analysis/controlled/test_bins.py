"""Bins of controls: against the plain reference, on grids with and without ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.analysis.controlled.bins import (
    LEAST,
    LEVELS,
    REFINEMENTS,
    joint_bins,
    level_steps,
    log_degree,
    tail_bins,
)

from tests.analysis.plain_mantel_haenszel import tail_bins as plain_tail_bins

OCTAVES = st.sampled_from([1, 2, 4, 8])
GRIDS = st.lists(st.integers(0, 30), min_size=1, max_size=60).map(np.array)


def partition(bins: np.ndarray) -> np.ndarray:
    """Number bins in their order."""
    return np.unique(bins, return_inverse=True)[1].reshape(-1)


@settings(deadline=None)
@given(n=st.integers(1, 1500), per_octave=OCTAVES, least=st.integers(1, 80), seed=st.integers(0, 9))
def test_bins_of_distinct_values_are_those_of_the_plain_reference(
    n: int, per_octave: int, least: int, seed: int
) -> None:
    """Red: ranks from 0 instead of 1 in `from_bottom`."""
    rng = np.random.default_rng(seed)
    steps = np.sort(rng.choice(4 * n, n, replace=False))  # a grid with holes
    counts = np.bincount(steps, minlength=4 * n)
    of_steps = tail_bins(counts, per_octave, least)
    order = rng.permutation(n)
    plain = plain_tail_bins(steps[order], per_octave, least)
    np.testing.assert_array_equal(partition(of_steps[steps[order]]), partition(plain))


@settings(deadline=None)
@given(counts=GRIDS, per_octave=OCTAVES, least=st.integers(1, 60))
def test_the_extreme_bin_of_each_tail_holds_enough_pairs(
    counts: np.ndarray, per_octave: int, least: int
) -> None:
    """Red: `held > least / 2` in the choice of the last bin."""
    bins, total = tail_bins(counts, per_octave, least), counts.sum()
    if total < 4 * least:  # a tail may hold less than half of the pairs where the middle is tied
        return
    pairs = np.bincount(bins, counts)
    from_bottom = np.cumsum(counts) - (counts - 1) / 2
    tails = {
        0: counts[from_bottom <= (total + 1) / 2].sum(),
        int(bins.max()): counts[from_bottom > (total + 1) / 2].sum(),
    }
    for extreme, n_tail in tails.items():
        assert pairs[extreme] >= min(least, n_tail)


@settings(deadline=None)
@given(counts=GRIDS, per_octave=st.sampled_from([0, 1, 2, 4, 8]))
def test_bins_ascend_without_a_gap(counts: np.ndarray, per_octave: int) -> None:
    """Red: `signed = where(upper, octave + 1, octave)`."""
    of_pairs = tail_bins(counts, per_octave, 3)[counts > 0]
    if len(of_pairs):
        assert (np.diff(of_pairs) >= 0).all()
        assert of_pairs.min() >= 0
        if per_octave:
            np.testing.assert_array_equal(np.unique(of_pairs), np.arange(of_pairs.max() + 1))


@settings(deadline=None)
@given(counts=GRIDS.filter(lambda c: c.any()), per_octave=OCTAVES)
def test_both_tails_have_the_same_bins(counts: np.ndarray, per_octave: int) -> None:
    """Repression is the lower tail, as fine as the upper. Red: `rank = from_top` for both."""
    filled = counts > 0
    rising, falling = tail_bins(counts, per_octave, 5), tail_bins(counts[::-1], per_octave, 5)
    middle = np.cumsum(counts) - (counts - 1) / 2 == (counts.sum() + 1) / 2
    if middle.any():  # a step in the middle belongs to the lower tail in both
        return
    np.testing.assert_array_equal(rising[filled], (rising[filled].max() - falling[::-1])[filled])


def test_bins_are_narrow_at_the_extremes() -> None:
    """Red: the bins' width not by rank: `octave = floor(per_octave * total / rank)`."""
    n = 1 << 14
    pairs = np.bincount(tail_bins(np.ones(n, int), 1))
    # ranks 1 to 64 (of 1 to 32 there are fewer than 40), 65 to 128, 129 to 256, ... 8192
    np.testing.assert_array_equal(pairs[::-1][:8], [64, *(2**e for e in range(6, 13))])
    np.testing.assert_array_equal(pairs, pairs[::-1])


@settings(deadline=None)
@given(tenth=st.integers(1, 40))
def test_deciles_are_of_equal_size(tenth: int) -> None:
    """Red: nine bins, `minimum(9 * ...)`."""
    np.testing.assert_array_equal(
        np.bincount(tail_bins(np.ones(10 * tenth, int), 0)), np.full(10, tenth)
    )


def test_tied_values_share_a_bin_and_no_pairs_have_none() -> None:
    """Half of all correlations are 0 in sparse cells. Red: one bin for both tails."""
    counts = np.array([100, 0, 10_000, 0, 100])
    np.testing.assert_array_equal(tail_bins(counts, 4, LEAST), [0, 0, 1, 0, 2])
    assert not tail_bins(np.zeros(7, int), 4).any()


@pytest.mark.parametrize("expression", [[0.0, 1.0, 4.0], [-2.0, 0.0, 1.5], [3.0]])
def test_levels_span_the_grid_in_their_order(expression: list[float]) -> None:
    """Red: divided by `high` instead of `high - low`."""
    steps = level_steps(np.array(expression))
    assert steps.min() >= 0
    assert steps.max() == pytest.approx(LEVELS - 1)
    assert (np.diff(steps) > 0).all()
    assert not level_steps(np.zeros(3)).any()


@settings(deadline=None)
@given(st.integers(0, 5000), st.integers(0, 5000))
def test_a_pairs_bin_of_degree_is_of_the_product(a: int, b: int) -> None:
    """Red: `log2(degree)`."""
    both = log_degree(np.array([a, b])).sum()
    exact = 0
    while 2 ** (exact + 1) <= ((a + 1) * (b + 1)) ** 2:
        exact += 1
    assert int(2 * both + 1e-9) == exact


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 400))
def test_every_refinement_is_made_of_joint_bins(seed: int, steps: int) -> None:
    """Red: deciles left out of the joint bins; `prepend` of the first column."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 60, steps) * (rng.random(steps) < 0.6)
    bins = {name: tail_bins(counts, per) for name, per in REFINEMENTS.items()}
    joint, part_of = joint_bins(bins)
    for name, of in bins.items():
        np.testing.assert_array_equal(part_of[name][joint], of)
    distinct = np.unique(np.stack(list(bins.values())), axis=1).shape[1]
    assert len(part_of["deciles"]) == len(np.unique(joint)) <= distinct + 1
