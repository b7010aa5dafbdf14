"""Why the reduction makes the log-sum-exp itself: what torch's attention yields, and its digits."""

from __future__ import annotations

import pytest
import torch

TOLERANCE = 1e-5  # of a row's total, in LayerSums.check_mass
OPERATORS = {
    "_scaled_dot_product_flash_attention": False,
    "_scaled_dot_product_efficient_attention": True,
    "_scaled_dot_product_cudnn_attention": True,
    "_scaled_dot_product_flash_attention_for_cpu": True,
}


@pytest.mark.parametrize(("name", "takes_mask"), OPERATORS.items())
def test_the_operators_of_pytorch_yield_one_number_a_row(name: str, takes_mask: bool) -> None:
    schema = getattr(torch.ops.aten, name).default._schema
    assert [r.name.replace("_", "") for r in schema.returns][1] == "logsumexp"
    masks = {"attn_mask", "attn_bias"} & {a.name for a in schema.arguments}
    assert bool(masks) == takes_mask


def row_totals(size: float) -> tuple[float, float, float]:
    """Return the largest score and how far rows of probabilities are from one.

    By the log-sum-exp of the forward pass, and by the largest score and the sum kept apart.
    """
    g = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 4, 200, 32, generator=g)
    q, scale = q * size, 32**-0.5
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, k)
    # asking for it changes no bit of the output
    assert torch.equal(out, torch.nn.functional.scaled_dot_product_attention(q, k, k))
    scores = q @ k.transpose(-1, -2) * scale
    top = scores.amax(-1, keepdim=True)
    shares = torch.exp(scores - top)
    apart = shares / shares.sum(-1, keepdim=True)
    joined = torch.exp(scores - lse[..., None])
    by_one, by_two = (float((p.double().sum(-1) - 1).abs().max()) for p in (joined, apart))
    return float(scores.abs().max()), by_one, by_two


def test_one_number_a_row_is_enough_for_scores_of_order_one() -> None:
    largest, joined, apart = row_totals(1.0)
    assert largest < 10
    assert max(joined, apart) < TOLERANCE / 5


def test_large_scores_lose_more_digits_than_a_row_may() -> None:
    largest, joined, apart = row_totals(150.0)
    assert 300 < largest < 1000
    assert joined > TOLERANCE
    assert apart < TOLERANCE / 5
