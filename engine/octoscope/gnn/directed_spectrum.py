"""Spectral coordinates of vertices as starts and as ends of directed edges."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh
from threadpoolctl import threadpool_limits

DENSE = 600  # up to so many vertices a dense decomposition is as fast, and exact
TOLERANCE = 1e-4


def adjacency_of(src: np.ndarray, dst: np.ndarray, n: int) -> sparse.csr_array:
    """Return [n, n] float32 CSR: 1 where an edge leads from row to column.

    Parallel edges count once; self pairs are left out. ``src``, ``dst``: [edges] int64.
    """
    apart = src != dst
    keys = np.unique(src[apart] * n + dst[apart])
    a, b = (keys // n).astype(np.int32), (keys % n).astype(np.int32)
    ones = np.ones(len(keys), np.float32)
    return sparse.coo_array((ones, (a, b)), shape=(n, n)).tocsr()


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


def directed_spectrum(
    adjacency: sparse.csr_array, dimensions: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return [vertices, dimensions] float32 of the starts and of the ends of edges.

    Their product is the best approximation of rank ``dimensions`` of
    ``D_out^-1/2 A D_in^-1/2``.
    """
    matrix = scaled(adjacency)
    u, s, vt = leading_singular(matrix, min(dimensions, matrix.shape[0]))
    root = np.sqrt(np.maximum(s, 0))
    return (u * root).astype(np.float32), (vt.T * root).astype(np.float32)


def leading_singular(matrix: sparse.csr_array, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``u`` [n, k], ``s`` [k] and ``vt`` [k, n] of a square matrix, largest first.

    Fewer than ``k`` where so few rows or columns have entries.
    """
    if matrix.shape[0] <= DENSE:
        u, s, vt = np.linalg.svd(matrix.toarray().astype(float))
    else:
        with threadpool_limits(1):  # its vectors are narrow: threads wait for one another
            try:
                u, s, vt = largest_singular(matrix, k)
            except ArpackNoConvergence:
                raise
            except ArpackError:  # few edges, most of them apart from all others
                u, s, vt = _of_vertices_with_edges(matrix)
    order = np.argsort(-s, kind="stable")[:k]
    return u[:, order], s[order], vt[order]


def largest_singular(matrix: sparse.csr_array, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``u`` [rows, k], ``s`` [k] and ``vt`` [k, columns], the same in each call.

    As :func:`scipy.sparse.linalg.svds` does it, from the product of the matrix with its transpose.
    That one starts again from other random numbers in each call where singular values are equal.
    """
    transposed, n = matrix.T.tocsr(), matrix.shape[1]
    product = LinearOperator(
        (n, n), matvec=lambda v: transposed @ (matrix @ v), dtype=matrix.dtype
    )  # fmt: skip
    values, v = eigsh(product, k=k, v0=start_vector(n), tol=TOLERANCE**2, **seed_of_restarts())
    s = np.sqrt(np.maximum(values, 0))
    return (matrix @ v) / np.maximum(s, 1e-12), s, v.T


def _of_vertices_with_edges(
    matrix: sparse.csr_array,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the dense decomposition of the rows and columns that are not empty, 0 elsewhere."""
    rows, columns = (np.flatnonzero(np.diff(m.indptr)) for m in (matrix, matrix.T.tocsr()))
    left, s, right = np.linalg.svd(matrix[rows][:, columns].toarray().astype(float), False)
    u, vt = np.zeros((matrix.shape[0], len(s))), np.zeros((len(s), matrix.shape[1]))
    u[rows], vt[:, columns] = left, right
    return u, s, vt


def seed_of_restarts() -> dict[str, Any]:
    """Return the argument that makes ``eigsh`` start again from the same numbers in each call.

    Before SciPy 1.17 there is none, and its seed is fixed.
    """
    known = "rng" in inspect.signature(eigsh).parameters
    return {"rng": np.random.default_rng(0)} if known else {}


def start_vector(n: int) -> np.ndarray:
    """Return the [n] float32 vector that an iteration starts from: the same in each run."""
    return np.random.default_rng(0).standard_normal(n).astype(np.float32)
