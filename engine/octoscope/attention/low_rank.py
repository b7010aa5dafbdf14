"""A matrix given as a product Q K^T, so that it costs [genes, d] in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Factors:
    """Queries and keys whose products are the matrix: value_ij = q_i . k_j.

    Attributes
    ----------
    q, k
        [genes, d] float32, contiguous; all heads side by side, scale and head mean folded into q.
    """

    q: np.ndarray
    k: np.ndarray

    @classmethod
    def of_heads(cls, q: np.ndarray, k: np.ndarray, scale: float) -> Factors:
        """Fold [heads, genes, d_head] arrays: the product is the mean over heads of scale q.k."""
        heads, genes, width = q.shape

        def side_by_side(x: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(
                x.transpose(1, 0, 2).reshape(genes, heads * width), np.float32
            )

        return cls(side_by_side(q) * np.float32(scale / heads), side_by_side(k))
