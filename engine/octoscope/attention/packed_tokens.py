"""The cells of a micro-batch side by side: one index per batch, copied to the device once.

A kernel then finds a cell by its offset. Nothing here loops over cells. The order of a batch's
tokens is worked out and copied for the first layer and kept for the others. The host waits only
where a mask is not one of the engine's own (to compare it with the layout).
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch

from octoscope.attention.query_key_batch import BatchLayout, QKBatch
from octoscope.device_copies import attended_tokens, sent

_HALF = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class PackedTokens:
    """Queries and keys of the cells that hold a gene of the panel.

    Attributes
    ----------
    q
        [queries, heads, d_head], not scaled: the panel tokens of each cell by ascending gene. Of
        the model's own type where that is a half precision, else float32.
    k
        [keys, heads, d_head]: of each cell its panel tokens, then every other key by mass column.
    scale
        Factor on q.k.
    genes
        [queries] int64, on the host: panel index of each query.
    first_query, first_key
        [cells + 1] int64, on the host: where each cell begins.
    ends
        [cells, mass columns] int64, on the host: end of each column's keys, from the cell's first.
    """

    q: torch.Tensor
    k: torch.Tensor
    scale: float
    genes: np.ndarray
    first_query: np.ndarray
    first_key: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, parts: list[QKBatch], columns: int) -> PackedTokens | None:
        """Return the cells of the physical batches of a micro-batch; None without any gene.

        Parameters
        ----------
        columns
            Number of mass columns; the first is that of the panel tokens.

        Raises
        ------
        ValueError
            If a mask attends to other keys than the layout places, or scales differ.
        """
        q, k, genes, kept, ends = [], [], [], [], []
        attended = attended_tokens([part.mask for part in parts])
        for part in parts:
            order = _token_order(part.layout, columns, part.q.device)
            here, attended = attended[: len(order.ends)], attended[len(order.ends) :]
            if (here != order.ends[:, -1]).any():
                c = int(np.flatnonzero(here != order.ends[:, -1])[0])
                raise ValueError(
                    f"{here[c]} keys are attended to, the layout places {order.ends[c, -1]}"
                )
            q.append(_gathered(part.q, order.queries))
            k.append(_gathered(part.k, order.keys))
            genes.append(order.genes)
            kept.append(order.ends[order.ends[:, 0] > 0, 0])
            ends.append(order.ends[order.ends[:, 0] > 0])
        if len({part.scale for part in parts}) > 1:
            raise ValueError("batches of one layer have one scale")
        of_cells = np.concatenate(ends)
        if not len(of_cells):
            return None
        return cls(
            torch.cat(q),
            torch.cat(k),
            parts[0].scale,
            np.concatenate(genes),
            np.concatenate([[0], np.cumsum(np.concatenate(kept))]),
            np.concatenate([[0], np.cumsum(of_cells[:, -1])]),
            of_cells,
        )

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.ends)

    @property
    def cell(self) -> np.ndarray:
        """[queries] int64: the cell of each query."""
        return np.repeat(np.arange(self.cells), np.diff(self.first_query))

    def holds_all(self, n_genes: int) -> bool:
        """Tell whether every cell holds every gene of the panel and attends to as many keys."""
        return bool((self.ends[:, 0] == n_genes).all() and (self.ends[:, -1] == self.tokens).all())

    @property
    def tokens(self) -> int:
        """Keys of the first cell."""
        return int(self.ends[0, -1])

    def edges(self, n_genes: int, genes: int) -> np.ndarray:
        """Return [cells, tiles + 1] int64: queries of a cell before each tile of so many genes."""
        tiles = -(-n_genes // genes)
        at = self.cell * tiles + self.genes // genes
        counts = np.bincount(at, minlength=self.cells * tiles).reshape(-1, tiles)
        return np.pad(counts.cumsum(1), ((0, 0), (1, 0)))


@dataclass(frozen=True)
class _TokenOrder:
    """Flat indices [cells x tokens] of a batch's queries and keys in order; see PackedTokens.

    Indices that select are int32, on the device.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    genes: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, layout: BatchLayout, columns: int, device: torch.device) -> _TokenOrder:
        panel, special = layout.panel, layout.special
        last = np.iinfo(np.int64).max
        beyond = int(panel.max(initial=0)) + 1
        rank = np.where(panel >= 0, panel, np.where(special >= 0, beyond + special, last))
        order = np.argsort(rank, axis=1, kind="stable")
        counts = [(panel >= 0).sum(1), *((special == s).sum(1) for s in range(1, columns))]
        ends = np.stack(counts, 1).cumsum(1)
        flat = order + np.arange(len(panel))[:, None] * panel.shape[1]
        position = np.arange(panel.shape[1])
        used = ends[:, :1] > 0  # a cell without a gene has no rows; its keys serve nobody
        at_q, at_k = flat[position < ends[:, :1]], flat[(position < ends[:, -1:]) & used]
        queries, keys = (sent(at.astype(np.int32), device) for at in (at_q, at_k))
        return cls(queries, keys, panel.ravel()[at_q], ends)


_ORDERS: WeakKeyDictionary[BatchLayout, dict[tuple[int, torch.device], _TokenOrder]]
_ORDERS = WeakKeyDictionary()


def _token_order(layout: BatchLayout, columns: int, device: torch.device) -> _TokenOrder:
    """Return where a batch's tokens go, worked out once for all layers."""
    kept = _ORDERS.setdefault(layout, {})
    if (columns, device) not in kept:
        kept[columns, device] = _TokenOrder.of(layout, columns, device)
    return kept[columns, device]


def _gathered(x: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Return [len(at), heads, d] of [cells, heads, tokens, d]."""
    tokens = x.transpose(1, 2).flatten(0, 1)
    gathered = tokens.index_select(0, at)
    return gathered if gathered.dtype in _HALF else gathered.float()
