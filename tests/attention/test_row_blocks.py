"""Rows of genes added on their own have the bits that they have among all rows."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.attention import cpu_reduce, torch_reduce
from octoscope.attention.accumulate import BatchLayout, Heads, LayerSums, PairCounts
from octoscope.attention.reductions import Reduction, RowBlocks, TorchTiles
from octoscope.errors import MassError

from tests.attention.test_accumulate import MASS, batch, make

CPU = torch.device("cpu")
TILE = 4
WAYS = ["row blocks", "torch", "triton"]


def reduction_of(way: str, tile: int) -> Reduction:
    if way == "triton":  # in Triton's interpreter
        reduction: Reduction = pytest.importorskip("octoscope.attention.triton_reduce").TritonTiles(
            "ieee"
        )
        return reduction
    return RowBlocks() if way == "row blocks" else TorchTiles(tile)


def summed(
    d: dict[str, np.ndarray],
    genes: int,
    micro: int,
    way: str,
    rows: tuple[int, int],
    *,
    tile: int = TILE,
    **more: Any,
) -> LayerSums:
    chosen = reduction_of(way, tile)
    sums = LayerSums(genes, MASS, tile=tile, device=CPU, reduction=chosen, rows=rows, **more)
    for at in range(0, len(d["q"]), micro):
        sums.add([batch(d, np.arange(at, min(at + micro, len(d["q"]))))])
    return sums


def require_same_bits(
    d: dict[str, np.ndarray], genes: int, micro: int, way: str, edges: list[int], **more: Any
) -> None:
    whole = summed(d, genes, micro, way, (0, genes), **more)
    for rows in pairwise(edges):
        part, here = summed(d, genes, micro, way, rows, **more), slice(*rows)
        assert torch.equal(part.sums, whole.sums[:, :, here])
        assert torch.equal(part.mass, whole.mass[:, here])
        assert torch.equal(part.cells, whole.cells[here])
        if part.spread is not None and whole.spread is not None:
            assert torch.equal(part.spread, whole.spread[:, here])
        part.check_mass("test")


@pytest.mark.parametrize("way", ["row blocks", "torch"])
@pytest.mark.parametrize("moments", [1, 2])
@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 9), st.integers(1, 3), st.integers(2, 30), st.integers(3, 40),
    st.integers(1, 9), st.integers(0, 10_000), st.data(),
)  # fmt: skip
def test_rows_on_their_own_have_the_same_bits(
    way: str, moments: int, cells: int, heads: int, tokens: int, genes: int, micro: int,
    seed: int, draw: st.DataObject,
) -> None:  # fmt: skip
    d = make(cells, heads, tokens, genes, seed)
    cuts = draw.draw(st.lists(st.integers(1, max(1, (genes - 1) // TILE)), max_size=3))
    edges = sorted({0, genes, *(c * TILE for c in cuts if c * TILE < genes)})
    reductions: tuple[Heads, ...] = draw.draw(
        st.sampled_from([("mean",), ("max", "mean", 0), (0, "max")])
    )
    with pytest.MonkeyPatch.context() as patch:
        # blocks and their parts end anywhere in the rows, and some are added piece by piece
        patch.setattr(cpu_reduce, "_ROWS", (1, draw.draw(st.sampled_from([3, 8, 1024]))))
        patch.setattr(cpu_reduce, "_CELLS", draw.draw(st.sampled_from([1, 100])))
        patch.setattr(torch_reduce, "_TILE_ELEMENTS", draw.draw(st.sampled_from([20, 1 << 20])))
        require_same_bits(d, genes, micro, way, edges, heads=reductions, moments=moments)
        if way == "row blocks":
            whole = summed(d, genes, micro, way, (0, genes), heads=reductions, moments=moments)
            patch.setattr(cpu_reduce, "_SUMS", 1000)
            pieces = summed(d, genes, micro, way, (0, genes), heads=reductions, moments=moments)
            assert torch.equal(pieces.sums, whole.sums)
            assert torch.equal(pieces.mass, whole.mass)


@pytest.mark.parametrize("way", ["row blocks", "torch", "logits"])
@pytest.mark.parametrize("every", [True, False], ids=["whole cells", "ragged cells"])
def test_products_as_large_as_real_ones_have_the_same_bits(way: str, every: bool) -> None:
    """Sizes at which libraries choose other kernels: 300 tokens, and wide inner dimensions."""
    rng = np.random.default_rng(1)
    cells = 2 if way == "torch" else 8  # so many are attended as whole cells first, where ragged
    d = make(cells, 4, 300, 290, 2)
    d["q"], d["k"] = rng.normal(size=(2, cells, 4, 300, 64)).astype(np.float32) / 4
    if every:
        d["mask"][:], d["special"][:] = True, -1
        d["panel"][:] = [rng.permutation(np.r_[np.arange(290), np.full(10, -1)]) for _ in d["q"]]
        d["special"][d["panel"] < 0] = 1
    edges, logits = [0, 64, 192, 290], way == "logits"
    way = "row blocks" if logits else way
    require_same_bits(d, 290, 8, way, edges, tile=64, logits_alone=logits)


@pytest.mark.parametrize("every", [True, False], ids=["whole cells", "ragged cells"])
@pytest.mark.parametrize("logits_alone", [False, True], ids=["all", "logits"])
def test_kernels_of_gpus_give_rows_the_same_bits(
    every: bool, logits_alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Triton's interpreter, with rows that begin and end inside of the kernels' tiles."""
    triton_reduce = pytest.importorskip("octoscope.attention.triton_reduce")
    small = triton_reduce.Blocks(16, 16, 4, 1)
    monkeypatch.setattr(triton_reduce, "ROW_BLOCKS", small)
    monkeypatch.setattr(triton_reduce, "blocks_of", lambda *_, **__: (small, small))
    d = make(2, 2, 43, 40, 4)
    if every:
        d["mask"][:], d["special"][:] = True, -1
        d["panel"][:] = [np.r_[np.arange(40), -1, -1, -1] for _ in d["q"]]
        d["special"][d["panel"] < 0] = 1
    more = {"logits_alone": True} if logits_alone else {"heads": ("mean", "max"), "moments": 2}
    require_same_bits(d, 40, 2, "triton", [0, 20, 40], **more)


def test_counts_of_pairs_by_rows_are_those_of_all() -> None:
    d = make(7, 1, 30, 33, 3)
    layout = BatchLayout(d["panel"], d["special"])
    whole = PairCounts(33, tile=4)
    whole.add(layout)
    for rows in ((0, 8), (8, 12), (12, 33)):
        part = PairCounts(33, tile=4, rows=rows)
        part.add(layout)
        part.add(layout)
        assert torch.equal(part.counts, 2 * whole.counts[slice(*rows)])


def test_rows_that_are_no_whole_tiles_are_refused() -> None:
    for rows in ((1, 8), (0, 6), (8, 8), (0, 24)):
        with pytest.raises(ValueError, match="no whole tiles of 4"):
            LayerSums(21, MASS, tile=4, device=CPU, rows=rows)
    LayerSums(21, MASS, tile=4, device=CPU, rows=(16, 21))


def test_a_lost_mass_names_the_gene_of_the_model_not_of_the_block() -> None:
    d = make(3, 1, 20, 12, 5)
    part = summed(d, 12, 3, "torch", (8, 12))
    part.mass[0, 2] = 0
    with pytest.raises(MassError, match="query gene 10 is 0 per cell"):
        part.check_mass("test")
