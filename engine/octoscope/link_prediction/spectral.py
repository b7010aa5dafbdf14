"""Spectral embeddings of the training edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import eigsh
from threadpoolctl import threadpool_limits

from octoscope.gnn.directed_spectrum import DENSE, TOLERANCE, scaled, seed_of_restarts, start_vector

DIMENSIONS = 64


@dataclass(frozen=True)
class Spectrum:
    """Leading eigenvectors of ``D^-1/2 A D^-1/2`` of the symmetric adjacency.

    Attributes
    ----------
    values
        [dimensions] float64, largest absolute value first.
    vectors
        [vertices, dimensions] float32.
    left_out
        Bound of the absolute values that are left out.
    """

    values: np.ndarray
    vectors: np.ndarray
    left_out: float


def spectrum(near: sparse.csr_array, dimensions: int = DIMENSIONS) -> Spectrum:
    """Decompose a symmetric adjacency.

    Parameters
    ----------
    near
        [vertices, vertices] of :func:`octoscope.link_prediction.adjacency.neighbours`.
    dimensions
        Eigenvectors to keep; fewer where there are fewer vertices.
    """
    matrix, n = scaled(near), near.shape[0]
    k = min(dimensions, n)
    if n <= DENSE:
        values, vectors = np.linalg.eigh(matrix.toarray().astype(float))
    else:
        with threadpool_limits(1):  # its vectors are narrow: threads wait for one another
            values, vectors = eigsh(
                matrix, k=k, which="LM", v0=start_vector(n), tol=TOLERANCE, **seed_of_restarts()
            )
    order = np.argsort(-np.abs(values), kind="stable")
    omitted = np.abs(values[order[k:]]).max(initial=0.0) if n <= DENSE else abs(values[order[-1]])
    values, vectors = values[order[:k]], vectors[:, order[:k]]
    return Spectrum(values.astype(float), vectors.astype(np.float32), float(omitted))


def products(left: np.ndarray, right: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return [pairs] float64 products of rows ``left[a]`` and ``right[b]``, in blocks."""
    out = np.empty(len(a))
    for lo in range(0, len(a), 1 << 16):
        part = slice(lo, lo + (1 << 16))
        out[part] = np.einsum("ij,ij->i", left[a[part]], right[b[part]])
    return out
