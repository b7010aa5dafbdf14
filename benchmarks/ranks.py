"""Values and exact ranks of chosen pairs in a whole matrix from row tiles, against sorting it.

    python benchmarks/ranks.py [--genes 6000] [--queries 30000]

One fresh process a side and run, three runs, medians; outputs included. The other side sorts the
eligible off-diagonal values once and searches in them. Prints one JSON line last.
"""

from __future__ import annotations

import argparse

import numpy as np
from octoscope.attention.ranks import values_and_ranks
from whole_matrix import compare, tiles


def queries(a: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    query, key = rng.integers(a.genes, size=(2, a.queries))
    return query, np.where(query == key, (key + 1) % a.genes, key)


def ours(values: np.ndarray, eligible: np.ndarray, a: argparse.Namespace) -> tuple[np.ndarray, ...]:
    at_pairs, ranks, _ = values_and_ranks(lambda: tiles(values, eligible), *queries(a))
    return at_pairs, ranks


def sorting(
    values: np.ndarray, eligible: np.ndarray, a: argparse.Namespace
) -> tuple[np.ndarray, ...]:
    keep = eligible.copy()
    np.fill_diagonal(keep, False)
    rising = np.sort(values[keep])
    query, key = queries(a)
    at_pairs = values[query, key]
    ranks = 1 + len(rising) - np.searchsorted(rising, at_pairs, side="right")
    known = keep[query, key]
    return np.where(known, at_pairs, np.float32(np.nan)), np.where(known, ranks, 0)


if __name__ == "__main__":
    compare("ranks", __file__, {"ours": ours, "sorting": sorting}, {"queries": 30_000})
