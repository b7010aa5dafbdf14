"""Readings of a matrix given as a product Q K^T: in blocks of rows, never whole in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import torch
from octoscope.attention.gemm import _ONEDNN, Keys
from octoscope.attention.low_rank import Factors
from octoscope.attention.map_threads import map_blocks
from octoscope.attention.ranks import RankTable, pick
from octoscope.attention.topk import TopK, TopPairs
from octoscope.jit import compiled

Result = TypeVar("Result")

_SCORES = 1 << 18  # scores in a block: 1 MB of fp32, near the cache
_ROWS = (32, 512)
_WAITING = 8  # blocks of values that wait for their top pairs
_PAIRS = 1 << 13  # pairs multiplied by one thread at a time


def blocks(
    f: Factors, work: Callable[[int, np.ndarray], Result], at_once: int | None = None
) -> Iterator[Result]:
    """Call ``work(first row, values [rows, genes])`` for all rows; yields in row order.

    Blocks run on threads. ``values`` are new; block edges depend on the
    number of genes alone, so the values of a pair are the same bits in every reading.
    ``at_once``: most results that wait to be taken; None: all, for small ones.
    """
    n = len(f.q)
    rows = int(np.clip(_SCORES // n, *_ROWS))
    edges = range(0, n, rows)
    q, keys = torch.from_numpy(f.q), Keys(torch.from_numpy(f.k), len(edges))

    def run(first: int) -> Result:
        return work(first, keys.products(q[first : first + rows]).numpy())

    step = at_once or len(edges)
    for at in range(0, len(edges), step):
        yield from map_blocks(run, edges[at : at + step])


def top_pairs(f: Factors, k: int, *, by_absolute_value: bool = False) -> TopPairs:
    """Return the K largest pairs; see :class:`~octoscope.attention.topk.TopK`."""
    top = TopK(k, by_absolute_value=by_absolute_value)
    for first, values in blocks(f, lambda first, values: (first, values), _WAITING):
        top.update(first, values, None)
    return top.result()


def values(f: Factors, query: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Return [pairs] float32 values of pairs."""
    out = np.empty(len(query), np.float32)
    for inside, picked in blocks(f, lambda first, block: pick(first, block, query, key)):
        out[inside] = picked
    return out


def values_and_ranks(
    f: Factors,
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
    panel = terms_at_once(f.q.shape[1])
    true = np.empty(len(query), np.float32)
    guess = np.empty(len(query), np.float32)

    def multiply(first: int) -> None:
        here = slice(first, first + _PAIRS)
        _dot(f.q, f.k, query[here], key[here], panel, guess[here])

    for _ in map_blocks(multiply, range(0, len(query), _PAIRS)):
        pass
    table = RankTable(guess, **options)

    def count(first: int, block: np.ndarray) -> np.ndarray:
        inside, picked = pick(first, block, query, key)
        true[inside] = picked
        return table.count(first, block, None)

    above = sum(blocks(f, count), np.zeros(1, np.int64))
    if (true.view(np.uint32) != guess.view(np.uint32)).any():
        return true, ranks(f, true, **options)
    return true, table.ranks(above)


def ranks(
    f: Factors, of: np.ndarray, *, by_absolute_value: bool = False, keep_self: bool = False
) -> np.ndarray:
    """Return [values] int64: 1 + number of pairs with a strictly greater value."""
    table = RankTable(of, by_absolute_value=by_absolute_value, keep_self=keep_self)
    above = sum(
        blocks(f, lambda first, block: table.count(first, block, None)), np.zeros(1, np.int64)
    )
    return table.ranks(above)


def terms_at_once(d: int) -> int:
    """Return how many of d terms a product adds up before it adds them to the earlier ones.

    Found by trying (d from 1 to 4,096), promised by neither library: what relies on it must check.
    """
    if _ONEDNN:
        return d if d <= 512 else 512 if d <= 1024 else 1024
    if d <= 192:
        return d
    return 192 if d >= 384 else -(-d // 2)


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
