"""The reduction equals the written-out reference, whatever the batch, tile, order and split."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.attention import accumulate, cpu_reduce, torch_reduce
from octoscope.attention.accumulate import BatchLayout, Heads, LayerSums, PairCounts, QKBatch
from octoscope.attention.cpu_kernels import _exp
from octoscope.attention.reductions import Reduction, RowBlocks, TorchTiles
from octoscope.attention.views import QUANTITIES
from octoscope.errors import MassError

from tests.attention import reference

MASS = ("kept", "outside", "cls")
WAYS = ["row blocks", "torch", "triton"]


def make(cells: int, heads: int, tokens: int, genes: int, seed: int) -> dict[str, np.ndarray]:
    """Random ragged cells: token 0 is <cls>, some genes lie outside the panel, some are padding."""
    rng = np.random.default_rng(seed)
    q, k = rng.normal(size=(2, cells, heads, tokens, 5)).astype(np.float32)
    panel = np.full((cells, tokens), -1)
    special = np.full((cells, tokens), -1)
    mask = np.zeros((cells, tokens), bool)
    for c in range(cells):
        n = int(rng.integers(2, tokens + 1))
        mask[c, :n] = True
        special[c, 0] = 2
        ids = rng.permutation(genes + 3)[: n - 1]  # the last three ids are outside the panel
        at = np.arange(1, 1 + len(ids))
        panel[c, at] = np.where(ids < genes, ids, -1)
        special[c, at] = np.where(ids < genes, -1, 1)
        mask[c, 1 + len(ids) :] = False
    return {"q": q, "k": k, "mask": mask, "panel": panel, "special": special}


def batch(d: dict[str, np.ndarray], index: np.ndarray, scale: float = 0.4) -> QKBatch:
    return QKBatch(
        torch.from_numpy(d["q"][index]),
        torch.from_numpy(d["k"][index]),
        scale,
        torch.from_numpy(d["mask"][index]),
        BatchLayout(d["panel"][index], d["special"][index]),
    )


def reduce(
    d: dict[str, np.ndarray],
    genes: int,
    tile: int,
    groups: list[list[np.ndarray]],
    heads: tuple[Heads, ...] = ("mean",),
    moments: int = 1,
) -> LayerSums:
    device = torch.device("cpu")
    sums = LayerSums(genes, MASS, tile=tile, device=device, heads=heads, moments=moments)
    for group in groups:
        sums.add([batch(d, part) for part in group])
    return sums


def use(monkeypatch: pytest.MonkeyPatch, way: str, tile: int = 16) -> None:
    """Let sums take another way than the device's own."""
    reduction: Reduction = RowBlocks()
    if way == "torch":
        reduction = TorchTiles(tile)
    if way == "triton":  # in Triton's interpreter
        reduction = pytest.importorskip("octoscope.attention.triton_reduce").TritonTiles("ieee")
    monkeypatch.setattr(accumulate, "reduction_on", lambda *_: reduction)


def close(x: np.ndarray, y: np.ndarray) -> bool:
    """The contract's tolerance: 1e-5 of the mean magnitude, over entries that were summed.

    The floor is for sums of one or two logits that cancel: their terms are of order one.
    """
    covered = np.abs(y[y != 0])
    scale = max(covered.mean() if covered.size else 0.0, 0.05)
    return bool(np.abs(x - y).max(initial=0) <= 1e-5 * scale)


def expected(d: dict[str, np.ndarray], genes: int, heads: Heads = "mean") -> dict[str, np.ndarray]:
    return reference.sums(d["q"], d["k"], 0.4, d["mask"], d["panel"], genes, heads)


@pytest.mark.parametrize("way", ["row blocks", "torch"])
@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 6), st.integers(1, 4), st.integers(2, 14), st.integers(3, 15),
    st.integers(1, 17), st.integers(0, 10_000), st.data(),
)  # fmt: skip
def test_sums_equal_the_reference_for_any_split_order_and_tile(
    way: str, cells: int, heads: int, tokens: int, genes: int, tile: int, seed: int,
    draw: st.DataObject,
) -> None:  # fmt: skip
    d = make(cells, heads, tokens, genes, seed)
    order = np.array(draw.draw(st.permutations(range(cells))))
    cut = draw.draw(st.integers(0, cells))
    groups = [[part] for part in (order[:cut], order[cut:]) if len(part)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu_reduce, "_ROWS", (1, tile))
        patch.setattr(cpu_reduce, "_CELLS", draw.draw(st.sampled_from([1, 8])))  # attended whole
        use(patch, way, tile)
        # one pass gives every reduction over heads, in any order of asking
        reductions: tuple[Heads, ...] = draw.draw(
            st.permutations(["mean", "max", *range(heads)]).map(tuple)
        )
        sums = reduce(d, genes, tile, groups, reductions)
    for r, reduction in enumerate(reductions):
        want = expected(d, genes, reduction)
        for i, name in enumerate(QUANTITIES):
            assert close(sums.sums[r, i].numpy(), want[name]), (reduction, name)
    sums.check_mass("test")
    counts = PairCounts(genes, tile=tile)
    for group in groups:
        counts.add(BatchLayout(d["panel"][group[0]], d["special"][group[0]]))
    assert (counts.counts.numpy() == want["pairs"]).all()


@pytest.mark.parametrize("way", WAYS)
def test_cells_with_every_gene_take_no_scatter_and_agree(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, way)
    rng = np.random.default_rng(4)
    d = make(3, 2, 9, 7, 0)
    d["mask"][:] = True
    d["panel"][:] = np.stack([np.r_[-1, rng.permutation(7), -1] for _ in range(3)])
    d["special"][:] = np.where(d["panel"] < 0, 1, -1)
    d["special"][:, 0] = 2
    sums = reduce(d, 7, 16, [[np.arange(3)]])
    want = expected(d, 7)
    for i, name in enumerate(QUANTITIES):
        assert close(sums.sums[0, i].numpy(), want[name]), name
    # one cell with a token fewer: the same sums through the scatter
    d["mask"][2, 8], d["special"][2, 8] = False, -1
    sums, want = reduce(d, 7, 16, [[np.arange(3)]]), expected(d, 7)
    for i, name in enumerate(QUANTITIES):
        assert close(sums.sums[0, i].numpy(), want[name]), name


@pytest.mark.parametrize("attended_whole", [True, False])
def test_cells_with_every_gene_beside_others_as_long(
    attended_whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # contexts cut to one length, of which some hold nothing but accumulated genes
    rng = np.random.default_rng(5)
    d = make(9, 2, 8, 7, 0)
    d["mask"][:], d["panel"][:], d["special"][:] = True, -1, -1
    d["special"][:, 0] = 2
    for c in range(9):
        genes = rng.permutation(7) if c % 2 else np.r_[rng.permutation(7)[:5], -1, -1]
        d["panel"][c, 1:] = genes
        d["special"][c, 1:][genes < 0] = 1
    monkeypatch.setattr(cpu_reduce, "_CELLS", 8 if attended_whole else 100)
    sums, want = reduce(d, 7, 16, [[np.arange(9)]]), expected(d, 7)
    for i, name in enumerate(QUANTITIES):
        assert close(sums.sums[0, i].numpy(), want[name]), name
    sums.check_mass("test")


@pytest.mark.parametrize("attended_whole", [True, False])
def test_threads_do_not_change_a_bit(attended_whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_reduce, "_CELLS", 1 if attended_whole else 100)
    d = make(6, 4, 60, 70, 1)
    threads, sums = torch.get_num_threads(), []
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cpu_reduce, "_ROWS", (8, 8))
            for n in (1, 2, 3):
                torch.set_num_threads(n)
                sums.append(reduce(d, 70, 16, [[np.arange(6)]]))
    finally:
        torch.set_num_threads(threads)
    for other in sums[1:]:
        assert torch.equal(sums[0].sums, other.sums)
        assert torch.equal(sums[0].mass, other.mass)


def test_exp_is_exact_to_rounding_and_keeps_nan() -> None:
    x = -np.linspace(0, 87, 20_001).astype(np.float32)
    got = np.array([_exp(v) for v in x])
    assert np.abs(got / np.exp(x.astype(float)) - 1).max() < 2e-7
    assert _exp(np.float32(-1e30)) < 2e-38
    assert np.isnan(_exp(np.float32(np.nan)))


@pytest.mark.parametrize("way", ["row blocks", "torch"])
def test_physical_batches_do_not_change_a_bit(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, way)
    d = make(8, 4, 20, 25, 1)
    one = reduce(d, 25, 16, [[np.arange(8)]])
    many = reduce(d, 25, 16, [[np.array([c]) for c in range(8)]])
    assert torch.equal(one.sums, many.sums)
    assert torch.equal(one.mass, many.mass)


@pytest.mark.parametrize("way", ["row blocks", "torch"])
def test_head_chunks_do_not_change_the_result(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    d = make(3, 8, 20, 25, 2)
    whole = reduce(d, 25, 16, [[np.arange(3)]])
    use(monkeypatch, way)
    monkeypatch.setattr(cpu_reduce, "_SCORES", 300)
    monkeypatch.setattr(torch_reduce, "_TILE_ELEMENTS", 300)
    chunked = reduce(d, 25, 16, [[np.arange(3)]])
    assert close(chunked.sums.numpy(), whole.sums.numpy())


@pytest.mark.parametrize("way", WAYS)
def test_fp64_across_micro_batches_keeps_small_terms(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, way)
    # 2**24 + 1 is lost in fp32: many micro-batches of one must still count exactly
    sums = LayerSums(3, MASS, tile=16, device=torch.device("cpu"))
    d = make(1, 1, 4, 3, 0)
    sums.sums[:] = float(2**24)
    before = sums.sums.clone()
    sums.add([batch(d, np.array([0]))])
    gained = (sums.sums - before).numpy()
    want = np.stack([expected(d, 3)[name] for name in QUANTITIES])
    assert np.abs(gained - want).max() < 1e-6


@pytest.mark.parametrize("way", WAYS)
def test_mass_goes_to_kept_outside_and_special(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, way)
    d = make(5, 3, 12, 10, 3)
    sums = reduce(d, 10, 4, [[np.arange(5)]])
    kept = expected(d, 10)["probability"].sum(1)
    assert close(sums.mass[0, :, 0].numpy(), kept)
    assert float(sums.mass[0, :, 2].sum()) > 0
    total = sums.mass[0].sum(1)[sums.cells > 0] / sums.cells[sums.cells > 0]
    assert float((total - 1).abs().max()) < 1e-5


def test_a_key_left_out_of_the_softmax_breaks_the_invariant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    d = make(5, 3, 12, 10, 3)
    use(monkeypatch, "torch")
    whole = torch_reduce._row_lse
    monkeypatch.setattr(torch_reduce, "_row_lse", lambda q, k, *rest: whole(q, k[:, 1:], *rest))
    with pytest.raises(MassError, match=r"attention mass of query gene \d+"):
        reduce(d, 10, 4, [[np.arange(5)]]).check_mass("model m, layer 0")


def test_a_key_left_out_of_the_mass_breaks_the_invariant(monkeypatch: pytest.MonkeyPatch) -> None:
    d = make(5, 3, 12, 10, 3)
    whole = cpu_reduce.add_heads

    def shorter(
        scores: np.ndarray, keys: int, kept: int, ends: np.ndarray, *rest: np.ndarray
    ) -> None:
        whole(scores, keys, kept, np.maximum(ends - 1, kept), *rest)

    monkeypatch.setattr(cpu_reduce, "add_heads", shorter)
    with pytest.raises(MassError, match=r"attention mass of query gene \d+"):
        reduce(d, 10, 4, [[np.arange(5)]]).check_mass("model m, layer 0")


@pytest.mark.parametrize("way", WAYS)
def test_a_key_that_the_layout_does_not_place_is_refused(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, way)
    d = make(5, 3, 12, 10, 3)
    d["special"][2, 0] = -1
    with pytest.raises(ValueError, match="keys are attended to, the layout places"):
        reduce(d, 10, 4, [[np.arange(5)]])


@pytest.mark.parametrize("way", WAYS)
def test_large_scores_keep_the_invariant(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, way)
    rng = np.random.default_rng(0)
    d = {
        "q": 10 * rng.normal(size=(1, 1, 200, 32)).astype(np.float32),
        "k": rng.normal(size=(1, 1, 200, 32)).astype(np.float32),
        "mask": np.ones((1, 200), bool),
        "panel": np.arange(200)[None],
        "special": np.full((1, 200), -1),
    }
    logits = 1.5 * d["q"][0, 0] @ d["k"][0, 0].T
    assert np.abs(logits).max() > 300
    sums = LayerSums(200, MASS, tile=64, device=torch.device("cpu"))
    sums.add([batch(d, np.arange(1), 1.5)])
    sums.check_mass("one cell, one head")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "token"), [("q", slice(None)), ("k", 0), ("k", 1)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(
    way: str, name: str, token: object, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, way)
    d = make(5, 3, 12, 10, 3)
    d[name][2, :, token] = value  # key 0 is a special token: its scores reach no pair
    with pytest.raises(MassError, match="layer 7"):
        reduce(d, 10, 4, [[np.arange(5)]]).check_mass("model m, layer 7")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("head", [0, 1, 2])
def test_one_bad_head_is_not_hidden_by_the_largest(
    way: str, head: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, way)
    d = make(5, 3, 12, 10, 3)
    d["q"][2, head, 1:] = np.nan
    with pytest.raises(MassError, match="layer 7"):
        reduce(d, 10, 4, [[np.arange(5)]], ("max",)).check_mass("model m, layer 7")


@pytest.mark.parametrize("mistake", ["no scale", "sum over heads", "other cells' genes"])
def test_the_reference_catches_mistakes(mistake: str) -> None:
    d = make(4, 3, 12, 10, 5)
    want = expected(d, 10)
    wrong = dict(d)
    scale = 0.4
    if mistake == "no scale":
        scale = 1.0
    elif mistake == "other cells' genes":
        wrong["panel"] = np.where(d["panel"] >= 0, (d["panel"] + 1) % 10, -1)
    sums = LayerSums(10, MASS, tile=4, device=torch.device("cpu"))
    sums.add([batch(wrong, np.arange(4), scale)])
    factor = 3 if mistake == "sum over heads" else 1
    assert not close(factor * sums.sums[0, 0].numpy(), want["probability"])


def two_pass(d: dict[str, np.ndarray], genes: int, heads: Heads) -> np.ndarray:
    """Sum of squared deviations from the mean over the cells that hold each pair, in float64."""
    seen = np.full((len(d["q"]), genes, genes), np.nan)
    for c in range(len(seen)):
        p, _ = reference.cell_attention(d["q"][c], d["k"][c], 0.4, d["mask"][c], heads)
        at = np.flatnonzero(d["mask"][c] & (d["panel"][c] >= 0))
        seen[c][np.ix_(d["panel"][c][at], d["panel"][c][at])] = p[np.ix_(at, at)]
    n_cells = np.maximum((~np.isnan(seen)).sum(0), 1)
    mean = np.nansum(seen, 0) / n_cells
    return np.nansum((seen - mean) ** 2, 0)


def alike(d: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Let every cell hold the same tokens and nearly the same attention: CV about 1e-3."""
    rng = np.random.default_rng(seed)
    d = {name: np.repeat(x[:1], len(x), 0) for name, x in d.items()}
    for name in ("q", "k"):
        d[name] = d[name] * (1 + 1e-3 * rng.normal(size=d[name].shape)).astype(np.float32)
    return d


@pytest.mark.parametrize("way", ["row blocks", "torch"])
@pytest.mark.parametrize("steady", [False, True])
def test_spread_equals_two_passes(way: str, steady: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, way, 8)

    @settings(max_examples=15, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.integers(3, 24), st.integers(1, 9))
    def check(seed: int, genes: int, micro: int) -> None:
        d = make(11, 3, 20, genes, seed)
        if steady:
            d = alike(d, seed)
        order = np.random.default_rng(seed).permutation(11)
        groups = [[order[i : i + micro]] for i in range(0, 11, micro)]
        heads: tuple[Heads, ...] = ("mean", "max", 1)
        sums = reduce(d, genes, 16, groups, heads, moments=2)
        plain = reduce(d, genes, 16, groups, heads)
        assert close(sums.sums.numpy(), plain.sums.numpy())
        assert sums.spread is not None
        for r, reduction in enumerate(heads):
            want = two_pass(d, genes, reduction)
            got = sums.spread[r].numpy()
            assert (got >= 0).all()
            # fp32 scores move a probability by 1e-7 or so: of a deviation of 1e-3, a thousandth
            np.testing.assert_allclose(got, want, rtol=2e-3, atol=1e-12)

    check()
