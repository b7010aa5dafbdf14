"""Attention of one cell, computed when rows of it are read: nothing [genes, genes] is held.

A mean cell has one query and one key a gene, so its matrix is a function of [genes, d]. That is
2 % of what its three quantities take at published sizes, for more time a reading than a file
would cost.
"""

from __future__ import annotations

import numpy as np
import torch

from octoscope.attention.cpu_kernels import scatter
from octoscope.attention.cpu_reduce import attend_rows, block_rows, pack
from octoscope.attention.gemm import Keys
from octoscope.attention.low_rank import Factors
from octoscope.attention.map_threads import map_blocks
from octoscope.attention.query_key_batch import Cell, Heads
from octoscope.attention.views import QUANTITIES
from octoscope.errors import MassError

_TOLERANCE = 1e-5  # of an attention row's total
_AT_ONCE = 1024  # rows whose mass is computed at once


class MeanCell:
    """One cell whose tokens are its present genes; only they are keys.

    Parameters
    ----------
    q, k
        [heads, genes, d_head] float32, q scaled.
    present
        [genes] bool, the genes that are tokens.
    heads
        Head reduction.
    where
        Name of the cell in errors.
    """

    def __init__(
        self, q: np.ndarray, k: np.ndarray, present: np.ndarray, heads: Heads, where: str
    ) -> None:
        self.present, self._heads, self._where = present, heads, where
        at = np.flatnonzero(present)
        q, k = q[:, at], k[:, at]
        self._cell = Cell(torch.from_numpy(q), torch.from_numpy(k), at, [], len(at))
        self._scores: Factors | None = None
        if isinstance(heads, int):
            self._scores = Factors(q[heads], k[heads])
        elif heads == "mean":
            self._scores = Factors.of_heads(q, k, 1.0)

    def rows(self, quantity: int, first: int, stop: int) -> np.ndarray:
        """Return one quantity of rows [first, stop) as [rows, genes] float32; 0 without tokens.

        The values of a pair are the same bits for every request of the same rows.

        Raises
        ------
        MassError
            If a row of attention does not total one, naming its gene; also if it is not finite.
        """
        cell = self._cell
        span = cell.span(first, stop)
        if span.start == span.stop:
            return np.zeros((stop - first, len(self.present)), np.float32)
        name = QUANTITIES[quantity]
        if name == "logit" and self._scores is not None:
            values = self._multiply(self._scores, span)
        else:
            both = self._attend(span)
            values = both[1] if name == "logit" else both[0]
            if name == "lift":
                values *= np.float32(cell.n_tokens)
        if cell.kept == len(self.present):
            return values if values.base is None else values.copy()  # not its other quantity too
        of_axis = np.zeros((stop - first, len(self.present)), np.float32)
        scatter(values, cell.genes[span] - first, cell.genes, np.float32(1), of_axis)
        return of_axis

    def mass(self) -> np.ndarray:
        """Return [genes] float64: attention of each query gene to all genes; 0 without a token.

        All keys are genes, so a softmax gives 1. It is computed for the first rows only; every row
        is checked whenever its probabilities are read. For ``max``, whose rows total one or more,
        all rows are computed.
        """
        total = self.present.astype(np.float64)
        stop = self._cell.kept if self._heads == "max" else min(_AT_ONCE, self._cell.kept)
        for at in range(0, stop, _AT_ONCE):
            span = slice(at, min(at + _AT_ONCE, stop))
            total[self._cell.genes[span]] = self._attend(span)[0].sum(1, dtype=np.float64)
        return total

    def _blocks(self, span: slice) -> list[slice]:
        height = block_rows([self._cell])
        edges = range(span.start, span.stop, height)
        return [slice(at, min(at + height, span.stop)) for at in edges]

    def _multiply(self, scores: Factors, span: slice) -> np.ndarray:
        out = np.empty((span.stop - span.start, self._cell.kept), np.float32)
        blocks = self._blocks(span)
        q, keys = torch.from_numpy(scores.q), Keys(torch.from_numpy(scores.k), len(blocks))

        def run(part: slice) -> None:
            into = out[part.start - span.start : part.stop - span.start]
            into[:] = keys.products(q[part]).numpy()
            if not np.isfinite(into).all():
                raise MassError(f"{self._where}: scores are not finite")

        for _ in map_blocks(run, blocks):
            pass
        return out

    def _attend(self, span: slice) -> np.ndarray:
        """Return [2, rows, kept]: probability and logit."""
        cell = self._cell
        out = np.zeros((1, 2, span.stop - span.start, cell.kept), np.float32)
        shares = np.zeros((1, span.stop - span.start, 1))
        blocks = self._blocks(span)
        keys = pack([cell], cell.kept, len(blocks))[0]

        def run(part: slice) -> None:
            here = slice(part.start - span.start, part.stop - span.start)
            attend_rows(
                cell, keys, (self._heads,), part, out[:, :, here], shares[:, here],
            )  # fmt: skip

        for _ in map_blocks(run, blocks):
            pass
        self._check(shares[0, :, 0], cell.genes[span])
        return out[0]

    def _check(self, total: np.ndarray, genes: np.ndarray) -> None:
        gap = np.abs(total - 1)
        if self._heads == "max":  # the largest over heads total one or more
            gap = np.maximum(1 - total, 0) + 0 * total
        gap = np.where(np.isfinite(gap), gap, np.inf)
        worst = int(gap.argmax())
        if gap[worst] > _TOLERANCE:
            raise MassError(
                f"{self._where}: attention mass of query gene {genes[worst]} is "
                f"{total[worst]:.6g}, expected 1 +- {_TOLERANCE:g}"
            )
