"""Co-moments and mid-ranks against numpy and scipy, however the cells are divided."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.attention.comoments import (
    CoMoments,
    RankProducts,
    correlation,
    log_normalise,
    rise,
    varying,
)
from octoscope.row_blocks import fold_tree
from scipy import sparse
from scipy.stats import spearmanr


def some_counts(rng: np.random.Generator, cells: int, genes: int) -> sparse.csr_matrix:
    counts = rng.poisson(rng.gamma(0.5, 2, (1, genes)), (cells, genes)).astype(np.float32)
    counts[:, 0] += 1  # every cell has counts; a gene without zeros
    counts[:, -1] = 0  # and one that does not vary
    return sparse.csr_matrix(counts)


def test_log_normalised_as_written_out() -> None:
    counts = some_counts(np.random.default_rng(0), 20, 9)
    dense = counts.toarray().astype(np.float64)
    want = np.log(1 + 1e4 * dense / dense.sum(1, keepdims=True))
    np.testing.assert_allclose(log_normalise(counts).toarray(), want, rtol=1e-12)
    with pytest.raises(ValueError, match="without counts"):
        log_normalise(sparse.csr_matrix((1, 3), dtype=np.float32))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 30), min_size=1, max_size=6))
def test_pearson_is_numpys_in_any_parts(seed: int, sizes: list[int]) -> None:
    rng, cells = np.random.default_rng(seed), sum(sizes) + 3
    values = log_normalise(some_counts(rng, cells, 7))
    edges = np.cumsum([0, *sizes, 3])
    parts = [CoMoments.of(values[a:b]) for a, b in zip(edges, edges[1:], strict=False)]
    got = fold_tree(parts, CoMoments.merge)
    assert got.n == cells
    dense = values.toarray()
    np.testing.assert_allclose(got.mean, dense.mean(0), rtol=1e-12, atol=1e-14)
    centred = dense - dense.mean(0)
    np.testing.assert_allclose(got.products, centred.T @ centred, rtol=1e-9, atol=1e-11)
    coefficients = correlation(got.products, got.products.diagonal())
    varies = dense.std(0) > 1e-9
    with np.errstate(invalid="ignore", divide="ignore"):
        want = np.corrcoef(dense.T)
    grid = np.ix_(varies, varies)
    np.testing.assert_allclose(coefficients[grid], want[grid], atol=1e-6)
    assert not coefficients[-1].any()


def test_a_large_mean_does_not_drown_the_spread() -> None:
    # a raw sum of squares loses this: mean 1e6, spread 1e-2
    rng = np.random.default_rng(1)
    dense = 1e6 + 1e-2 * rng.standard_normal((500, 4))
    parts = [CoMoments.of(sparse.csr_matrix(dense[i : i + 100])) for i in range(0, 500, 100)]
    got = fold_tree(parts, CoMoments.merge)
    want = np.corrcoef((dense - 1e6).T)
    np.testing.assert_allclose(
        correlation(got.products, got.products.diagonal()), want, atol=1e-6
    )  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60))
def test_spearman_is_scipys(seed: int, cells: int) -> None:
    rng = np.random.default_rng(seed)
    dense = rng.integers(0, 3, (cells, 5)) * rng.integers(0, 2, (1, 5)).astype(float)
    dense[:, 0] += 1  # no zeros; many ties everywhere
    n = len(dense)
    rises = np.zeros_like(dense)
    for gene in range(5):
        at = dense[:, gene] > 0
        rises[at, gene] = rise(dense[at, gene], n)

    def rows(first: int, stop: int) -> np.ndarray:
        total = RankProducts((dense > 0).sum(0), n, first, stop)
        for at in range(0, n, 17):
            total.add(sparse.csr_matrix(rises[at : at + 17]))
        return total.correlation()

    got = rows(0, 5)
    for i in range(5):
        for j in range(5):
            if dense[:, i].std() and dense[:, j].std():
                want = spearmanr(dense[:, i], dense[:, j]).statistic
                assert abs(got[i, j] - want) < 1e-6
            else:
                assert got[i, j] == 0
    np.testing.assert_array_equal(rows(2, 4), got[2:4])


@pytest.mark.parametrize("sizes", [(25,), (50,), (13, 27), (1, 1, 90)])
def test_a_gene_of_one_value_has_no_correlation(sizes: tuple[int, ...]) -> None:
    # the mean of a constant is rounded, so its deviations are tiny and alike: noise, not zero
    rng, n = np.random.default_rng(0), sum(sizes)
    dense = np.stack([np.full(n, 3.1234567), np.full(n, 0.7), rng.random(n), rng.random(n)], 1)
    edges = np.cumsum([0, *sizes])
    parts = [dense[a:b] for a, b in zip(edges, edges[1:], strict=False)]
    got = fold_tree([CoMoments.of(sparse.csr_matrix(part)) for part in parts], CoMoments.merge)
    squares = varying(got.products.diagonal(), got.mean, got.n)
    coefficients = correlation(got.products, squares)
    assert not coefficients[:2].any()
    np.testing.assert_allclose(coefficients[2:, 2:], np.corrcoef(dense[:, 2:].T), atol=1e-6)
