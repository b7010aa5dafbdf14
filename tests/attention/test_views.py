"""Views from sums, and the order of their values."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.attention.views import one_view, sortable
from octoscope.config.view_names import default_min_cells

FLOATS = st.floats(width=32, allow_nan=False)


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
