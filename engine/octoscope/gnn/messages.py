"""Message passing as products of a sparse matrix: row = target vertex, column = source vertex.

Parallel edges count each: their weights are added, and a mean divides by the number of edges.
Which product is fastest, and what others need: ``benchmarks/gnn_score.py`` and docs/decisions/0013.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import sparse

from octoscope.gnn.pair_loops import on_large_pages

_EDGES_AT_ONCE = 1 << 18  # rows of a dense block that passes edge by edge


@dataclass(frozen=True)
class Messages:
    """Edges along which vertices send to others.

    Attributes
    ----------
    src, dst
        [edges] int64 tensors of vertices; a message goes from ``src`` to ``dst``.
    n
        Number of vertices.
    weight
        [edges] float32 tensor, or None for ones.
    """

    src: torch.Tensor
    dst: torch.Tensor
    n: int
    weight: torch.Tensor | None = None

    def to(self, device: str) -> Messages:
        """Return the same messages on a device of torch."""
        if self.src.device.type == device:
            return self
        weight = None if self.weight is None else self.weight.to(device)
        return Messages(self.src.to(device), self.dst.to(device), self.n, weight)

    @cached_property
    def count(self) -> torch.Tensor:
        """[vertices] float32 numbers of edges that reach a vertex."""
        return torch.bincount(self.dst, minlength=self.n).to(torch.float32)

    @cached_property
    def matrix(self) -> torch.Tensor:
        """[vertices, vertices] sparse CSR float32 matrix of summed weights."""
        return _csr(self.src, self.dst, self._weights(), self.n)

    @cached_property
    def reverse(self) -> Messages:
        """The messages the other way round."""
        return Messages(self.dst, self.src, self.n, self.weight)

    def _weights(self) -> torch.Tensor:
        if self.weight is None:
            return torch.ones(len(self.src), dtype=torch.float32, device=self.src.device)
        return self.weight.to(torch.float32)

    def weighted(self, weight: torch.Tensor) -> Messages:
        """Return the same edges with other [edges] weights."""
        return Messages(self.src, self.dst, self.n, weight)

    def without(self, left_out: np.ndarray) -> Messages:
        """Return the messages without the edges that ``left_out`` ([edges] bool) marks."""
        if not left_out.any():
            return self
        kept = torch.from_numpy(np.flatnonzero(~left_out)).to(self.src.device)
        weight = None if self.weight is None else self.weight[kept]
        return Messages(self.src[kept], self.dst[kept], self.n, weight)

    def total(self, x: torch.Tensor) -> torch.Tensor:
        """Return [vertices, width] weighted sums of what a vertex receives from [vertices, width].

        ``out[i] = sum over edges e: j -> i of weight[e] * x[j]``.
        """
        return self.matrix @ on_large_pages(x)

    def mean(self, x: torch.Tensor) -> torch.Tensor:
        """Return :meth:`total` divided by the number of edges, 0 where no edge arrives."""
        return self.total(x) / self.count.clamp(min=1)[:, None]

    def largest(self, x: torch.Tensor) -> torch.Tensor:
        """Return [vertices, width] largest weighted message per column, 0 where none arrives."""
        out = torch.full((self.n, x.shape[1]), -torch.inf, dtype=x.dtype, device=x.device)
        for lo in range(0, len(self.src), _EDGES_AT_ONCE):
            part = slice(lo, lo + _EDGES_AT_ONCE)
            sent = x[self.src[part]]
            if self.weight is not None:
                sent = sent * self.weight[part, None]
            out.scatter_reduce_(0, self.dst[part, None].expand_as(sent), sent, "amax")
        return torch.where(torch.isinf(out), torch.zeros_like(out), out)

    def with_self_loops(self, keep: bool) -> Messages:
        """Return the messages with one loop per vertex.

        Parameters
        ----------
        keep
            True: a vertex that has a loop keeps the weight of its last one, others get weight 1
            (graph convolution). False: all loops get weight 1 (graph attention).
        """
        loop = self.src == self.dst
        loops = torch.arange(self.n, device=self.src.device)
        weight = torch.ones(self.n, dtype=torch.float32, device=self.src.device)
        old = self._weights()
        if keep:
            weight[self.src[loop]] = old[loop]
        return Messages(
            torch.cat([self.src[~loop], loops]), torch.cat([self.dst[~loop], loops]), self.n,
            torch.cat([old[~loop], weight]),
        )  # fmt: skip

    def symmetric(self) -> Messages:
        """Return the messages with weights w / sqrt(degree of src * degree of dst).

        The degree is the sum of the weights that arrive (Kipf and Welling 2017).
        """
        weight = self._weights()
        degree = torch.zeros(self.n, dtype=torch.float32, device=weight.device)
        degree.index_add_(0, self.dst, weight)
        root = torch.where(degree > 0, degree.clamp(min=1e-30).rsqrt(), torch.zeros_like(degree))
        return self.weighted(root[self.src] * weight * root[self.dst])

    def softmax(self, logits: torch.Tensor) -> torch.Tensor:
        """Return [edges] softmax of [edges] logits over the edges that reach the same vertex."""
        top = torch.full((self.n,), -torch.inf, device=logits.device, dtype=logits.dtype)
        top.scatter_reduce_(0, self.dst, logits, "amax")
        share = (logits - top[self.dst]).exp()
        total = torch.zeros(self.n, device=logits.device, dtype=logits.dtype)
        total.index_add_(0, self.dst, share)
        return share / total[self.dst]


def _csr(src: torch.Tensor, dst: torch.Tensor, weight: torch.Tensor, n: int) -> torch.Tensor:
    """Return a CSR tensor; entries of the same place are added first, as CSR asks for."""
    columns, rows = src.cpu().numpy().astype(np.int32), dst.cpu().numpy().astype(np.int32)
    summed = sparse.csr_matrix((weight.cpu().numpy(), (rows, columns)), shape=(n, n))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        matrix = torch.sparse_csr_tensor(
            torch.from_numpy(summed.indptr.astype(np.int32)),
            torch.from_numpy(summed.indices.astype(np.int32)),
            torch.from_numpy(summed.data), size=(n, n), check_invariants=False,
        )  # fmt: skip
    return matrix.to(src.device)
