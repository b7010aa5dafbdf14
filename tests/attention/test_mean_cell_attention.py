"""Attention of a mean cell, computed when rows of it are read, against the slow reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.attention.mean_cell_attention import MeanCell
from octoscope.attention.query_key_batch import Heads
from octoscope.attention.views import QUANTITIES
from octoscope.errors import MassError

from tests.attention import reference


def streams(
    seed: int, genes: int, heads: int, width: int, share: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    q, k = rng.normal(size=(2, heads, genes, width)).astype(np.float32)
    return q, k, rng.random(genes) < share


def expected(q: np.ndarray, k: np.ndarray, present: np.ndarray, heads: Heads) -> np.ndarray:
    """Return [quantities, genes, genes] in float64."""
    at, whole = np.flatnonzero(present), np.zeros((len(QUANTITIES), len(present), len(present)))
    if len(at):
        mask = np.ones(len(at), bool)
        probability, logit = reference.cell_attention(q[:, at], k[:, at], 1.0, mask, heads)
        for i, values in enumerate((probability, len(at) * probability, logit)):
            whole[i][np.ix_(at, at)] = values
    return whole


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    genes=st.integers(1, 90),
    share=st.sampled_from([0.0, 0.5, 1.0]),
    heads=st.sampled_from(["mean", "max", 0, 2]),
    edges=st.lists(st.integers(0, 90), max_size=4),
)
def test_any_rows_equal_the_reference(
    seed: int, genes: int, share: float, heads: Heads, edges: list[int]
) -> None:
    q, k, present = streams(seed, genes, 3, 8, share)
    cell, want = MeanCell(q, k, present, heads, "here"), expected(q, k, present, heads)
    cuts = sorted({0, genes, *(e for e in edges if e < genes)})
    for i in range(len(QUANTITIES)):
        parts = [cell.rows(i, a, b) for a, b in zip(cuts, cuts[1:], strict=False)]
        got = np.concatenate(parts)
        np.testing.assert_allclose(got, want[i], rtol=2e-5, atol=2e-6 * max(1, abs(want[i]).max()))
    np.testing.assert_allclose(cell.mass(), want[0].sum(1), rtol=1e-5)


def test_the_same_rows_are_the_same_bits_again() -> None:
    q, k, present = streams(1, 700, 4, 16, 0.9)  # several blocks
    for i in range(len(QUANTITIES)):
        once, again = (MeanCell(q, k, present, "mean", "here").rows(i, 64, 640) for _ in range(2))
        assert np.array_equal(once, again)


@pytest.mark.parametrize("quantity", range(len(QUANTITIES)))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_by_name(quantity: int, value: float) -> None:
    q, k, present = streams(2, 20, 2, 4, 1.0)
    k[1, 7, 0] = value
    with pytest.raises(MassError, match=r"^layer 3, mean cell of half 0: "):
        MeanCell(q, k, present, "mean", "layer 3, mean cell of half 0").rows(quantity, 0, 20)
