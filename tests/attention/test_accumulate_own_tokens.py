"""Cells with tokens of their own: equal to a dense masked reduction; noise pairs do not rank."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.attention.accumulate import BatchLayout, LayerSums, PairCounts, QKBatch
from octoscope.attention.topk import TopK
from octoscope.attention.views import QUANTITIES, one_view, quantity_of
from octoscope.config.view_names import default_min_cells

MASS = ("kept",)


def reduce(q: np.ndarray, k: np.ndarray, panel: np.ndarray, genes: int, tile: int) -> tuple:
    mask = panel >= 0
    layout = BatchLayout(panel, np.full(panel.shape, -1))
    part = QKBatch(*(torch.from_numpy(x) for x in (q, k)), 0.3, torch.from_numpy(mask), layout)
    sums = LayerSums(genes, MASS, tile=tile, device=torch.device("cpu"))
    sums.add([part])
    pairs = PairCounts(genes, tile=tile)
    pairs.add(layout)
    return sums, pairs.counts.numpy()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(3, 24), st.integers(2, 30),
       st.integers(0, 10_000))  # fmt: skip
def test_ragged_equals_dense_masked(
    cells: int, heads: int, genes: int, tile: int, seed: int
) -> None:
    """One token per expressed gene in any order, against every gene as a token, others masked."""
    rng = np.random.default_rng(seed)
    q, k = rng.normal(size=(2, cells, heads, genes, 4)).astype(np.float32)
    present = rng.random((cells, genes)) < 0.6
    present[:, rng.integers(genes)] = True
    dense, dense_pairs = reduce(q, k, np.where(present, np.arange(genes), -1), genes, tile)
    width = int(present.sum(1).max())
    panel = np.full((cells, width), -1)
    rq, rk = np.zeros((2, cells, heads, width, 4), np.float32)
    for c in range(cells):
        at = rng.permutation(np.flatnonzero(present[c]))  # ranked families have no gene order
        panel[c, : len(at)] = at
        rq[c, :, : len(at)], rk[c, :, : len(at)] = q[c][:, at], k[c][:, at]
    ragged, ragged_pairs = reduce(rq, rk, panel, genes, tile)
    assert (ragged_pairs == dense_pairs).all()
    for i, name in enumerate(QUANTITIES):
        scale = max(float(dense.sums[0, i].abs().mean()), 0.05)
        assert float((ragged.sums[0, i] - dense.sums[0, i]).abs().max()) <= 1e-5 * scale, name
    assert torch.equal(ragged.cells, dense.cells)
    ragged.check_mass("ragged")


def planted(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, set[tuple[int, int]]]:
    """400 cells of 160 genes. 40 common genes, 20 planted pairs among them; 120 genes are rare.

    Every cell adds noise of its own to q, so a pair seen in two cells has a very noisy mean.
    """
    rng = np.random.default_rng(seed)
    cells, genes, common, d = 400, 160, 40, 48
    chance = np.r_[np.full(common, 0.8), np.full(genes - common, 0.03)]
    pairs = {(i, common // 2 + i) for i in range(common // 2)}
    query, key = 0.3 * rng.normal(size=(2, genes, d))
    for at, (i, j) in enumerate(sorted(pairs)):
        query[i, at] += 2.5
        key[j, at] += 2.5
    present = rng.random((cells, genes)) < chance
    width = int(present.sum(1).max())
    panel = np.full((cells, width), -1)
    q, k = np.zeros((2, cells, 1, width, d), np.float32)
    for c in range(cells):
        at = rng.permutation(np.flatnonzero(present[c]))
        n = len(at)
        panel[c, :n] = at
        q[c, 0, :n] = query[at] + 1.2 * rng.normal(size=(n, d))
        k[c, 0, :n] = key[at] + 0.3 * rng.normal(size=(n, d))
    return q, k, panel, pairs


def top(sums: LayerSums, pairs: np.ndarray, view: str, floor: int, k: int) -> list:
    values = one_view(sums.sums[0].numpy()[quantity_of(view)], pairs, 400, view)
    kept = TopK(k)
    kept.update(0, values, pairs >= floor)
    top = kept.result()
    return list(zip(top.query.tolist(), top.key.tolist(), strict=True))


@pytest.mark.parametrize("view", ["conditional", "lift"])
def test_noise_pairs_with_little_support_do_not_reach_the_top(view: str) -> None:
    q, k, panel, true = planted()
    sums, pairs = reduce(q, k, panel, 160, 64)
    ranked = top(sums, pairs, view, default_min_cells(400), 20)
    assert len(set(ranked) & true) >= 19
    # what the floor guards against, shown once: without it, noise comes first
    unguarded = top(sums, pairs, view, 1, 20)
    weak = sum(pairs[i, j] <= 3 for i, j in unguarded)
    assert weak >= 10
    assert len(set(unguarded) & true) < 10


def test_the_marginal_view_needs_no_floor() -> None:
    # absent pairs count 0, so a pair of two cells cannot have a large mean over 400
    q, k, panel, true = planted(1)
    sums, pairs = reduce(q, k, panel, 160, 64)
    assert len(set(top(sums, pairs, "marginal", 1, 20)) & true) >= 18
