"""Combined layers against dense arithmetic, cached and read."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from octoscope.analysis.derived_views import DerivedViews
from octoscope.analysis.layer_consensus import CachedMatrix, LayerConsensus

from tests.analysis.matrices import N, dense, some, source


@pytest.mark.parametrize("how", ["sum", "max", "absolute-argmax"])
def test_combined_layers(how: str) -> None:
    _, pairs = some(0)
    layers = {y: some(y + 1)[0] for y in (0, 3, 5)}
    genes = np.sort(np.random.default_rng(0).choice(N, 15, replace=False))
    one = LayerConsensus({y: source(h, pairs) for y, h in layers.items()}, how)  # type: ignore[arg-type]
    grid = np.ix_(genes, genes)

    def combined(stack: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = np.argmax(np.abs(stack) if how == "absolute-argmax" else stack, 0)
        best = np.take_along_axis(stack, at[None], 0)[0]
        return (stack.sum(0) if how == "sum" else best), np.array([0, 3, 5])[at]

    total = np.stack([(h * pairs).sum(0) / pairs.sum(0) for h in layers.values()])
    want, layer = combined(total)
    got, eligible = dense(one.values(genes, "conditional"))
    assert np.allclose(got, want[grid], atol=1e-5)
    assert eligible.all()
    for h in (0, 1):
        want_half, _ = combined(np.stack([v[h] for v in layers.values()]))
        got_half = np.concatenate([b[1 + h] for b in one.halves(genes, "conditional")])
        assert np.allclose(got_half, want_half[grid], atol=1e-5)
        _, looked = one.values_at(genes, "conditional", np.array([0, 4]), np.array([2, 9]))
        assert np.allclose(looked[h], want_half[grid][[0, 4], [2, 9]], atol=1e-5)
    winner = one.winning_layer(genes, "conditional", np.array([0, 4, 7]), np.array([2, 9, 1]))
    assert winner.tolist() == layer[grid][[0, 4, 7], [2, 9, 1]].tolist()


def test_the_first_of_equal_layers_wins_and_signs_stay() -> None:
    _, pairs = some(0)
    up, down = np.full((2, N, N), 2.0), np.full((2, N, N), -2.0)
    one = LayerConsensus({4: source(down, pairs), 7: source(up, pairs)}, "absolute-argmax")
    genes = np.arange(N)
    assert np.allclose(dense(one.values(genes, "conditional"))[0], -2)
    assert one.winning_layer(genes, "conditional", np.array([1]), np.array([2])).tolist() == [4]


@pytest.mark.parametrize("how", ["sum", "max", "absolute-argmax"])
def test_what_is_kept_is_what_was_read(how: str) -> None:
    _, pairs = some(0)
    pairs[1, :6] = 0  # a half without cells
    genes = np.arange(0, N, 2)
    query, key = np.divmod(np.arange(len(genes) ** 2), len(genes))
    layers = {y: DerivedViews(source(some(y + 1)[0], pairs)) for y in (0, 3, 5)}
    matrix = LayerConsensus(layers, how)  # type: ignore[arg-type]
    for most in (10**6, 10):
        kept = CachedMatrix(matrix, most)
        for view in ("conditional.centred", "lift", "conditional.centred"):
            for _ in range(2):
                for read in ("values", "halves"):
                    blocks = (list(getattr(m, read)(genes, view)) for m in (kept, matrix))
                    for one, two in zip(*blocks, strict=True):
                        assert one[0] == two[0]
                        for x, y in zip(one[1:], two[1:], strict=True):
                            assert x.dtype == y.dtype
                            np.testing.assert_array_equal(x, y)
                query_of = genes, view, query, key
                np.testing.assert_array_equal(
                    kept.winning_layer(*query_of), matrix.winning_layer(*query_of)
                )
                for x, y in zip(
                    kept.values_at(*query_of), matrix.values_at(*query_of), strict=True
                ):
                    np.testing.assert_array_equal(x, y)
                blank = np.isnan(kept.values_at(*query_of)[1])
                assert not blank[0].any()
                assert (blank[1] == (query < 3)).all()


def test_kept_layers_are_open_one_after_the_other() -> None:
    _, pairs = some(0)
    halves = {y: some(y + 1)[0] for y in range(5)}
    alive: weakref.WeakSet[DerivedViews] = weakref.WeakSet()
    most = []

    class Opened(Mapping[int, DerivedViews]):
        def __getitem__(self, layer: int) -> DerivedViews:
            alive.add(views := DerivedViews(source(halves[layer], pairs)))
            gc.collect()
            most.append(len(alive))
            return views

        def __iter__(self) -> Iterator[int]:
            return iter(halves)

        def __len__(self) -> int:
            return len(halves)

    kept = CachedMatrix(LayerConsensus(Opened(), "absolute-argmax"), 10**6)
    genes = np.arange(N)
    for read in (kept.values, kept.halves):
        for _ in range(2):
            list(read(genes, "lift"))
    query, key = np.array([0, 3]), np.array([1, 4])
    kept.winning_layer(genes, "lift", query, key)
    assert len(most) == 1 + 2 * 5  # each layer once a table, not once a pass
    kept.values_at(genes, "lift", query, key)
    assert len(most) == 2 + 2 * 5  # and one that tells the cells
    assert max(most) <= 2  # the next one, while this one goes
