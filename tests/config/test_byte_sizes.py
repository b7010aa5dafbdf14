"""Numbers of bytes as text."""

from __future__ import annotations

import pytest
from octoscope.config.byte_sizes import parse_bytes, size_text


@pytest.mark.parametrize("n", [1, 999, 1000, 1_500_000, 256_000_000, 2 * 10**9, 3 * 10**12 + 1])
def test_sizes_read_back_exactly(n: int) -> None:
    assert parse_bytes(size_text(n)) == n
