"""The reduction by Triton kernels, in Triton's interpreter, against the written-out reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from octoscope.attention.accumulate import BatchLayout, Heads, LayerSums, QKBatch
from octoscope.attention.packed_tokens import PackedTokens
from octoscope.attention.reductions import Reduction, RowBlocks
from octoscope.attention.views import QUANTITIES
from octoscope.errors import MassError

from tests.attention.test_accumulate import MASS, batch, close, expected, make, two_pass

pytest.importorskip("triton", reason="Triton is not installed (octoscope[triton])")
from octoscope.attention import triton_reduce
from octoscope.attention.triton_reduce import Blocks, TritonTiles, tile_genes

CPU = torch.device("cpu")
# blocks of the interpreter's sizes, so that a few tokens are several of them
SMALL = Blocks(16, 16, 4, 1)


def reduce(
    d: dict[str, np.ndarray],
    genes: int,
    groups: list[np.ndarray],
    heads: tuple[Heads, ...] = ("mean",),
    moments: int = 1,
    way: Reduction | None = None,
    *,
    logits: bool = False,
) -> LayerSums:
    sums = LayerSums(
        genes, MASS, tile=16, device=CPU, heads=heads, moments=moments, logits_alone=logits,
        reduction=way or TritonTiles("ieee"),
    )  # fmt: skip
    for cells in groups:
        sums.add([batch(d, cells)])
    return sums


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_reduce, "ROW_BLOCKS", SMALL)
    monkeypatch.setattr(triton_reduce, "PEAK_BLOCKS", SMALL)
    monkeypatch.setattr(triton_reduce, "blocks_of", lambda *_, **__: (SMALL, SMALL))


def every_gene(cells: int, heads: int, genes: int, seed: int) -> dict[str, np.ndarray]:
    """Cells that hold every gene and as many others, each in an order of its own."""
    d, rng = make(cells, heads, genes + 3, genes, seed), np.random.default_rng(seed)
    d["mask"][:] = True
    d["panel"][:] = [rng.permutation(np.r_[np.arange(genes), -1, -1, -1]) for _ in range(cells)]
    for special, panel in zip(d["special"], d["panel"], strict=True):
        special[:] = -1
        special[panel < 0] = [1, 1, 2]
    return d


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("reduction", ["mean", "max", 0])
@pytest.mark.parametrize("whole", [True, False])
# the interpreter is slow: a failure is told as it was found
@settings(max_examples=3, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(2, 24), st.integers(3, 20),
    st.integers(0, 10_000), st.data(),
)  # fmt: skip
def test_sums_equal_the_reference(
    whole: bool, reduction: Heads, cells: int, heads: int, tokens: int, genes: int, seed: int,
    draw: st.DataObject,
) -> None:  # fmt: skip
    d = every_gene(cells, heads, genes, seed) if whole else make(cells, heads, tokens, genes, seed)
    cut = draw.draw(st.integers(0, cells))
    groups = [part for part in (np.arange(cut), np.arange(cut, cells)) if len(part)]
    sums, want = reduce(d, genes, groups, (reduction,)), expected(d, genes, reduction)
    for i, name in enumerate(QUANTITIES):
        assert close(sums.sums[0, i].numpy(), want[name]), name
    others = reduce(d, genes, groups, (reduction,), way=RowBlocks())
    np.testing.assert_allclose(sums.mass.numpy(), others.mass.numpy(), rtol=1e-5, atol=1e-6)
    assert torch.equal(sums.cells, others.cells)
    sums.check_mass("test")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("whole", [True, False])
def test_spread_equals_two_passes_for_every_reduction(whole: bool) -> None:
    d = every_gene(3, 2, 17, 3) if whole else make(3, 2, 20, 17, 3)
    heads: tuple[Heads, ...] = ("mean", "max", 1)
    sums = reduce(d, 17, [np.arange(2), np.arange(2, 3)], heads, moments=2)
    assert sums.spread is not None
    for r, reduction in enumerate(heads):
        want = two_pass(d, 17, reduction)
        np.testing.assert_allclose(sums.spread[r].numpy(), want, rtol=2e-3, atol=1e-12)
        assert close(sums.sums[r, 0].numpy(), expected(d, 17, reduction)["probability"])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("whole", [True, False])
def test_logits_alone_are_one_product(whole: bool) -> None:
    d = every_gene(3, 2, 18, 5) if whole else make(3, 2, 20, 18, 5)
    sums = reduce(d, 18, [np.arange(2), np.arange(2, 3)], ("mean", 1), logits=True)
    for r, reduction in enumerate(("mean", 1)):
        assert close(sums.sums[r, 2].numpy(), expected(d, 18, reduction)["logit"])
    assert not sums.sums[:, :2].any()
    assert not sums.mass.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_of_a_model_is_multiplied_exactly(dtype: torch.dtype) -> None:
    d = make(2, 2, 9, 8, 1)
    exact = {name: torch.from_numpy(d[name]).to(dtype) for name in "qk"}
    rounded = d | {name: x.float().numpy() for name, x in exact.items()}
    sums = LayerSums(8, MASS, tile=16, device=CPU, reduction=TritonTiles())
    layout = BatchLayout(d["panel"], d["special"])
    sums.add([QKBatch(exact["q"], exact["k"], 0.4, torch.from_numpy(d["mask"]), layout)])
    want = expected(rounded, 8)
    for i, name in enumerate(QUANTITIES):
        assert close(sums.sums[0, i].numpy(), want[name]), name


def test_bf16_is_what_was_asked_for() -> None:
    d = make(2, 2, 9, 8, 1)
    sums = reduce(d, 8, [np.arange(2)], way=TritonTiles("bf16"))
    rounded = d | {n: torch.from_numpy(d[n]).bfloat16().float().numpy() for n in "qk"}
    assert close(sums.sums[0, 0].numpy(), expected(rounded, 8)["probability"])
    assert not close(sums.sums[0, 0].numpy(), expected(d, 8)["probability"])
    sums.check_mass("rows still total one")


def rounded(x: np.ndarray, bits: int) -> np.ndarray:
    """Round float32 to the nearest with so many bits after the first, as cvt.rna does."""
    drop = 23 - bits
    whole = x.astype(np.float32).view(np.uint32) + np.uint32(1 << (drop - 1))
    return (whole & ~np.uint32((1 << drop) - 1)).view(np.float32)


def test_errors_of_products_are_those_that_the_setting_states() -> None:
    """Tensor cores' arithmetic written out: the interpreter multiplies in float32."""
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2, 400, 64)).astype(np.float32)
    exact = q.astype(np.float64) @ k.astype(np.float64).T
    size = np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(k, axis=1)
    (q1, q2), (k1, k2) = ((rounded(x, 10), rounded(x - rounded(x, 10), 10)) for x in (q, k))
    three = q1 @ k1.T + (q1 @ k2.T + q2 @ k1.T)
    one = rounded(q, 7) @ rounded(k, 7).T
    assert (np.abs(three - exact) / size).max() < 1e-6
    assert 1e-6 < (np.abs(one - exact) / size).max() < 1e-2
    # of a probability: the default where scores are of order one
    p, true = (np.exp(x / 8) / np.exp(x / 8).sum(1, keepdims=True) for x in (three, exact))
    assert np.abs(p / true - 1).max() < 2e-6


def test_cells_without_a_gene_and_empty_tiles_add_nothing() -> None:
    d = make(4, 2, 6, 5, 2)
    d["panel"][1] = -1  # only keys outside the panel
    d["special"][1] = np.where(d["mask"][1], 1, -1)
    wide = 200  # far more genes than any cell holds: most tiles are empty
    sums, want = reduce(d, wide, [np.arange(4)]), expected(d, wide)
    for i, name in enumerate(QUANTITIES):
        assert close(sums.sums[0, i].numpy(), want[name]), name
    empty = d | {"panel": np.full_like(d["panel"], -1)}
    empty["special"] = np.where(d["mask"], 1, -1)
    sums = reduce(empty, 5, [np.arange(4)])
    assert not sums.sums.any()
    assert not sums.cells.any()


@pytest.mark.parametrize("whole", [True, False])
def test_scheduling_does_not_change_a_bit(whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    d = every_gene(2, 2, 17, 4) if whole else make(2, 2, 20, 17, 4)
    monkeypatch.setattr(triton_reduce, "blocks_of", lambda *_, **__: (SMALL, SMALL))
    once = reduce(d, 17, [np.arange(2)])
    # physical batches of one cell, as after halving for memory
    parts = [batch(d, np.array([c])) for c in range(2)]
    other = LayerSums(17, MASS, tile=16, device=CPU, reduction=TritonTiles("ieee"))
    other.add(parts)
    assert torch.equal(once.sums, other.sums)
    assert torch.equal(once.mass, other.mass)


@pytest.mark.parametrize("whole", [True, False])
def test_a_key_left_out_of_the_softmax_breaks_the_invariant(
    whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    d = every_gene(2, 2, 10, 3) if whole else make(2, 2, 12, 10, 3)
    reduce(d, 10, [np.arange(2)]).check_mass("sound")
    rows = triton_reduce._MicroBatch._row_sums

    def fewer(self: triton_reduce._MicroBatch) -> tuple[torch.Tensor, ...]:
        self._ends[:: self._columns] -= 1
        sums = rows(self)
        self._ends[:: self._columns] += 1
        return sums

    monkeypatch.setattr(triton_reduce._MicroBatch, "_row_sums", fewer)
    with pytest.raises(MassError, match=r"attention mass of query gene \d+"):
        reduce(d, 10, [np.arange(2)]).check_mass("model m, layer 0")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("head", [0, 1])
def test_one_head_that_is_not_a_number_spreads_to_the_largest(whole: bool, head: int) -> None:
    """Red: a largest that passes over NaN keeps the other head, and its rows total one."""
    d = every_gene(2, 2, 10, 3) if whole else make(2, 2, 12, 10, 3)
    gene = 4
    cell, token = np.argwhere(d["panel"] == gene)[0]
    d["q"][cell, head, token] = np.nan
    sums = reduce(d, 10, [np.arange(2)], ("max", "mean"))
    own = d["panel"][cell][d["panel"][cell] >= 0]
    for r, reduction in enumerate(("max", "mean")):
        for i, name in enumerate(QUANTITIES):
            at = sums.sums[r, i, gene, torch.from_numpy(own)]
            assert bool(at.isnan().all()), (reduction, name)
        assert bool(sums.mass[r, gene, 0].isnan()), reduction
        others = np.delete(np.arange(10), gene)
        assert bool(sums.sums[r, :, others].isfinite().all())
    with pytest.raises(MassError, match=f"query gene {gene} is nan"):
        sums.check_mass("model m, layer 0")


def test_tiles_hold_about_a_block_of_each_cell() -> None:
    assert tile_genes(20_000, 2_000, Blocks(64, 32, 8, 2)) == 640
    assert tile_genes(500, 500, Blocks(64, 32, 8, 2)) == 64
    assert tile_genes(40, 2, Blocks(64, 32, 8, 2)) == 40  # never more than there are


def test_scales_that_differ_are_refused() -> None:
    d = make(2, 1, 6, 5, 0)
    parts = [batch(d, np.array([c]), 0.1 * (c + 1)) for c in range(2)]
    with pytest.raises(ValueError, match="one scale"):
        PackedTokens.of(parts, len(MASS))


def test_packed_tokens_are_in_gene_order_then_by_column() -> None:
    d = make(5, 2, 12, 10, 3)
    packed = PackedTokens.of([batch(d, np.arange(2)), batch(d, np.arange(2, 5))], len(MASS))
    assert packed is not None
    for c in range(5):
        mine = slice(packed.first_query[c], packed.first_query[c + 1])
        positions = np.flatnonzero(d["panel"][c] >= 0)
        order = positions[np.argsort(d["panel"][c][positions])]
        assert (packed.genes[mine] == d["panel"][c][order]).all()
        assert np.array_equal(packed.q[mine].numpy(), d["q"][c][:, order].transpose(1, 0, 2))
        keys = packed.k[packed.first_key[c] : packed.first_key[c + 1]].numpy()
        rest = [np.flatnonzero(d["special"][c] == s) for s in (1, 2)]
        at = np.concatenate([order, *rest])
        assert np.array_equal(keys, d["k"][c][:, at].transpose(1, 0, 2))
        assert packed.ends[c].tolist() == np.cumsum([len(x) for x in (positions, *rest)]).tolist()
