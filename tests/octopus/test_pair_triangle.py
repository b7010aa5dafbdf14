"""The triangle of unordered pairs against plain indexing."""

from __future__ import annotations

import numpy as np
import pytest
from octoscope.octopus.pair_triangle import n_pairs, pair_index, square, triangle


@pytest.mark.parametrize("n", [0, 1, 2, 7, 700])
def test_a_square_and_its_triangle(n: int) -> None:
    """Red: blocks of the lower half; one row too few; pairs in one order alone."""
    whole = np.add.outer(np.arange(n) ** 2, np.arange(n) ** 2).astype(np.float32)
    np.fill_diagonal(whole, np.nan)
    values = triangle(whole)
    i, j = np.triu_indices(n, 1)
    assert len(values) == n_pairs(n) == len(i)
    np.testing.assert_array_equal(values, whole[i, j])
    np.testing.assert_array_equal(square(values, n, np.nan), whole)
    for a, b in ((i, j), (j, i)):
        np.testing.assert_array_equal(pair_index(a, b, n), np.arange(len(i)))
