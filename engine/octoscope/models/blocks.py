"""Parts that the native families share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F

from octoscope.device_copies import attends_to_all


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return [cells, tokens, heads x d_head] attention output, scale 1/sqrt(d_head).

    ``mask`` [cells, tokens] is left out where every token is attended to: the kernels that hold
    no [tokens, tokens] matrix are then always available.
    """
    keys = None if attends_to_all(mask) else mask[:, None, None, :]
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=keys)
    return out.transpose(1, 2).flatten(2)


def by_cell(activation: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Apply an elementwise function to [cells, ...], one cell after the other.

    torch computes what is left beside whole vectors with another exponential, and where that is
    depends on the size of the whole: a cell's values would depend on the cells beside it. A GPU
    computes every value alike, in one kernel.
    """
    if x.device.type == "cuda":
        return activation(x)
    return torch.stack([activation(cell) for cell in x])


def split_heads(x: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Return [cells, heads, tokens, d_head] of [cells, tokens, heads x d_head], head-major."""
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)


def head_weights(weight: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Return [heads, d_head, d] of a projection's weight [heads x d_head, d], head-major."""
    return weight.unflatten(0, (n_heads, -1))


def layer_norm(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
) -> torch.Tensor:
    """Normalise in float32, return the dtype of ``weight``: a wider residual stream stays wide."""
    out = F.layer_norm(x.float(), x.shape[-1:], weight.float(), bias.float(), eps)
    return out.to(weight.dtype)


def embed_values(
    value: torch.Tensor,
    first: tuple[torch.Tensor, torch.Tensor],
    second: tuple[torch.Tensor, torch.Tensor],
    table: torch.Tensor,
    alpha: float,
    special: Mapping[float, torch.Tensor],
) -> torch.Tensor:
    """Embed numbers by soft bins (xTrimoGene's auto-discretisation; AIDO.Cell, scFoundation).

    u = leaky_relu_0.1(v w1 + b1); e = softmax(alpha u + W2 u + b2) T

    Parameters
    ----------
    value
        [cells, tokens] float32.
    first, second
        Weight and bias of the two linear maps: [bins, 1], [bins]; [bins, bins], [bins].
    table
        T, [bins, d].
    special
        Values that stand for a row [d] of their own (mask, padding), compared exactly.

    Returns
    -------
    torch.Tensor
        [cells, tokens, d] in the dtype of ``table``.
    """
    u = F.leaky_relu(F.linear(value.to(table.dtype)[..., None], *first), 0.1)
    out = torch.softmax(alpha * u + F.linear(u, *second), -1) @ table
    for code, row in special.items():
        out = torch.where((value == code)[..., None], row, out)
    return out
