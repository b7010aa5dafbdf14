"""Products of queries and keys: right with and without oneDNN, packed or not, the same bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.attention import gemm
from octoscope.attention.gemm import Keys


def keys_of(queries: int, keys: int, d: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(queries, d, generator=g), torch.randn(keys, d, generator=g)


@pytest.mark.parametrize("onednn", [True, False])
@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 70), st.integers(1, 200), st.integers(1, 700), st.integers(1, 30),
    st.booleans(), st.integers(0, 1000),
)  # fmt: skip
def test_products_equal_those_in_double(
    onednn: bool, queries: int, keys: int, d: int, blocks: int, vary: bool, seed: int
) -> None:
    q, k = keys_of(queries, keys, d, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gemm, "_ONEDNN", onednn and gemm._ONEDNN)
        product = Keys(k, blocks, sizes_vary=vary).products(q)
        at = Keys(k, 1).products(q[:1])
    assert vary or product.shape == (queries, keys)
    product = product[:queries, :keys]
    assert product.shape == (queries, keys)
    want = q.double() @ k.double().T
    bound = q.double().abs() @ k.double().abs().T
    assert bool(((product - want).abs() <= 1e-6 * bound).all())
    np.testing.assert_allclose(at[0], product[0], rtol=1e-4, atol=1e-4)


def test_packing_and_the_layout_of_heads_change_no_bit() -> None:
    # [tokens, heads, d] seen as [heads, tokens, d], as a model's projections are
    q, k = torch.randn(2, 150, 3, 64).transpose(1, 2)
    plain = Keys(k[1].contiguous(), 1).products(q[1].contiguous())
    for blocks in (1, 100):
        assert torch.equal(Keys(k[1], blocks).products(q[1]), plain)


def test_numbers_that_are_not_finite_stay_where_they_are() -> None:
    q, k = keys_of(5, 40, 8, 0)
    k[7] = torch.nan
    q[2, 3] = torch.inf
    for blocks in (1, 100):
        products = Keys(k, blocks).products(q)
        assert bool(products[:, 7].isnan().all())
        assert not bool(products[2].isfinite().any())
        rest = torch.ones(5, 40, dtype=torch.bool)
        rest[2], rest[:, 7] = False, False
        assert bool(products[rest].isfinite().all())
