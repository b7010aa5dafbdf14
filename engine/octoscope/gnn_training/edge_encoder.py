"""The edge encoder: features of an edge to its weight, a block of edges at a time."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

EDGES_AT_ONCE = 1 << 18


class EdgeEncoder(nn.Module):
    """``sigmoid(L3(dropout(relu(L0(features)))))``, names as napistu-torch has them.

    A block's hidden layer is computed again for its gradient, so none is held for all edges.

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

        number = next(self.parameters()).dtype

        def block(lo: int) -> torch.Tensor:
            part = values[rows[lo : lo + EDGES_AT_ONCE]]
            out = self.net(torch.from_numpy(part).to(number))
            return torch.sigmoid(out[:, 0])

        starts = range(0, len(rows), EDGES_AT_ONCE)
        blocks = [checkpoint(block, lo, use_reentrant=False) for lo in starts]
        return torch.cat(blocks) if blocks else torch.zeros(0)
