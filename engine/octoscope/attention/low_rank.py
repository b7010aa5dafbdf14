"""A matrix given as a product Q K^T: read in blocks of rows, never whole in memory.

A mean of logits over heads (and over cells, for a fixed token set) is one matrix product, so such
a matrix costs [genes, d] in memory and one GEMM for each reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from octoscope.attention.gemm import Keys, terms_at_once
from octoscope.attention.map_threads import map_blocks
from octoscope.attention.ranks import RankTable, pick
from octoscope.attention.topk import TopK, TopPairs
from octoscope.jit import compiled

Result = TypeVar("Result")

_SCORES = 1 << 18  # scores in a block: 1 MB of fp32, near the cache
_ROWS = (32, 512)
_PAIRS = 1 << 13  # pairs multiplied by one thread at a time


@dataclass(frozen=True)
class Factors:
    """Queries and keys whose products are the matrix: value_ij = q_i . k_j.

    Attributes
    ----------
    q, k
        [genes, d] float32, contiguous; all heads side by side, scale and head mean folded into q.
    """

    q: np.ndarray
    k: np.ndarray

    @classmethod
    def of_heads(cls, q: np.ndarray, k: np.ndarray, scale: float) -> Factors:
        """Fold [heads, genes, d_head] arrays: the product is the mean over heads of scale q.k."""
        heads, genes, width = q.shape

        def side_by_side(x: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(
                x.transpose(1, 0, 2).reshape(genes, heads * width), np.float32
            )

        return cls(side_by_side(q) * np.float32(scale / heads), side_by_side(k))

    def blocks(self, work: Callable[[int, np.ndarray], Result]) -> Iterator[Result]:
        """Call ``work(first row, values [rows, genes])`` for all rows; yields in row order.

        Blocks run on threads. ``values`` are new; block edges depend on the
        number of genes alone, so the values of a pair are the same bits in every reading.
        """
        n = len(self.q)
        rows = int(np.clip(_SCORES // n, *_ROWS))
        edges = range(0, n, rows)
        q, keys = torch.from_numpy(self.q), Keys(torch.from_numpy(self.k), len(edges))

        def run(first: int) -> Result:
            return work(first, keys.products(q[first : first + rows]).numpy())

        return map_blocks(run, edges)

    def top_pairs(self, k: int, *, by_absolute_value: bool = False) -> TopPairs:
        """Return the K largest pairs; see :class:`~octoscope.attention.topk.TopK`."""
        found = TopK(k, by_absolute_value=by_absolute_value)

        def sift(first: int, values: np.ndarray) -> TopK:
            # the threshold so far may be read late, never early: it only rises
            here = TopK(k, by_absolute_value=by_absolute_value, floor=found.threshold)
            here.update(first, values, None)
            return here

        for part in self.blocks(sift):
            found.absorb(part)
        return found.result()

    def values(self, query: np.ndarray, key: np.ndarray) -> np.ndarray:
        """Return [pairs] float32 values of pairs."""
        out = np.empty(len(query), np.float32)
        for inside, found in self.blocks(lambda first, block: pick(first, block, query, key)):
            out[inside] = found
        return out

    def values_and_ranks(
        self,
        query: np.ndarray,
        key: np.ndarray,
        *,
        by_absolute_value: bool = False,
        keep_self: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return values of pairs, and their ranks among all pairs, mostly in one reading.

        A rank needs the very bits that the matrix product gives. The pairs' own dot products are
        those bits if they are added in the same order (:func:`terms_at_once`). The reading that
        counts above them checks every one, and is repeated with the true values if one differs.
        """
        options = {"by_absolute_value": by_absolute_value, "keep_self": keep_self}
        panel = terms_at_once(self.q.shape[1])
        values = np.empty(len(query), np.float32)
        guess = np.empty(len(query), np.float32)
        edges = range(0, len(query), _PAIRS)

        def multiply(first: int) -> None:
            here = slice(first, first + _PAIRS)
            _dot(self.q, self.k, query[here], key[here], panel, guess[here])

        for _ in map_blocks(multiply, edges):
            pass
        table = RankTable(guess, **options)

        def count(first: int, block: np.ndarray) -> np.ndarray:
            inside, found = pick(first, block, query, key)
            values[inside] = found
            return table.count(first, block, None)

        above = sum(self.blocks(count), np.zeros(1, np.int64))
        if (values.view(np.uint32) != guess.view(np.uint32)).any():
            return values, self.ranks(values, **options)
        return values, table.ranks(above)

    def ranks(
        self, values: np.ndarray, *, by_absolute_value: bool = False, keep_self: bool = False
    ) -> np.ndarray:
        """Return [values] int64: 1 + number of pairs with a strictly greater value."""
        table = RankTable(values, by_absolute_value=by_absolute_value, keep_self=keep_self)
        above = sum(
            self.blocks(lambda first, block: table.count(first, block, None)),
            np.zeros(1, np.int64),
        )
        return table.ranks(above)


@compiled({"contract"})
def _dot(
    q: np.ndarray,
    k: np.ndarray,
    query: np.ndarray,
    key: np.ndarray,
    panel: int,
    out: np.ndarray,
) -> None:
    """Write the products of chosen rows: fused multiply-adds term by term, panel by panel."""
    for p in range(len(query)):
        a, b = q[query[p]], k[key[p]]
        total = np.float32(0)
        for first in range(0, len(a), panel):
            part = np.float32(0)
            for c in range(first, min(first + panel, len(a))):
                part += a[c] * b[c]
            total += part
        out[p] = total
