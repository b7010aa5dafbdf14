"""Connected components of things that share keys."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components


def components(n: int, item: np.ndarray, key: Any) -> np.ndarray:
    """Join items that share a key, transitively.

    Parameters
    ----------
    n
        Number of items.
    item
        [rows] item of each row.
    key
        [rows] key of each row, of any hashable kind.

    Returns
    -------
    [n] int64
        Component of each item, numbered by first appearance in ``item``; items without a row
        come last, each for itself.
    """
    item = np.asarray(item, np.int64)
    codes, distinct = pd.factorize(np.asarray(key, dtype=object))
    graph = coo_matrix(
        (np.ones(len(item), np.int8), (item, n + codes)), shape=(n + len(distinct),) * 2
    )
    _, label = connected_components(graph, directed=False)
    order = np.concatenate([item, np.arange(n)])
    number, _ = pd.factorize(label[order])
    out = np.empty(n, np.int64)
    out[order] = number
    return out
