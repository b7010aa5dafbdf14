"""Co-expression as a control: pools against the cells themselves, families against all genes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.analysis.controlled import controls
from octoscope.analysis.controlled.controls import (
    GeneBlocks,
    by_vertex,
    control_bytes,
    of_category,
    pooled,
)
from octoscope.analysis.finished_matrices import GeneMoments
from octoscope.attention.views import QUANTITIES

from tests.analysis.matrices import N, source

SEEDS = st.integers(0, 2**32 - 1)


def corrcoef(cells: np.ndarray) -> np.ndarray:
    """Return Pearson's correlations; 0 where a gene does not vary."""
    if len(cells) < 2:
        return np.zeros((cells.shape[1], cells.shape[1]))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num(np.corrcoef(cells.T))


def parts_of(halves: list[np.ndarray]) -> list[np.ndarray]:
    return [*halves, np.concatenate(halves)]


def in_rows(values: np.ndarray, tile: int) -> GeneBlocks:
    def read() -> Iterator[tuple[int, np.ndarray]]:
        for first in range(0, values.shape[1], tile):
            yield first, values[:, first : first + tile]

    return read


def category(
    halves: list[np.ndarray], tile: int, genes: np.ndarray
) -> tuple[GeneBlocks, GeneMoments]:
    """Return what a run has of the cells: correlations of some genes, moments of all."""
    parts = parts_of(halves)
    values = np.stack([corrcoef(cells[:, genes]) for cells in parts]).astype(np.float32)
    n = halves[0].shape[1]
    of = [(x.mean(0), x.var(0)) if len(x) else (np.zeros(n), np.zeros(n)) for x in parts]
    mean, variance = (np.stack([m[i] for m in of]) for i in (0, 1))
    return in_rows(values, tile), GeneMoments(np.array([len(x) for x in parts]), mean, variance)


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS, tile=st.integers(1, 9), categories=st.integers(1, 4))
def test_a_pool_is_the_correlation_over_all_its_cells(
    seed: int, tile: int, categories: int
) -> None:
    """Red: without the part between means; weights that ignore the cells; all genes' moments."""
    rng = np.random.default_rng(seed)
    n = 9
    genes = np.sort(rng.permutation(n)[:7])
    cells = []
    for c in range(categories):
        mix = rng.normal(size=(n, n))
        halves = [
            np.maximum(rng.normal(size=(size, n)) @ mix + 2 * rng.normal(size=n), 0)
            for size in rng.integers(0 if c else 3, 30, 2)
        ]
        for half in halves:
            half[:, genes[c % 7]] = 1.5  # constant in this category alone
            half[:, genes[6]] = 0  # and a gene that is expressed nowhere
        cells.append(halves)
    read = pooled([category(halves, tile, genes) for halves in cells], genes)
    values = np.concatenate([block for _, block in read()], axis=1)
    assert [first for first, _ in read()] == list(range(0, 7, tile))
    for part, _ in enumerate(values):
        together = np.concatenate([parts_of(halves)[part] for halves in cells])[:, genes]
        # a constant gene's own deviation is rounding, so there is nothing to compare with
        varies = together.std(0) > 1e-12
        want = np.where(varies[:, None] & varies, corrcoef(together), 0)
        np.testing.assert_allclose(values[part], want, atol=2e-6)


def test_a_pool_sees_co_expression_between_types() -> None:
    """Two markers of one type are uncorrelated in every type. Red: the mean of both types."""
    rng = np.random.default_rng(0)
    types = [rng.normal(size=(400, 2)) * 0.1 + mean for mean in (0.0, 1.0)]
    genes = np.arange(2)
    parts = [category([x[:200], x[200:]], 2, genes) for x in types]
    assert all(abs(next(read())[1][2, 0, 1]) < 0.2 for read, _ in parts)
    assert next(pooled(parts, genes)())[1][2, 0, 1] > 0.9


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, tile=st.integers(1, 14), n=st.integers(1, 12))
def test_two_families_have_their_strongest_pair_of_genes(seed: int, tile: int, n: int) -> None:
    """Repression counts by its size. Red: the maximum; only the first gene's row of a family."""
    rng = np.random.default_rng(seed)
    vertex = rng.permutation(np.concatenate([np.arange(n), rng.integers(0, n, 12 - n)]))
    upper = rng.normal(size=(3, 12, 12))
    values = upper + upper.transpose(0, 2, 1)
    rows, blocks = zip(*by_vertex(in_rows(values, tile), vertex, n)(), strict=True)
    order = np.concatenate(rows)
    np.testing.assert_array_equal(np.sort(order), np.arange(n))  # every vertex in one row
    strongest = np.concatenate(blocks, axis=1)
    for row, u in enumerate(order):
        for v in range(n):
            pairs = values[:, vertex == u][:, :, vertex == v].reshape(3, -1)
            want = pairs[np.arange(3), np.abs(pairs).argmax(1)]
            np.testing.assert_array_equal(strongest[:, row, v], want)


def test_without_families_the_matrix_is_reordered_alone() -> None:
    """Red: columns in the order of the genes."""
    rng = np.random.default_rng(1)
    vertex, values = rng.permutation(8), rng.normal(size=(3, 8, 8))
    inverse = np.argsort(vertex)
    for rows, block in by_vertex(in_rows(values, 3), vertex, 8)():
        np.testing.assert_array_equal(block, values[:, inverse[rows]][:, :, inverse])


def test_a_small_control_is_read_once_and_a_large_one_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Red: what was read is held whatever its size; it is read anew each time."""
    values = np.random.default_rng(3).normal(size=(3, 8, 8)).astype(np.float32)
    vertex, n_reads = np.array([0, 1, 2, 3, 4, 5, 5, 1]), 0

    def read() -> Iterator[tuple[int, np.ndarray]]:
        nonlocal n_reads
        n_reads += 1
        yield from in_rows(values, 3)()

    blocks = by_vertex(read, vertex, 6)
    first, again = list(blocks()), list(blocks())
    assert n_reads == 1
    monkeypatch.setattr(controls, "MOST_CACHED", control_bytes(6) - 1)
    streamed = by_vertex(read, vertex, 6)
    other, _ = list(streamed()), list(streamed())
    assert n_reads == 3
    for these in (again, other):
        for (rows, block), (expected_rows, expected) in zip(these, first, strict=True):
            np.testing.assert_array_equal(rows, expected_rows)
            np.testing.assert_array_equal(block, expected)


@pytest.mark.parametrize("genes", [np.arange(N), np.array([0, 5, 6, 20])])
def test_a_category_is_read_with_its_halves(genes: np.ndarray) -> None:
    """Red: halves in the other order; the mean of the halves for all cells."""
    rng = np.random.default_rng(2)
    halves, n_cells = rng.uniform(-1, 1, (2, N, N)), np.full((2, N, N), 40)
    matrix = source(halves, n_cells)
    total = np.full((len(QUANTITIES), N, N), 0.25, np.float32)
    stored = [
        t.__class__(
            t.first, (t.sums / 40).astype(np.float32), t.pairs, total[:, t.first : t.first + t.rows]
        )
        for t in matrix.tiles()
    ]
    matrix = matrix.__class__(lambda: stored, N, (50, 50), 20)
    values = np.concatenate([block for _, block in of_category(matrix, genes)()], axis=1)
    np.testing.assert_allclose(values[:2], halves[:, genes][:, :, genes], atol=1e-6)
    assert (values[2] == 0.25).all()
