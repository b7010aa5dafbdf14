"""Histograms: bins in the order of values; quantiles, AUROC and precision against brute force."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from octoscope.attention.histograms import (
    BINS,
    auroc,
    average_precision,
    bins_of,
    count,
    early_precision,
    quantiles,
)
from octoscope.attention.views import sortable

FLOATS = st.floats(width=32, allow_nan=False)
# values that lie in bins of their own: the histogram then loses nothing
APART = st.sampled_from([-8.0, -1.0, -0.5, 0.0, 0.25, 1.0, 2.0, 1e6])


def histogram(values: np.ndarray) -> np.ndarray:
    """Count values by bin."""
    return np.bincount(bins_of(values), minlength=BINS)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_eligible_pairs_of_different_genes_are_counted_by_bin(seed: int, first: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.choice(np.float32([-1, -0.0, 0, 2]), (3, 6))
    eligible = rng.random((3, 6)) < 0.7
    counts = np.zeros(BINS, np.int64)
    count(bins_of(values), eligible, first, counts)
    eligible[np.arange(3), np.arange(3) + first] = False
    assert np.array_equal(counts, histogram(values[eligible]))


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, st.integers(1, 50), elements=FLOATS))
def test_histogram_bins_are_in_the_order_of_values(values: np.ndarray) -> None:
    counts = histogram(values)
    assert counts.sum() == len(values)
    bins = np.repeat(np.arange(1 << 16), counts)  # the sorted values' bins
    assert (bins == (sortable(np.sort(values)) >> 16)).all()


@settings(max_examples=100, deadline=None)
@given(
    arrays(np.float32, st.integers(1, 60), elements=st.floats(-1e6, 1e6, width=32)),
    st.floats(0, 1),
)
@example(np.array([-1e-45], np.float32), 0.0)
def test_quantiles_are_the_edge_of_the_right_bin(values: np.ndarray, at: float) -> None:
    want = np.quantile(values, at, method="inverted_cdf")
    got = quantiles(histogram(values), np.array([at]))[0]
    assert bins_of(np.array([got])) == bins_of(np.array([want]))
    assert abs(got) <= abs(want)
    assert abs(got - want) <= abs(want) / 128 + 1e-37


@settings(max_examples=200, deadline=None)
@given(
    arrays(np.float32, st.integers(1, 30), elements=APART),
    arrays(np.float32, st.integers(1, 30), elements=APART),
)
def test_auroc_and_precision_equal_brute_force(pos: np.ndarray, neg: np.ndarray) -> None:
    wins = (pos[:, None] > neg).sum() + (pos[:, None] == neg).sum() / 2
    area, error = auroc(histogram(pos), histogram(neg))
    assert abs(area - wins / (len(pos) * len(neg))) < 1e-12
    assert abs(error - (pos[:, None] == neg).mean() / 2) < 1e-12
    total = 0.0
    for v in np.unique(pos):
        precision = (pos >= v).sum() / ((pos >= v).sum() + (neg >= v).sum())
        total += (pos == v).mean() * precision
    assert abs(average_precision(histogram(pos), histogram(neg)) - total) < 1e-12
    last = np.sort(np.r_[pos, neg])[-len(pos)]  # ties with it come in any order
    ties = (pos == last).sum() + (neg == last).sum()
    missing = len(pos) - (pos > last).sum() - (neg > last).sum()
    hits = (pos > last).sum() + missing * (pos == last).sum() / ties
    assert abs(early_precision(histogram(pos), histogram(neg)) - hits / len(pos)) < 1e-12


@settings(max_examples=100, deadline=None)
@given(
    arrays(np.float32, st.integers(1, 40), elements=st.floats(-2, 2, width=32)),
    arrays(np.float32, st.integers(1, 40), elements=st.floats(-2, 2, width=32)),
)
def test_binning_moves_auroc_by_no_more_than_is_said(pos: np.ndarray, neg: np.ndarray) -> None:
    exact = ((pos[:, None] > neg) + (pos[:, None] == neg) / 2).mean()
    area, error = auroc(histogram(pos), histogram(neg))
    assert abs(area - exact) <= error + 1e-12


def test_nothing_to_rank_is_undefined() -> None:
    some, none = histogram(np.ones(3, np.float32)), np.zeros(1 << 16, np.int64)
    assert all(np.isnan(x) for x in (*auroc(none, some), *auroc(some, none)))
    assert np.isnan(average_precision(none, some))
    assert np.isnan(early_precision(none, some))
