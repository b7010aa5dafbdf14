"""Queries and keys that are not finite are refused with their heads and cells; padding is not."""

from __future__ import annotations

import pickle

import pytest
import torch
from octoscope.attention.finite_check import FiniteChecks, NotFiniteError, require_finite
from octoscope.errors import ActivationError

CELLS = [f"AAA{c}-1" for c in "CGTACGT"]


def tensors(
    heads: int = 4, shared: int = 1, dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return q, k and the mask of seven cells, the last of which has five tokens of eight."""
    noise = torch.Generator().manual_seed(0)
    q = torch.randn(7, heads, 8, 3, generator=noise)
    k = torch.randn(7, heads // shared, 8, 3, generator=noise)
    mask = torch.ones(7, 8, dtype=torch.bool)
    mask[6, 5:] = False
    return q.to(dtype), k.to(dtype), mask


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_finite_tensors_pass(dtype: torch.dtype) -> None:
    q, k, mask = tensors(dtype=dtype)
    require_finite(q, k, CELLS, mask, "layer 2")
    big = torch.full_like(q, torch.finfo(dtype).max)  # the sum overflows, no value does
    require_finite(big, k, CELLS, mask, "layer 2")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_heads_and_cells_are_named(value: float) -> None:
    q, k, mask = tensors()
    q[1, 0, 4, 1] = value
    q[3, 3, 0, 0] = value
    with pytest.raises(ActivationError) as caught:
        require_finite(q, k, CELLS, mask, "model m, unit u, layer 2")
    text = "model m, unit u, layer 2, heads 0, 3: queries not finite in 2 cells: AAAG-1, AAAA-1"
    assert str(caught.value) == text
    assert str(pickle.loads(pickle.dumps(caught.value))) == text  # it comes back from a worker


def test_infinities_that_cancel_are_seen() -> None:
    q, k, mask = tensors()
    q[0, 1, 0, 0], k[2, 2, 0, 0] = float("inf"), -float("inf")
    with pytest.raises(ActivationError, match=r"heads 1, 2: queries and keys .* AAAC-1, AAAT-1$"):
        require_finite(q, k, CELLS, mask, "layer 2")


def test_a_shared_key_head_is_named_as_the_heads_that_use_it() -> None:
    q, k, mask = tensors(heads=4, shared=2)
    k[2, 1, 7, 2] = float("nan")
    with pytest.raises(ActivationError, match=r"heads 2, 3: keys not finite in 1 cell: AAAT-1$"):
        require_finite(q, k, CELLS, mask, "layer 2")


def test_padding_does_not_count() -> None:
    q, k, mask = tensors()
    q[6, :, 5:] = float("nan")
    k[6, :, 5:] = float("inf")
    require_finite(q, k, CELLS, mask, "layer 2")
    k[6, 2, 4, 0] = float("nan")
    with pytest.raises(ActivationError, match=r"head 2: keys not finite in 1 cell: AAAT-1$"):
        require_finite(q, k, CELLS, mask, "layer 2")


def test_five_cells_are_named_and_the_rest_counted() -> None:
    q, k, mask = tensors()
    k[:, 0, 0, 0] = float("nan")
    with pytest.raises(ActivationError, match=r"in 7 cells: (AAA.-1, ){4}AAA.-1 and 2 more$"):
        require_finite(q, k, CELLS, mask, "layer 2")


def test_checks_of_a_layer_together_are_one_and_begin_anew() -> None:
    good = torch.ones(1, 1, 2, 4)
    bad = good.clone()
    bad[0, 0, 0, 0] = torch.nan
    mask = torch.ones(1, 2, dtype=torch.bool)
    checks = FiniteChecks(at_once=False)
    checks.settle()
    for q, k in ((good, bad), (good, good)):
        checks.add(q, k, ["c"], mask, "here")
    with pytest.raises(NotFiniteError):
        checks.settle()
    checks.add(good, good, ["c"], mask, "here")
    checks.settle()  # what was refused is not asked again
    with pytest.raises(ActivationError, match="keys not finite in 1 cell: c"):
        FiniteChecks(at_once=True).add(good, bad, ["c"], mask, "here")
