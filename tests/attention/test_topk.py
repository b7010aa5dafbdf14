"""Top-K equals brute force: ties, signs of zero, infinities, caps, row tiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from octoscope.attention import topk
from octoscope.attention.topk import TopK

from tests.attention.reference import top_k

ONE = np.float32(1)
# 1 and its neighbours on either side differ by one bit
VALUES = st.sampled_from(
    [-np.inf, -3.25, -2.0, -0.0, 0.0, 0.5, np.nextafter(ONE, -ONE), 1.0, np.nextafter(ONE, 2 * ONE),
     3.25, np.inf]
)  # fmt: skip


def collect(
    values: np.ndarray,
    eligible: np.ndarray,
    k: int,
    tile: int,
    cap: int | None,
    absolute: bool = False,
) -> TopK:
    collector = TopK(k, cap, by_absolute_value=absolute)
    for first in range(0, len(values), tile):
        collector.update(first, values[first : first + tile], eligible[first : first + tile])
    return collector


@settings(max_examples=150, deadline=None)
@given(
    st.integers(2, 9), st.integers(1, 40), st.integers(1, 9), st.booleans(), st.booleans(),
    st.data(),
)  # fmt: skip
def test_equals_brute_force_with_all_ties(
    n: int, k: int, tile: int, little_room: bool, absolute: bool, draw: st.DataObject
) -> None:
    values = draw.draw(arrays(np.float32, (n, n), elements=VALUES.map(np.float32)))
    eligible = draw.draw(arrays(bool, (n, n)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topk, "_ROOM", 1 if little_room else 1 << 16)
        top = collect(values, eligible, k, tile, n * n, absolute).result()
    assert list(zip(top.query.tolist(), top.key.tolist(), strict=True)) == top_k(
        np.abs(values) if absolute else values, eligible, k
    )
    assert (top.value == values[top.query, top.key]).all()  # signs are kept
    assert not top.tie_truncated
    assert not np.signbit(top.value[top.value == 0]).any()


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 9), st.integers(1, 20), st.integers(1, 9), st.data())
def test_a_cap_keeps_the_lexicographically_first_ties(
    n: int, k: int, tile: int, draw: st.DataObject
) -> None:
    values = draw.draw(arrays(np.float32, (n, n), elements=VALUES.map(np.float32)))
    eligible = np.ones((n, n), bool)
    top = collect(values, eligible, k, tile, cap=k).result()
    every = top_k(values, eligible, k)
    assert list(zip(top.query.tolist(), top.key.tolist(), strict=True)) == every[:k]
    assert top.tie_truncated == (len(every) > k)


@pytest.mark.parametrize("room", [1, 1 << 16])
def test_many_rising_values_compact_without_loss(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topk, "_ROOM", room)  # with cap 20: thinned out every 80 pairs
    values = np.arange(40_000, dtype=np.float32).reshape(200, 200)
    top = collect(values, np.ones((200, 200), bool), 10, 7, None).result()
    assert (
        top.value.tolist()
        == sorted(
            (v for i, row in enumerate(values) for j, v in enumerate(row) if i != j), reverse=True
        )[:10]
    )
