"""One cell of a batch as the reduction reads it: panel tokens in gene order, then other keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from octoscope.device_copies import known_mask, sent

# What becomes of a cell's heads: their mean, the largest of each value, or one head alone.
Heads = Literal["mean", "max"] | int


@dataclass(frozen=True, eq=False)
class BatchLayout:
    """The cell and gene of each token of a batch; all layers share it.

    Attributes
    ----------
    panel
        [cells, tokens] int64: index of the token's gene in the panel, -1 otherwise.
    special
        [cells, tokens] int64: column of ``LayerSums.mass`` for attended tokens outside the panel
        (special kinds, genes outside the panel); -1 for panel genes and padding.
    """

    panel: np.ndarray
    special: np.ndarray


@dataclass(frozen=True)
class QKBatch:
    """Queries and keys of one layer in a batch of cells, with the layout of its tokens.

    Attributes
    ----------
    q, k
        [cells, heads, tokens, d_head] tensors.
    scale
        Factor on q.k before the softmax.
    mask
        [cells, tokens] bool tensor, True where a key is attended to.
    """

    q: torch.Tensor
    k: torch.Tensor
    scale: float
    mask: torch.Tensor
    layout: BatchLayout


@dataclass
class Cell:
    """Queries and keys of one cell.

    Attributes
    ----------
    q
        [heads, kept, d_head] float32, scaled; panel tokens by ascending gene.
    k
        [heads, keys, d_head] float32: the panel tokens, then every other attended key, grouped.
    genes
        [kept] ascending panel indices.
    groups
        (mass column, end) of each group of other keys; the first begins at ``kept``.
    n_tokens
        Keys that the cell attends to.
    """

    q: torch.Tensor
    k: torch.Tensor
    genes: np.ndarray
    groups: list[tuple[int, int]]
    n_tokens: int

    @classmethod
    def of(cls, batch: QKBatch, c: int) -> Cell:
        """Return cell ``c`` of a batch."""
        panel, special = batch.layout.panel[c], batch.layout.special[c]
        at = np.flatnonzero(panel >= 0)
        at = at[np.argsort(panel[at], kind="stable")]
        order, groups = [at], []
        for column in np.unique(special[special >= 0]):
            order.append(np.flatnonzero(special == column))
            groups.append((int(column), sum(map(len, order))))
        keys = np.concatenate(order)
        known = known_mask(batch.mask)
        attended = int(batch.mask[c].sum() if known is None else known.counts[c])
        if attended != len(keys):
            raise ValueError(f"{attended} keys are attended to, the layout places {len(keys)}")
        return cls(
            _tokens(batch.q[c], at).float() * batch.scale,
            _tokens(batch.k[c], keys).float(),
            panel[at],
            groups,
            attended,
        )

    @property
    def kept(self) -> int:
        """Number of panel tokens."""
        return len(self.genes)

    def span(self, start: int, stop: int) -> slice:
        """Return the tokens whose genes lie in [start, stop)."""
        lo, hi = np.searchsorted(self.genes, (start, stop))
        return slice(int(lo), int(hi))


def _tokens(x: torch.Tensor, index: np.ndarray) -> torch.Tensor:
    """Return x[:, index]; a view where the tokens are consecutive, so that no copy is held."""
    if len(index) and index[-1] - index[0] == len(index) - 1 and (np.diff(index) == 1).all():
        return x[:, int(index[0]) : int(index[-1]) + 1]
    return x[:, sent(index, x.device)]
