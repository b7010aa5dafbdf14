"""Matrices given as products."""

from __future__ import annotations

import numpy as np
from octoscope.attention.low_rank import Factors

from tests.attention.reference import cell_attention


def test_the_product_of_folded_heads_is_the_head_mean_of_logits() -> None:
    rng = np.random.default_rng(1)
    q, k = rng.standard_normal((2, 3, 9, 5)).astype(np.float32)
    _, logit = cell_attention(q, k, 0.7, np.ones(9, bool))
    f = Factors.of_heads(q, k, 0.7)
    assert np.abs(f.q @ f.k.T - logit).max() < 1e-5
