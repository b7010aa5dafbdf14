"""Matrices made of others, against what dense arithmetic says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.analysis.derived_views import DerivedViews, pooled
from octoscope.analysis.matrix import HalfTile, MatrixSource, Tile, cached_tiles
from octoscope.attention.topk import TopK

from tests.analysis.matrices import N, dense, some, source


def least_squares(values: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Residuals of x_ij = r_i + c_j by numpy's solver over the pairs in use."""
    i, j = np.nonzero(use)
    design = np.zeros((len(i), 2 * N))
    design[np.arange(len(i)), i] = 1
    design[np.arange(len(i)), N + j] = 1
    fit = np.linalg.lstsq(design, values[i, j], rcond=None)[0]
    return values - fit[:N, None] - fit[None, N:]


@pytest.mark.parametrize("gaps", [False, True])
def test_centred_is_what_least_squares_leaves(gaps: bool) -> None:
    halves, pairs = some(0)
    halves += np.linspace(0, 5, N)[:, None] + np.linspace(3, 0, N)
    if gaps:  # most pairs are not eligible: the sparse side of the fit changes
        pairs[:, np.random.default_rng(1).random((N, N)) < 0.6] = 3
    matrix, genes = source(halves, pairs, tile=5), np.arange(N)
    centred = DerivedViews(matrix)
    plain, eligible = dense(matrix.values(genes, "conditional"))
    use = eligible & ~np.eye(N, dtype=bool)
    values, still = dense(centred.values(genes, "conditional.centred"))
    assert (still == eligible).all()
    assert np.allclose(values[use], least_squares(plain, use)[use], atol=1e-4)
    if not gaps:  # and nothing of the gene effects is left
        assert np.abs(np.where(use, values, 0).sum(0)).max() < 1e-3
    usable = np.concatenate([u for *_, u in matrix.halves(genes, "conditional")])
    for h in (0, 1):
        one = np.concatenate([b[1 + h] for b in matrix.halves(genes, "conditional")])
        got = np.concatenate([b[1 + h] for b in centred.halves(genes, "conditional.centred")])
        assert np.allclose(got[usable], least_squares(one, usable)[usable], atol=1e-4)
    q, k = np.nonzero(usable)
    _, looked = centred.values_at(genes, "conditional.centred", q[:9], k[:9])
    assert np.allclose(looked[1], got[q[:9], k[:9]], atol=1e-5)
    same, _ = dense(centred.values(genes, "conditional"))
    assert (same == plain).all()


@pytest.mark.parametrize("signed", ["conditional", "conditional.centred"])
def test_absolute_orders_by_size(signed: str) -> None:
    halves, pairs = some(4)
    matrix, genes = DerivedViews(source(halves - halves.mean(), pairs, tile=5)), np.arange(N)
    plain, eligible = dense(matrix.values(genes, signed))
    assert (plain < 0).any()
    sizes, still = dense(matrix.values(genes, signed + ".absolute"))
    assert (still == eligible).all()
    assert (sizes == np.abs(plain)).all()
    lists = []
    for values, by_size in ((plain, True), (sizes, False)):
        top = TopK(40, by_absolute_value=by_size)
        top.update(0, values, eligible)
        best = top.result()
        lists.append(list(zip(best.query, best.key, np.abs(best.value), strict=True)))
    assert lists[0] == lists[1]
    for (_, x, y, use), (_, a, b, same) in zip(
        matrix.halves(genes, signed), matrix.halves(genes, signed + ".absolute"), strict=True
    ):
        assert (use == same).all()
        assert (a == np.abs(x)).all()
        assert (b == np.abs(y)).all()
    at = np.arange(5)
    _, x = matrix.values_at(genes, signed, at, at + 1)
    _, a = matrix.values_at(genes, signed + ".absolute", at, at + 1)
    assert np.array_equal(a, np.abs(x), equal_nan=True)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_gene_effects_do_not_change_the_centred_matrix(seed: int) -> None:
    halves, pairs = some(seed)
    rng = np.random.default_rng(seed)
    moved = halves + rng.normal(size=N)[:, None] + rng.normal(size=N)
    genes = np.sort(rng.choice(N, 12, replace=False))
    a, b = (
        dense(DerivedViews(source(h, pairs)).values(genes, "conditional.centred"))[0]
        for h in (halves, moved)
    )
    off = ~np.eye(12, dtype=bool)
    assert np.allclose(a[off], b[off], atol=1e-4)


def test_pooled_categories_equal_their_cells_together() -> None:
    a, b = some(1), some(2)
    pool = pooled([source(*a, cells=(50, 51)), source(*b, cells=(60, 61))], min_cells=30)
    assert (pool.cells, pool.min_cells) == ((110, 112), 30)
    weighted = a[0] * a[1] + b[0] * b[1]
    pairs = a[1] + b[1]
    want = weighted.sum(0) / pairs.sum(0)
    got, _ = dense(pool.values(np.arange(N), "conditional"))
    assert np.allclose(got, want, atol=1e-5)
    marginal, _ = dense(pool.values(np.arange(N), "marginal"))
    assert np.allclose(marginal, weighted.sum(0) / 222, atol=1e-5)
    x = np.concatenate([block[1] for block in pool.halves(np.arange(N), "conditional")])
    off = ~np.eye(N, dtype=bool)
    assert np.allclose(x[off], (weighted[0] / pairs[0])[off], atol=1e-5)


def test_the_spread_of_a_pool_is_that_of_its_cells() -> None:
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(2, 9, 4, 4)) + shift for shift in (0, 3)]  # [half, cell, i, j]

    def of(cells: np.ndarray) -> MatrixSource:
        sums = np.repeat(cells.sum(1)[:, None], 3, axis=1).astype(np.float32)
        m2 = ((cells - cells.mean(1, keepdims=True)) ** 2).sum(1).astype(np.float32)
        pairs = np.full((2, 4, 4), 9, np.int32)
        return MatrixSource(
            lambda rows=None: iter([HalfTile(0, sums, pairs, m2=m2)]), 4, (9, 9), 1, moments=2
        )

    pool = pooled([of(v) for v in values], 1)
    q, k = np.array([0, 3]), np.array([1, 2])
    want = np.concatenate([v.reshape(18, 4, 4) for v in values]).std(0, ddof=1)
    assert np.allclose(pool.cell_deviation(np.arange(4), q, k), want[q, k], atol=1e-4)


@pytest.mark.parametrize("view", ["marginal", "marginal.centred", "marginal.centred.absolute"])
def test_rows_that_are_asked_for_are_those_of_all_blocks(view: str) -> None:
    halves, pairs = some(3)
    matrix, genes = DerivedViews(source(halves, pairs, tile=5)), np.arange(1, N)
    every = {first: values for first, values, _ in matrix.values(genes, view)}
    assert len(every) == 5
    blocks = list(matrix.values(genes, view, np.array([N - 2, 0])))
    assert [first for first, _, _ in blocks] == [min(every), max(every)]
    for first, values, _ in blocks:
        assert np.array_equal(values, every[first])


def test_a_tile_is_read_once_and_only_when_it_is_asked_for() -> None:
    halves, pairs = some(4)
    read: list[int] = []

    def noting(rows: np.ndarray | None = None) -> Iterator[Tile]:
        for tile in source(halves, pairs, tile=5).tiles(rows):
            read.append(tile.first)
            yield tile

    kept = cached_tiles(noting, N, 5)
    assert [t.first for t in kept(np.array([7, 9]))] == [5] == read
    assert [t.first for t in kept()] == [0, 5, 10, 15, 20]
    assert [t.first for t in kept(np.array([22, 0]))] == [0, 20]
    assert sorted(read) == [0, 5, 10, 15, 20]


def test_means_are_not_pooled() -> None:
    halves, pairs = some(0)
    plain = source(halves, pairs)
    mean = MatrixSource(plain.tiles, N, (50, 50), 20, means=True)
    with pytest.raises(ValueError, match="do not add up"):
        pooled([plain, mean], 20)
