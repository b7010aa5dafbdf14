"""Ranks against brute force."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from octoscope.attention.ranks import values_and_ranks

ONE = np.float32(1)
# 1 and its neighbours on either side differ by one bit
VALUES = [-np.inf, -2, -1, -0.0, 0, np.nextafter(ONE, -ONE), 1, np.nextafter(ONE, 2 * ONE), np.inf]


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 8), st.integers(1, 8), st.booleans(), st.booleans(), st.data())
def test_ranks_count_strictly_greater_eligible_pairs(
    n: int, tile: int, absolute: bool, keep_self: bool, draw: st.DataObject
) -> None:
    values = draw.draw(arrays(np.float32, (n, n), elements=st.sampled_from(VALUES)))
    eligible = draw.draw(arrays(bool, (n, n)))
    pairs = np.array([(i, j) for i in range(n) for j in range(n) if i != j or keep_self])
    query, key = pairs[:, 0], pairs[:, 1]

    def tiles() -> list[tuple[int, np.ndarray, np.ndarray]]:
        return [(f, values[f : f + tile], eligible[f : f + tile]) for f in range(0, n, tile)]

    got, ranks, n_eligible = values_and_ranks(
        tiles, query, key, by_absolute_value=absolute, keep_self=keep_self
    )
    size = np.abs(values) if absolute else values
    pool = [size[i, j] for i, j in pairs if eligible[i, j]]
    assert n_eligible == len(pool)
    for (i, j), value, rank in zip(pairs, got, ranks, strict=True):
        if eligible[i, j]:
            assert value == values[i, j]
            assert rank == 1 + sum(v > size[i, j] for v in pool)
        else:
            assert np.isnan(value)
            assert rank == 0
