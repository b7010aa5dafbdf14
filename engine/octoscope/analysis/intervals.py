"""Intervals of estimates. In its own module, because tables are read without numba."""

from __future__ import annotations

import numpy as np


def jackknife_interval(estimate: float | np.ndarray, left_out: np.ndarray) -> tuple[float, float]:
    """Return the normal 95 % interval from delete-one estimates; NaN when undefined."""
    left_out = left_out[~np.isnan(left_out)]
    n = len(left_out)
    if n < 3 or np.isnan(estimate):
        return float("nan"), float("nan")
    se = np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    return float(estimate - 1.959964 * se), float(estimate + 1.959964 * se)
