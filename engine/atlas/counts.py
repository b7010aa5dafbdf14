"""Checks that a matrix holds raw counts: every value, never only the totals."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from engine.errors import InputError

# Tables that went through text carry float noise; anything larger is not a count.
_INTEGER_TOLERANCE = 1e-3


def count_fault(data: np.ndarray) -> tuple[int, str] | None:
    """Return the position of the first value that is no count and what it is, or None."""
    if data.dtype.kind in "ub":
        return None
    if data.dtype.kind == "i":
        bad = data < 0
        kind = "negative"
    else:
        finite = np.isfinite(data)
        if not finite.all():
            at = int(np.argmin(finite))
            return at, f"{data[at]} (not finite)"
        if (data < 0).any():
            bad, kind = data < 0, "negative"
        else:
            bad, kind = np.abs(data - np.rint(data)) > _INTEGER_TOLERANCE, "not a whole number"
    if not bad.any():
        return None
    at = int(np.argmax(bad))
    return at, f"{data[at]:g} ({kind})"


def check_counts(
    matrix: sparse.csr_matrix, cell_ids: np.ndarray, gene_ids: np.ndarray, where: str
) -> None:
    """Refuse a batch that holds anything but counts.

    Raises
    ------
    InputError
        Naming the first cell, gene and value at fault.
    """
    fault = count_fault(matrix.data)
    if fault is None:
        return
    at, what = fault
    row = int(np.searchsorted(matrix.indptr, at, side="right")) - 1
    raise InputError(
        f"{where}, cell {cell_ids[row]}, gene {gene_ids[matrix.indices[at]]}",
        f"value {what} where a raw count is expected",
        "point atlas.counts at raw counts (raw.X or layers/<name>)",
    )


def canonical(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Sort indices and sum duplicates, drop stored zeros, round float noise; returns float32."""
    matrix.sum_duplicates()
    matrix.data = np.rint(matrix.data).astype(np.float32)
    matrix.eliminate_zeros()
    return matrix
