"""Logits alone, as one product over cells, are those that the whole reduction adds up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.attention import logits
from octoscope.attention.accumulate import Heads, LayerSums
from octoscope.errors import MassError

from tests.attention.test_accumulate import MASS, batch, close, expected, make

CPU = torch.device("cpu")


def alone(
    d: dict[str, np.ndarray], genes: int, groups: list[np.ndarray], heads: tuple[Heads, ...]
) -> LayerSums:
    sums = LayerSums(genes, MASS, tile=16, device=CPU, heads=heads, logits_alone=True)
    for cells in groups:
        sums.add([batch(d, cells)])
    return sums


@pytest.mark.parametrize("on_cpu", [True, False])
@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 6), st.integers(1, 4), st.integers(2, 14), st.integers(3, 15),
    st.booleans(), st.integers(1, 40), st.integers(0, 10_000), st.data(),
)  # fmt: skip
def test_logits_equal_the_reference_for_any_sets_split_and_block(
    on_cpu: bool, cells: int, heads: int, tokens: int, genes: int, alike: bool, scores: int,
    seed: int, draw: st.DataObject,
) -> None:  # fmt: skip
    d = make(cells, heads, tokens, genes, seed)
    if alike:  # every cell holds the genes of the first, in an order of its own, and attends to all
        rng = np.random.default_rng(seed)
        for c in range(1, cells):
            order = rng.permutation(tokens)
            for name in ("mask", "panel", "special"):
                d[name][c] = d[name][0][order]
    cut = draw.draw(st.integers(0, cells))
    groups = [part for part in (np.arange(cut), np.arange(cut, cells)) if len(part)]
    reductions: tuple[Heads, ...] = tuple(draw.draw(st.permutations(["mean", *range(heads)])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logits, "_SCORES", scores)
        patch.setattr(logits, "_ON_DEVICE", scores)
        patch.setattr(logits, "_on_cpu", lambda sums: on_cpu)
        sums = alone(d, genes, groups, reductions)
    for r, reduction in enumerate(reductions):
        assert close(sums.sums[r, 2].numpy(), expected(d, genes, reduction)["logit"]), reduction
    assert not sums.sums[:, :2].any()
    assert not sums.mass.any()
    sums.check_mass("test")


def test_cells_that_hold_the_same_genes_are_one_product(monkeypatch: pytest.MonkeyPatch) -> None:
    d = make(5, 3, 12, 10, 3)
    for name in ("mask", "panel", "special"):
        d[name][:4] = d[name][0]
    seen = []
    whole = logits._add_product

    def logits_of(q: torch.Tensor, *rest: object) -> None:
        seen.append(q.shape[1])
        whole(q, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(logits, "_add_product", logits_of)
    alone(d, 10, [np.arange(5)], ("mean",))
    width = d["q"].shape[1] * d["q"].shape[3]
    assert seen == [4 * width, width]


def test_what_has_no_sum_is_refused() -> None:
    with pytest.raises(ValueError, match="neither a largest"):
        LayerSums(4, MASS, tile=16, device=CPU, heads=("max",), logits_alone=True)
    with pytest.raises(ValueError, match="second moment"):
        LayerSums(4, MASS, tile=16, device=CPU, moments=2, logits_alone=True)


def test_logits_that_are_not_finite_are_refused() -> None:
    d = make(2, 2, 6, 5, 0)
    d["q"][0] = np.inf
    with pytest.raises(MassError, match="unit u: sums of logits are not finite"):
        alone(d, 5, [np.arange(2)], ("mean",)).check_mass("unit u")
