"""Matrices given as products: top pairs, values and ranks equal those of the matrix itself."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from octoscope.attention import gemm
from octoscope.attention.gemm import Keys
from octoscope.attention.low_rank import Factors

from tests.attention.reference import top_k

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import factor_readings
from factor_readings import ranks, top_pairs, values, values_and_ranks

WHOLE = st.integers(-3, 3)  # products of small integers are exact, and tie often


@st.composite
def products(draw: st.DrawFn) -> Factors:
    n, d = draw(st.integers(2, 12)), draw(st.integers(1, 4))
    q, k = (draw(arrays(np.int64, (n, d), elements=WHOLE)).astype(np.float32) for _ in "qk")
    return Factors(q, k)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factor_readings, "_ROWS", (1, 3))


def shown(matrix: np.ndarray, absolute: bool) -> np.ndarray:
    return np.abs(matrix) if absolute else matrix


@settings(max_examples=150, deadline=None)
@given(products(), st.integers(1, 30), st.booleans())
def test_top_pairs_are_those_of_the_matrix(f: Factors, k: int, absolute: bool) -> None:
    matrix = f.q @ f.k.T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factor_readings, "_ROWS", (1, 3))
        top = top_pairs(f, k, by_absolute_value=absolute)
    pairs = list(zip(top.query.tolist(), top.key.tolist(), strict=True))
    every = top_k(shown(matrix, absolute), np.ones(matrix.shape, bool), k)
    assert pairs == every[: max(k, 2 * k)]
    assert top.tie_truncated == (len(every) > 2 * k)
    assert (top.value == matrix[top.query, top.key]).all()  # signs are kept


@settings(max_examples=150, deadline=None)
@given(products(), st.booleans(), st.booleans())
def test_ranks_count_strictly_greater_pairs(f: Factors, absolute: bool, keep_self: bool) -> None:
    matrix = f.q @ f.k.T
    n = len(matrix)
    query, key = (x.ravel() for x in np.indices((n, n)))
    of_pairs = values(f, query, key)
    assert (of_pairs == matrix.ravel()).all()
    size = shown(matrix, absolute)
    pool = size.ravel() if keep_self else size[~np.eye(n, dtype=bool)]
    own_ranks = ranks(f, of_pairs, by_absolute_value=absolute, keep_self=keep_self)
    assert (own_ranks == [1 + (pool > v).sum() for v in size.ravel()]).all()


def test_threads_change_no_bit() -> None:
    rng = np.random.default_rng(0)
    q, k = rng.standard_normal((2, 4, 700, 16)).astype(np.float32)
    f = Factors.of_heads(q, k, 0.25)
    before = torch.get_num_threads()
    seen = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            top = top_pairs(f, 500, by_absolute_value=True)
            seen.append((top.query.tobytes(), top.value.tobytes(), ranks(f, top.value).tobytes()))
    finally:
        torch.set_num_threads(before)
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("d", [5, 96, 400])
@pytest.mark.parametrize("absolute", [False, True])
def test_values_and_ranks_are_those_of_two_readings(
    d: int, absolute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(d)
    f = Factors(*rng.standard_normal((2, 60, d), dtype=np.float32))
    query, key = rng.integers(60, size=(2, 500))

    def both() -> tuple[np.ndarray, np.ndarray]:
        return values_and_ranks(f, query, key, by_absolute_value=absolute)

    of_pairs = values(f, query, key)
    expected = of_pairs, ranks(f, of_pairs, by_absolute_value=absolute)
    for got, want in zip(both(), expected, strict=True):
        np.testing.assert_array_equal(got, want)
    # a guess that misses by the last bit is found out, whatever the BLAS
    exact = factor_readings._dot

    def off(*arguments: np.ndarray) -> None:
        exact(*arguments)
        out = arguments[-1]
        out[::7] = np.nextafter(out[::7], np.float32(np.inf))

    monkeypatch.setattr(factor_readings, "_dot", off)
    for got, want in zip(both(), expected, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.skipif(
    not gemm._ONEDNN or torch.backends.cpu.get_cpu_capability() != "AVX512",
    reason="oneDNN adds up in another order there",
)
@pytest.mark.parametrize("d", [16, 128, 192, 400, 512, 700, 1100])
def test_terms_are_added_in_the_order_that_ranks_guess(d: int) -> None:
    # a wrong guess costs a second reading and no bit; on the machines that we know it holds
    rng = np.random.default_rng(d)
    q, k = (rng.standard_normal((n, d), dtype=np.float32) for n in (64, 900))
    products = Keys(torch.from_numpy(k), 100).products(torch.from_numpy(q)).numpy()
    query, key = (x.ravel().astype(np.int64) for x in np.indices(products.shape))
    guess = np.empty(products.size, np.float32)
    factor_readings._dot(q, k, query, key, factor_readings.terms_at_once(d), guess)
    assert (guess == products.ravel()).mean() > 0.999
