"""The edge encoder: features of an edge to its weight, a block of edges at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

EDGES_AT_ONCE = 1 << 16


class _Weights(torch.autograd.Function):
    """``sigmoid(dropout(relu(part @ first.T + bias)) @ last.T + end)`` of all edges.

    Hidden units are held for the gradient, features are not. A unit that is 0, by ReLU or because
    it was dropped, has no gradient; others were divided by the share that is kept.
    """

    @staticmethod
    def forward(
        ctx: Any, first: torch.Tensor, bias: torch.Tensor, last: torch.Tensor, end: torch.Tensor,
        values: np.ndarray, rows: np.ndarray, dropout: float,
    ) -> torch.Tensor:  # fmt: skip
        hidden, out = first.new_empty(len(rows), len(bias)), first.new_empty(len(rows))
        for lo in range(0, len(rows), EDGES_AT_ONCE):
            here = slice(lo, lo + EDGES_AT_ONCE)
            units = torch.addmm(bias, _features(values, rows[here], first), first.t(),
                                out=hidden[here]).relu_()  # fmt: skip
            functional.dropout(units, dropout, training=True, inplace=True)
            out[here] = torch.addmv(end, units, last[0]).sigmoid_()
        ctx.save_for_backward(first, last, hidden, out)
        ctx.edges = values, rows, dropout
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        first, last, hidden, out = ctx.saved_tensors
        values, rows, dropout = ctx.edges
        before = gradient * out * (1 - out)
        of_first, of_bias, scale = torch.zeros_like(first), first.new_zeros(len(first)), 1 - dropout
        for lo in range(0, len(rows), EDGES_AT_ONCE):
            here = slice(lo, lo + EDGES_AT_ONCE)
            units = torch.outer(before[here], last[0] / scale).mul_(hidden[here] > 0)
            of_first.addmm_(units.t(), _features(values, rows[here], first))
            of_bias += units.sum(0)
        return of_first, of_bias, (before @ hidden)[None], before.sum()[None], None, None, None


def _features(values: np.ndarray, rows: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(values[rows]).to(like.dtype)


class EdgeEncoder(nn.Module):
    """``sigmoid(L3(dropout(relu(L0(features)))))``, names as napistu-torch has them.

    A block's features are read again for its gradient, so none are held for all edges.

    Parameters
    ----------
    features, hidden
        Numbers of features of an edge and of hidden units.
    dropout
        Share of the hidden units that is dropped in training.
    """

    def __init__(self, features: int, hidden: int, dropout: float) -> None:
        super().__init__()
        last = nn.Linear(hidden, 1)
        nn.init.zeros_(last.bias)  # weights near 0.5 at first
        self.net = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(dropout), last)

    def forward(self, values: np.ndarray, rows: np.ndarray) -> torch.Tensor:
        """Return [rows] weights in 0..1.

        Parameters
        ----------
        values
            [edges, features]; may be mapped from a file, of any type of numbers.
        rows
            [rows] int64 edges.
        """
        first, _, dropout, last = self.net
        share = dropout.p if self.training else 0.0
        weights: torch.Tensor = _Weights.apply(
            first.weight, first.bias, last.weight, last.bias, values, rows, share
        )
        return weights
