"""Row blocks of a matrix, and merging parts in a fixed order."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

Part = TypeVar("Part")


def row_ranges(n: int, tile: int, rows: np.ndarray | None = None) -> Iterator[tuple[int, int]]:
    """Yield (first, stop) of each row tile; ``rows``: only of those that hold one of these."""
    firsts = range(0, n, tile) if rows is None else np.unique(rows // tile * tile).tolist()
    for first in firsts:
        yield first, min(first + tile, n)


def fold_tree(parts: Iterable[Part], merge: Callable[[Part, Part], Part]) -> Part | None:
    """Merge in a fixed binary tree over the order given; None if there is nothing.

    The order is by unit index, so the result does not depend on which unit finished first. Parts
    are taken one by one: beside the one at hand at most log2(parts) + 1 merged ones are held.
    """
    merged: list[tuple[int, Part]] = []  # (parts merged, value), sizes falling
    for part in parts:
        size = 1
        while merged and merged[-1][0] == size:
            before, value = merged.pop()
            part, size = merge(value, part), size + before
        merged.append((size, part))
    if not merged:
        return None
    total = merged.pop()[1]
    while merged:
        total = merge(merged.pop()[1], total)
    return total


def tree_sum(parts: Iterable[np.ndarray]) -> np.ndarray | None:
    """Sum in the parts' dtype; see :func:`fold_tree`."""
    return fold_tree(parts, operator.add)
