"""Ranks, histograms and views against brute force."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from octoscope.attention.ranks import values_and_ranks
from octoscope.attention.views import one_view, sortable
from octoscope.config.view_names import default_min_cells

FLOATS = st.floats(width=32, allow_nan=False)
ONE = np.float32(1)
# 1 and its neighbours on either side differ by one bit
VALUES = [-np.inf, -2, -1, -0.0, 0, np.nextafter(ONE, -ONE), 1, np.nextafter(ONE, 2 * ONE), np.inf]


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 8), st.integers(1, 8), st.booleans(), st.booleans(), st.data())
def test_ranks_count_strictly_greater_eligible_pairs(
    n: int, tile: int, absolute: bool, keep_self: bool, draw: st.DataObject
) -> None:
    values = draw.draw(arrays(np.float32, (n, n), elements=st.sampled_from(VALUES)))
    eligible = draw.draw(arrays(bool, (n, n)))
    places = np.array([(i, j) for i in range(n) for j in range(n) if i != j or keep_self])
    query, key = places[:, 0], places[:, 1]

    def tiles() -> list[tuple[int, np.ndarray, np.ndarray]]:
        return [(f, values[f : f + tile], eligible[f : f + tile]) for f in range(0, n, tile)]

    got, ranks, n_eligible = values_and_ranks(
        tiles, query, key, by_absolute_value=absolute, keep_self=keep_self
    )
    size = np.abs(values) if absolute else values
    pool = [size[i, j] for i, j in places if eligible[i, j]]
    assert n_eligible == len(pool)
    for (i, j), value, rank in zip(places, got, ranks, strict=True):
        if eligible[i, j]:
            assert value == values[i, j]
            assert rank == 1 + sum(v > size[i, j] for v in pool)
        else:
            assert np.isnan(value)
            assert rank == 0


@settings(max_examples=200, deadline=None)
@given(FLOATS, FLOATS)
def test_sort_keys_order_like_floats(a: float, b: float) -> None:
    x, y = sortable(np.array([a, b], np.float32))
    assert (x < y) == (np.float32(a) < np.float32(b))
    assert (x == y) == (np.float32(a) == np.float32(b))


def test_views_divide_by_cells_or_pairs_and_never_give_nan() -> None:
    sums = np.arange(12, dtype=np.float32).reshape(3, 2, 2) + 1
    pairs = np.array([[4, 2], [0, 1]])
    assert np.allclose(one_view(sums[0], pairs, 10, "marginal"), sums[0] / 10)
    conditional = one_view(sums[0], pairs, 10, "conditional")
    assert np.allclose(conditional, [[0.25, 1.0], [0.0, 4.0]])
    assert np.allclose(one_view(sums[1], pairs, 10, "lift")[0], [5 / 4, 6 / 2])
    assert np.allclose(one_view(sums[2], pairs, 10, "logit")[0], [9 / 4, 10 / 2])


def test_floor_on_support() -> None:
    assert default_min_cells(37) == 20
    assert default_min_cells(5001) == 51


def test_noise_with_little_support_does_not_rank_first() -> None:
    # planted: 20 pairs in every cell with a raised value; noise pairs in 1-3 cells of 400
    rng = np.random.default_rng(0)
    n = 60
    pairs = rng.integers(1, 4, (n, n))
    mean = rng.exponential(1.0, (n, n)) / np.sqrt(pairs)
    planted = rng.choice(n * n, 20, replace=False)
    pairs.ravel()[planted] = 400
    mean.ravel()[planted] = 1.2
    conditional = one_view(mean * pairs, pairs, 400, "conditional")
    eligible = pairs >= default_min_cells(400)
    best = set(np.argsort(-np.where(eligible, conditional, -1).ravel())[:20])
    assert best == set(planted)
    unfiltered = set(np.argsort(-conditional.ravel())[:20])
    assert len(unfiltered & set(planted)) < 10  # without the floor noise would win
