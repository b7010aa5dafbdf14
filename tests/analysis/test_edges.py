"""The strongest keys of each query gene, against sorting the whole matrix."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from octoscope.analysis.edges import strongest_keys

from tests.analysis.matrices import source
from tests.analysis.test_summarise_matrix import N


def brute_force(
    values: np.ndarray, eligible: np.ndarray, k: int, threshold: float | None
) -> set[tuple[int, int, int]]:
    kept = set()
    for i in range(len(values)):
        keys = [j for j in range(len(values)) if j != i and eligible[i, j]]
        keys = [j for j in keys if threshold is None or values[i, j] >= threshold]
        keys.sort(key=lambda j: (-values[i, j], j))
        kept |= {(i, j, r + 1) for r, j in enumerate(keys[:k])}
    return kept


def rows_of(table: pd.DataFrame) -> set[tuple[int, int, int]]:
    return set(zip(table["query"], table["key"], table["rank"], strict=True))


@given(
    seed=st.integers(0, 1000),
    k=st.integers(1, 60),
    tile=st.sampled_from([5, 16, 64]),
    symmetrise=st.booleans(),
    threshold=st.sampled_from([None, 2.0]),
)
def test_equals_sorting(
    seed: int, k: int, tile: int, symmetrise: bool, threshold: float | None
) -> None:
    rng = np.random.default_rng(seed)
    halves = rng.integers(0, 5, (2, N, N)).astype(float)  # few values: many ties
    pairs = np.full((2, N, N), 50, np.int32)
    low = np.triu(rng.random((N, N)) < 0.2, 1)
    pairs[:, low | low.T] = 1
    m = source(halves, pairs, tile=tile)
    genes = np.sort(rng.choice(N, 25, replace=False))
    got = strongest_keys(
        m, genes, "conditional", per_query=k, threshold=threshold, symmetrise=symmetrise
    )
    first, values, eligible = zip(*m.values(genes, "conditional"), strict=True)
    assert first[0] == 0
    whole, usable = np.concatenate(values), np.concatenate(eligible)
    if symmetrise:
        whole = ((whole.astype(np.float64) + whole.T) / 2).astype(np.float32)
    want = {(genes[i], genes[j], r) for i, j, r in brute_force(whole, usable, k, threshold)}
    assert rows_of(got) == want


def test_symmetrising_before_the_choice_is_not_after() -> None:
    # the mistake: choosing keys of A and then averaging the two directions
    halves = np.zeros((2, N, N))
    halves[:, 0, 1], halves[:, 1, 0] = 1.0, 0.0
    halves[:, 0, 2] = halves[:, 2, 0] = 0.6
    m = source(halves, np.full((2, N, N), 50, np.int32))
    best = {}
    for symmetrise in (False, True):
        got = strongest_keys(
            m, np.arange(N), "conditional", per_query=1, threshold=None, symmetrise=symmetrise
        )
        best[symmetrise] = int(got.loc[got["query"] == 0, "key"].iloc[0])
    assert best == {False: 1, True: 2}


def test_a_threshold_above_everything_leaves_an_empty_table() -> None:
    m = source(np.ones((2, N, N)), np.full((2, N, N), 50, np.int32))
    got = strongest_keys(
        m, np.arange(N), "conditional", per_query=3, threshold=9.0, symmetrise=False
    )
    assert list(got.columns) == ["query", "key", "value", "rank", "cells"]
    assert got.empty
