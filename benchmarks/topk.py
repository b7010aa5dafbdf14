"""Top-K of a whole matrix from row tiles, against one partition of all its values.

    python benchmarks/topk.py [--genes 6000] [--k 10000]

One fresh process a side and run, three runs, medians; outputs included. The other side is numpy's
``argpartition`` over the eligible off-diagonal values, as one would write it. Prints one JSON line
last.
"""

from __future__ import annotations

import argparse

import numpy as np
from octoscope.attention.topk import TopK
from whole_matrix import compare, tiles


def ours(values: np.ndarray, eligible: np.ndarray, a: argparse.Namespace) -> tuple[np.ndarray, ...]:
    top = TopK(a.k)
    for tile in tiles(values, eligible):
        top.update(*tile)
    best = top.result()
    return best.query, best.key, best.value


def partition(
    values: np.ndarray, eligible: np.ndarray, a: argparse.Namespace
) -> tuple[np.ndarray, ...]:
    shown = np.where(eligible, values, -np.inf)
    np.fill_diagonal(shown, -np.inf)
    flat = shown.ravel()
    last = flat[np.argpartition(flat, -a.k)[-a.k]]
    at = np.flatnonzero(flat >= last)  # with ties
    query, key = np.divmod(at, a.genes)
    order = np.lexsort((key, query, -flat[at]))
    return query[order].astype(np.int32), key[order].astype(np.int32), flat[at][order]


if __name__ == "__main__":
    compare("topk", __file__, {"ours": ours, "partition": partition}, {"k": 10_000})
