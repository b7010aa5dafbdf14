"""The bounds that parity tests allow where rounding of products decides a rank."""

from __future__ import annotations

import numpy as np
import pytest
import scipy

from tests.analysis.rounding import (
    STATISTICS,
    largest_difference,
    rank_bounds,
    spearman_bound,
    statistic_bounds,
)

N, K, DELTA = 4000, 200, 1e-4  # about one value in ten has another within 2 DELTA


def ranks(values: np.ndarray, absolute: bool = False) -> np.ndarray:
    """Return 1 + the number of greater values, by the definition."""
    size = np.abs(values) if absolute else values
    return scipy.stats.rankdata(-size, method="min").astype(int)


def moved(values: np.ndarray, seed: int) -> np.ndarray:
    return values + np.random.default_rng(seed).uniform(-DELTA, DELTA, values.shape)


@pytest.mark.parametrize("absolute", [False, True])
def test_values_that_move_by_delta_keep_their_ranks_within_the_bounds(absolute: bool) -> None:
    values = np.random.default_rng(0).normal(size=N)
    low, high = rank_bounds(values, DELTA, absolute)
    assert (low <= ranks(values, absolute)).all()
    assert (ranks(values, absolute) <= high).all()
    changed = 0
    for seed in range(20):
        moved_ranks = ranks(moved(values, seed), absolute)
        changed += int((moved_ranks != ranks(values, absolute)).sum())
        assert ((moved_ranks >= low) & (moved_ranks <= high)).all()
    assert changed > 1000
    assert np.array_equal(*rank_bounds(values, 0.0, absolute))  # nothing moves
    # a wrong rank is seen wherever no other value is near
    alone = low == high
    assert alone.mean() > 0.3
    off = ranks(values, absolute) + 1
    assert (off > high)[alone].all()


def test_two_values_that_change_places_move_a_mean_by_one_place_and_no_more() -> None:
    values = np.arange(10.0)
    values[4] = values[5] - 1e-8
    low, high = rank_bounds(values, 1e-8, absolute=False)
    assert high[5] - low[5] == high[4] - low[4] == 1
    assert (high - low).sum() == 2
    listed = np.isin(np.arange(10), [1, 4, 7])
    least, most = statistic_bounds("mean", low / 10, high / 10, listed, listed)
    assert most - least == pytest.approx(1 / 10 / 3)
    assert least <= (ranks(values)[listed] / 10).mean() <= most
    assert (ranks(values)[listed] / 10).mean() + 1 / 10 > most  # off by one
    other = np.isin(np.arange(10), [1, 2, 7])  # no near value is in the list: nothing moves
    assert np.ptp(statistic_bounds("mean", low / 10, high / 10, other, other)) == 0


@pytest.mark.parametrize("what", list(STATISTICS))
def test_statistics_over_a_list_that_rounding_decides_lie_within_the_bounds(what: str) -> None:
    rng = np.random.default_rng(1)
    of, at = rng.normal(size=(2, N))
    list_low, list_high = rank_bounds(of, DELTA, absolute=False)
    low, high = (x / N for x in rank_bounds(at, DELTA, absolute=False))
    certain, possible = list_high <= K, list_low <= K
    least, most = statistic_bounds(what, low, high, certain, possible)
    for seed in range(50):
        listed = ranks(moved(of, seed)) <= K
        statistic = STATISTICS[what](ranks(moved(at, seed + 100))[listed] / N)
        assert least <= statistic <= most
    if what == "mean":  # ranks that are all off by one place lie outside, and so does another list
        assert most - least < 1 / N + (possible & ~certain).sum() / K
        exact = ranks(at)[ranks(of) <= K].mean() / N
        bounds = statistic_bounds(what, low, high, certain, certain)
        assert np.ptp(bounds) < 1 / N
        assert not least <= ranks(at)[ranks(of) <= 2 * K].mean() / N <= most
        assert exact + 1 / N > bounds[1]


def test_a_list_of_which_nothing_is_certain_takes_one_pair_at_least() -> None:
    low, high = np.array([0.1, 0.2, 0.9]), np.array([0.2, 0.3, 0.9])
    maybe = np.array([True, True, False])
    none = np.zeros(3, bool)
    assert statistic_bounds("mean", low, high, none, maybe) == (0.1, 0.3)


def test_spearman_moves_by_its_bound_at_most() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=N)
    y = x + rng.normal(size=N)
    bound = spearman_bound(x, y, DELTA, DELTA)
    r = scipy.stats.spearmanr(x, y).statistic
    for seed in range(20):
        other = scipy.stats.spearmanr(moved(x, seed), moved(y, seed + 50)).statistic
        assert 0 < abs(other - r) <= bound
    assert bound < 1e-3
    assert spearman_bound(x, y, 0.0, 0.0) == 0


def test_differences_are_of_finite_values_and_infinite_ones_are_the_same() -> None:
    a = np.array([1.0, -np.inf, 2.0], np.float32)
    b = np.array([1.5, -np.inf, 2.0], np.float32)
    assert largest_difference(a, b) == 0.5
    with pytest.raises(AssertionError):
        largest_difference(a, np.array([1.0, 3.0, 2.0], np.float32))
