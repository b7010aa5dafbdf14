"""Sums over edges whose weights learn: sparse products with gradients of features and weights.

Neither way of a product holds an array of edges x width. Forward and for the features it is a
product of a sparse matrix and its transpose; for the weights it is sampled
(``torch.sparse.sampled_addmm``: one product of two rows for each entry of the matrix). CSR forbids
repeated entries, so weights of parallel edges are added first; a mean still divides by the number
of edges.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class _Entries:
    """Entries of a CSR matrix whose rows are the vertices that receive.

    ``pointers`` [vertices + 1], ``columns`` [entries] and ``rows`` [entries] are int32; ``order``
    [entries] int64 leads from entries to those of the transpose; ``count`` [vertices] float64 is
    the number of edges of a row.
    """

    pointers: torch.Tensor
    columns: torch.Tensor
    rows: torch.Tensor
    order: torch.Tensor
    count: torch.Tensor

    def matrix(self, values: torch.Tensor) -> torch.Tensor:
        n = len(self.count)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            return torch.sparse_csr_tensor(
                self.pointers, self.columns, values, size=(n, n), check_invariants=False
            )


class _Product(torch.autograd.Function):
    """``A(values) @ x`` with gradients of both."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, values: torch.Tensor, forth: _Entries, back: _Entries
    ) -> torch.Tensor:
        ctx.save_for_backward(x, values)
        ctx.entries = forth, back
        return forth.matrix(values) @ x

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None]:
        x, values = ctx.saved_tensors
        forth, back = ctx.entries
        gradient = gradient.contiguous()
        of_x = of_values = None
        if ctx.needs_input_grad[0]:
            of_x = back.matrix(values[forth.order]) @ gradient
        if ctx.needs_input_grad[1]:
            sampled = torch.sparse.sampled_addmm(
                forth.matrix(torch.zeros_like(values)), gradient, x.t(), beta=0
            )
            of_values = sampled.values()
        return of_x, of_values, None, None


@dataclass(frozen=True)
class WeightedEdges:
    """Edges and their weights as a sparse matrix, row = target vertex.

    Make it with :func:`weighted_edges`, then give it weights with :meth:`weighted`. ``flip`` is
    what :class:`torch_geometric.nn.DirGNNConv` calls for edges the other way round.

    Attributes
    ----------
    entry
        [edges] int64 entry of each edge; parallel edges share one. -1: an edge that carries
        nothing.
    fixed
        [entries] float32: 1 at a loop that was added, 0 elsewhere; None without added loops.
    values
        [entries] weights, or None before :meth:`weighted`.
    """

    forth: _Entries
    back: _Entries
    entry: torch.Tensor
    fixed: torch.Tensor | None = None
    values: torch.Tensor | None = None

    def weighted(self, weight: torch.Tensor) -> WeightedEdges:
        """Return the edges with [edges] weights; gradients flow through them."""
        used = self.entry >= 0
        start = torch.zeros(len(self.forth.columns), dtype=weight.dtype)
        if self.fixed is not None:
            start = self.fixed.to(weight.dtype)
        return replace(self, values=start.index_add(0, self.entry[used], weight[used]))

    def symmetric(self) -> WeightedEdges:
        """Return them with weights w / sqrt(degree of source * degree of target).

        The degree is the sum of the weights that arrive (Kipf and Welling 2017).
        """
        values, rows = self._values(), self.forth.rows.long()
        degree = torch.zeros(len(self.forth.count), dtype=values.dtype).index_add(0, rows, values)
        root = degree.clamp(min=1e-30).rsqrt() * (degree > 0)
        return replace(self, values=root[rows] * values * root[self.forth.columns.long()])

    def flip(self, _: Any = None) -> WeightedEdges:
        """Return the edges the other way round."""
        return replace(self, forth=self.back, back=self.forth, fixed=None,
                       values=self._values()[self.forth.order])  # fmt: skip

    def total(self, x: torch.Tensor) -> torch.Tensor:
        """Return [vertices, width] weighted sums of what a vertex receives."""
        out: torch.Tensor = _Product.apply(x.contiguous(), self._values(), self.forth, self.back)
        return out

    def mean(self, x: torch.Tensor) -> torch.Tensor:
        """Return :meth:`total` divided by the number of edges, 0 where no edge arrives."""
        return self.total(x) / self.forth.count.to(x.dtype).clamp(min=1)[:, None]

    def _values(self) -> torch.Tensor:
        assert self.values is not None
        return self.values


def weighted_edges(
    src: np.ndarray, dst: np.ndarray, n: int, *, loops: bool = False
) -> WeightedEdges:
    """Return edges without weights.

    Parameters
    ----------
    src, dst
        [edges] int64 vertices; parallel edges are separate.
    n
        Number of vertices.
    loops
        Each vertex gets one loop. One that has loops keeps the weight of the last (graph
        convolution), another gets weight 1.
    """
    code = dst * n + src
    kept = np.ones(len(src), bool)
    if loops:
        loop = np.flatnonzero(src == dst)
        kept[loop] = False
        last = np.full(n, -1)
        last[src[loop]] = loop
        kept[last[last >= 0]] = True
    codes = code[kept]
    if loops:
        codes = np.concatenate([codes, np.flatnonzero(last < 0) * (n + 1)])
    entries, entry_of = np.unique(codes, return_inverse=True)
    entry = np.full(len(src), -1)
    entry[kept] = entry_of[: kept.sum()]
    rows, columns = entries // n, entries % n
    order = np.lexsort((rows, columns))
    received, sent = (np.bincount(v, minlength=n) for v in (codes // n, codes % n))
    forth = _entries(rows, columns, order, received)
    back = _entries(columns[order], rows[order], np.argsort(order), sent)
    fixed = None
    if loops:
        added = np.zeros(len(entries), np.float32)
        added[entry_of[kept.sum() :]] = 1
        fixed = torch.from_numpy(added)
    return WeightedEdges(forth, back, torch.from_numpy(entry), fixed)


def _entries(
    rows: np.ndarray, columns: np.ndarray, order: np.ndarray, count: np.ndarray
) -> _Entries:
    pointers = np.searchsorted(rows, np.arange(len(count) + 1))
    start, column, row = (torch.from_numpy(v.astype(np.int32)) for v in (pointers, columns, rows))
    number = torch.from_numpy(count.astype(np.float64))
    return _Entries(start, column, row, torch.from_numpy(order), number)
