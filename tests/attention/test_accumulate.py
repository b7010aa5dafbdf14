"""The reduction equals the written-out reference, whatever the batch, tile, order and split."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.attention import accumulate, reference
from engine.attention.accumulate import BatchLayout, LayerSums, PairCounts, QKBatch
from engine.attention.views import QUANTITIES
from engine.errors import MassError

MASS = ("kept", "outside", "cls")


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
    d: dict[str, np.ndarray], genes: int, tile: int, groups: list[list[np.ndarray]]
) -> LayerSums:
    sums = LayerSums(genes, MASS, tile=tile, device=torch.device("cpu"))
    for group in groups:
        sums.add([batch(d, part) for part in group])
    return sums


def close(x: np.ndarray, y: np.ndarray) -> bool:
    """The contract's tolerance: 1e-5 of the mean magnitude, over entries that were summed.

    The floor is for sums of one or two logits that cancel: their terms are of order one.
    """
    covered = np.abs(y[y != 0])
    scale = max(covered.mean() if covered.size else 0.0, 0.05)
    return bool(np.abs(x - y).max(initial=0) <= 1e-5 * scale)


def expected(d: dict[str, np.ndarray], genes: int) -> dict[str, np.ndarray]:
    return reference.sums(d["q"], d["k"], 0.4, d["mask"], d["panel"], genes)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 6), st.integers(1, 4), st.integers(2, 14), st.integers(3, 15),
    st.integers(1, 17), st.integers(0, 10_000), st.data(),
)  # fmt: skip
def test_sums_equal_the_reference_for_any_split_order_and_tile(
    cells: int, heads: int, tokens: int, genes: int, tile: int, seed: int, draw: st.DataObject
) -> None:
    d = make(cells, heads, tokens, genes, seed)
    order = np.array(draw.draw(st.permutations(range(cells))))
    cut = draw.draw(st.integers(0, cells))
    groups = [[part] for part in (order[:cut], order[cut:]) if len(part)]
    sums = reduce(d, genes, tile, groups)
    want = expected(d, genes)
    for i, name in enumerate(QUANTITIES):
        assert close(sums.sums[i].numpy(), want[name]), name
    sums.check_mass("test")
    counts = PairCounts(genes, tile=tile)
    for group in groups:
        counts.add(BatchLayout(d["panel"][group[0]], d["special"][group[0]]))
    assert (counts.counts.numpy() == want["pairs"]).all()


def test_physical_batches_do_not_change_a_bit() -> None:
    d = make(8, 4, 20, 25, 1)
    one = reduce(d, 25, 16, [[np.arange(8)]])
    many = reduce(d, 25, 16, [[np.array([c]) for c in range(8)]])
    assert torch.equal(one.sums, many.sums)
    assert torch.equal(one.mass, many.mass)


def test_head_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    d = make(3, 8, 20, 25, 2)
    whole = reduce(d, 25, 16, [[np.arange(3)]])
    monkeypatch.setattr(accumulate, "_TILE_ELEMENTS", 300)
    chunked = reduce(d, 25, 16, [[np.arange(3)]])
    assert close(chunked.sums.numpy(), whole.sums.numpy())


def test_fp64_across_micro_batches_keeps_small_terms() -> None:
    # 2**24 + 1 is lost in fp32: many micro-batches of one must still count exactly
    sums = LayerSums(3, MASS, tile=16, device=torch.device("cpu"))
    d = make(1, 1, 4, 3, 0)
    sums.sums[:] = float(2**24)
    before = sums.sums.clone()
    sums.add([batch(d, np.array([0]))])
    gained = (sums.sums - before).numpy()
    want = np.stack([expected(d, 3)[name] for name in QUANTITIES])
    assert np.abs(gained - want).max() < 1e-6


def test_mass_goes_to_kept_outside_and_special() -> None:
    d = make(5, 3, 12, 10, 3)
    sums = reduce(d, 10, 4, [[np.arange(5)]])
    kept = expected(d, 10)["probability"].sum(1)
    assert close(sums.mass[:, 0].numpy(), kept)
    assert float(sums.mass[:, 2].sum()) > 0
    total = sums.mass.sum(1)[sums.cells > 0] / sums.cells[sums.cells > 0]
    assert float((total - 1).abs().max()) < 1e-5


def test_a_key_left_out_of_the_softmax_breaks_the_invariant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    d = make(5, 3, 12, 10, 3)
    whole = accumulate._row_lse
    monkeypatch.setattr(accumulate, "_row_lse", lambda q, k, tile: whole(q, k[:, 1:], tile))
    with pytest.raises(MassError, match=r"attention mass of query gene \d+"):
        reduce(d, 10, 4, [[np.arange(5)]]).check_mass("model m, layer 0")


def test_large_scores_keep_the_invariant() -> None:
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


def test_nan_in_q_is_refused() -> None:
    d = make(5, 3, 12, 10, 3)
    d["q"][2] = np.nan
    with pytest.raises(MassError, match="layer 7"):
        reduce(d, 10, 4, [[np.arange(5)]]).check_mass("model m, layer 7")


@pytest.mark.parametrize("mistake", ["no scale", "sum over heads", "mask ignored"])
def test_the_reference_catches_mistakes(mistake: str) -> None:
    d = make(4, 3, 12, 10, 5)
    want = expected(d, 10)
    wrong = dict(d)
    scale = 0.4
    if mistake == "no scale":
        scale = 1.0
    elif mistake == "mask ignored":
        wrong["mask"] = np.ones_like(d["mask"])
    sums = LayerSums(10, MASS, tile=4, device=torch.device("cpu"))
    sums.add([batch(wrong, np.arange(4), scale)])
    factor = 3 if mistake == "sum over heads" else 1
    assert not close(factor * sums.sums[0].numpy(), want["probability"])
