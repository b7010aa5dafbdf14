"""Numbers of unordered pairs of names, which depend on nothing else: for folds and splits."""

from __future__ import annotations

import numpy as np
import pandas as pd


def pair_hash(names: pd.Index, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return [pairs] uint64 numbers of unordered pairs of vertices.

    They depend on the two names only: not on the order of the vertices, of the two, or of pairs.

    Parameters
    ----------
    names
        Names of the vertices.
    a, b
        [pairs] int64 vertices.
    """
    number = pd.util.hash_array(names.to_numpy(object), categorize=False)
    low, high = np.minimum(number[a], number[b]), np.maximum(number[a], number[b])
    mixed = (low * np.uint64(0x9E3779B97F4A7C15)) ^ high
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # splitmix64
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))
