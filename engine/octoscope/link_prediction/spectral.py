"""Spectral embeddings of the training edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import eigsh, svds
from threadpoolctl import threadpool_limits

DIMENSIONS = 64
_DENSE = 600  # up to so many vertices a dense decomposition is as fast, and exact
_TOLERANCE = 1e-4


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


def scaled(matrix: sparse.csr_array) -> sparse.csr_array:
    """Return ``D_row^-1/2 A D_column^-1/2``; empty rows and columns stay empty."""
    rows, columns = (np.asarray(matrix.sum(axis), float).ravel() for axis in (1, 0))
    left, right = (_root(d) for d in (rows, columns))
    out = matrix.copy()
    out.data = matrix.data * np.repeat(left, np.diff(matrix.indptr)) * right[matrix.indices]
    out.data = out.data.astype(np.float32)
    return out


def _root(degree: np.ndarray) -> np.ndarray:
    return np.where(degree > 0, 1 / np.sqrt(np.maximum(degree, 1e-30)), 0.0)


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
    if n <= _DENSE:
        values, vectors = np.linalg.eigh(matrix.toarray().astype(float))
    else:
        with threadpool_limits(1):  # its vectors are narrow: threads wait for one another
            values, vectors = eigsh(matrix, k=k, which="LM", v0=_start(n), tol=_TOLERANCE)
    order = np.argsort(-np.abs(values), kind="stable")
    omitted = np.abs(values[order[k:]]).max(initial=0.0) if n <= _DENSE else abs(values[order[-1]])
    values, vectors = values[order[:k]], vectors[:, order[:k]]
    return Spectrum(values.astype(float), vectors.astype(np.float32), float(omitted))


def directed_spectrum(
    adjacency: sparse.csr_array, dimensions: int = DIMENSIONS
) -> tuple[np.ndarray, np.ndarray]:
    """Return [vertices, dimensions] float32 of the starts and of the ends of edges.

    Their product is the best approximation of rank ``dimensions`` of
    ``D_out^-1/2 A D_in^-1/2``.
    """
    matrix, n = scaled(adjacency), adjacency.shape[0]
    k = min(dimensions, n)
    if n <= _DENSE:
        u, s, vt = np.linalg.svd(matrix.toarray().astype(float))
    else:
        with threadpool_limits(1):
            u, s, vt = svds(matrix, k=k, v0=_start(n), tol=_TOLERANCE)
    order = np.argsort(-s, kind="stable")[:k]
    root = np.sqrt(np.maximum(s[order], 0))
    return (u[:, order] * root).astype(np.float32), (vt[order].T * root).astype(np.float32)


def _start(n: int) -> np.ndarray:
    """Return the vector that the iteration starts from: the same in each run."""
    return np.random.default_rng(0).standard_normal(n).astype(np.float32)


def products(left: np.ndarray, right: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return [pairs] float64 products of rows ``left[a]`` and ``right[b]``, in blocks."""
    out = np.empty(len(a))
    for lo in range(0, len(a), 1 << 16):
        part = slice(lo, lo + (1 << 16))
        out[part] = np.einsum("ij,ij->i", left[a[part]], right[b[part]])
    return out
