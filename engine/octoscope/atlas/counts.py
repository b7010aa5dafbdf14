"""Finds raw counts and checks every value, never only the totals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from octoscope.atlas import chunks, open_store
from octoscope.config import AtlasConfig
from octoscope.errors import InputError

# Tables that went through text carry float noise; anything larger is not a count.
INTEGER_TOLERANCE = 1e-3
WHOLE = "not a whole number"  # in the message about a fraction


_SAMPLE_ROWS = 256

Rows = open_store.SparseRows | open_store.DenseRows


def sample_rows(n: int, most: int = _SAMPLE_ROWS) -> np.ndarray:
    """Return ``most`` rows in 8 runs spread over the matrix, so that few chunks are decoded."""
    if n <= most:
        return np.arange(n)
    run = most // 8
    starts = np.linspace(0, n - run, 8).astype(np.int64)
    return np.unique((starts[:, None] + np.arange(run)).ravel())


def candidates(config: AtlasConfig) -> list[str]:
    """Return the places where counts may be, in the order in which they are tried."""
    return ["raw.X", "layers/counts", "X"] if config.counts == "auto" else [config.counts]


def look_for_counts(root: Any, name: str, config: AtlasConfig) -> tuple[Rows | None, str | None]:
    """Open a place where counts may be; also return why a sample says that they are not there.

    Raises
    ------
    LayoutError
        If it is stored in a way that rows cannot be read from.
    DamageError
        If a chunk that was read is damaged.
    """
    node = open_store.element(root, name, config.path)
    if node is None:
        return None, "absent"
    rows = open_store.open_rows(node, config.path, fill_missing=config.fill_missing)
    if 0 in rows.shape:
        return None, empty_text(rows.shape)
    sample = sample_rows(rows.shape[0])
    data, indices, indptr = rows.rows(sample)
    fault = count_fault(data, whole=config.fractional_counts == "refuse")
    if fault is None:
        return rows, None
    at, what = fault
    row = row_of(indptr, at)
    where = rows.chunk_of(int(sample[row]), at - int(indptr[row]), int(indices[at]))
    return rows, f"holds {what} in {where}"


def empty_text(shape: tuple[int, ...]) -> str:
    """Return what is wrong with a matrix without cells or genes."""
    return f"is empty: {shape[0]:,} cells of {shape[1]:,} genes"


def find_counts(root: Any, config: AtlasConfig) -> tuple[str, Rows]:
    """Return the first place whose sampled values are counts (or the one asked for), opened.

    Raises
    ------
    InputError
        If there is none, or the one tried is damaged.
    """
    auto = config.counts == "auto"
    if auto and config.fractional_counts == "round":
        raise InputError(
            "atlas.fractional_counts",
            "round, and no place of the counts is named: normalised values would pass for counts",
            "set atlas.counts (--counts) to X, raw.X or layers/<name>",
        )
    seen = []
    for name in candidates(config):
        try:
            rows, problem = look_for_counts(root, name, config)
        except open_store.LayoutError as error:
            if not auto:
                raise
            rows, problem = None, error.problem
        if rows is not None and (problem is None or not auto):
            return name, rows
        seen.append(f"{name}: {problem}")
    raise InputError(
        f"{config.path}: counts",
        f"no raw counts found ({'; '.join(seen)})",
        advice(root, config),
    )


def advice(root: Any, config: AtlasConfig) -> str:
    """Say where in the store counts are that are not read, or what else to do."""
    layers = chunks.member(root, "layers", config.path)
    tried, good, ways = candidates(config), [], []
    for name in ("raw.X", *(f"layers/{name}" for name in layers or ()), "X"):
        try:
            _, problem = look_for_counts(root, name, config)
        except open_store.LayoutError as error:
            if name in tried:
                ways.append(f"{name}: {error.fix}")
            continue
        except InputError:
            continue
        if problem is None and name not in tried:
            good.append(name)
        elif problem is not None and WHOLE in problem and name in tried:
            ways.append(f"if {name} holds corrected counts: {rounding(name)}")
    if good:
        settings = " or ".join(f"atlas.counts: {n} (--counts {n})" for n in good)
        return f"a sample of {' and of '.join(good)} holds counts: set {settings}"
    first = "add raw counts as raw.X or layers/counts, or name their place in atlas.counts"
    return "; ".join([first, *ways])


def rounding(location: str) -> str:
    """Return the settings that read counts which are not whole."""
    return (
        f"atlas.counts: {location} and atlas.fractional_counts: round (--counts {location} "
        "--fractional-counts round)"
    )


def row_of(indptr: np.ndarray, at: int) -> int:
    """Return the row of the stored value ``at``."""
    return int(np.searchsorted(indptr, at, side="right")) - 1


def count_fault(data: np.ndarray, *, whole: bool = True) -> tuple[int, str] | None:
    """Return the position of the first value that is no count and what it is, or None.

    ``whole``: counts are whole numbers.
    """
    if not len(data) or data.dtype.kind == "u":
        return None
    if data.dtype.kind == "b":
        return 0, "truth values (whether a gene was seen, not how often)"
    # What sound data takes: three passes. NaN fails the first comparison.
    if (
        data.min() >= 0
        and data.max() < np.inf
        and (not whole or data.dtype.kind == "i" or np.array_equal(np.rint(data), data))
    ):
        return None
    if data.dtype.kind == "i":
        bad = data < 0
        kind = "negative"
    else:
        finite = np.isfinite(data)
        if not finite.all():
            at = int(np.argmin(finite))
            return at, f"{data[at]} (not finite)"
        if not whole or (data < 0).any():
            bad, kind = data < 0, "negative"
        else:
            bad, kind = np.abs(data - np.rint(data)) > INTEGER_TOLERANCE, WHOLE
    if not bad.any():
        return None
    at = int(np.argmax(bad))
    return at, f"{data[at]:g} ({kind})"


def check_counts(
    matrix: sparse.csr_matrix,
    cell_ids: np.ndarray,
    gene_ids: np.ndarray,
    chunk_of: Callable[[int, int, int], str],
    *,
    whole: bool = True,
) -> None:
    """Refuse a batch that holds anything but counts.

    Parameters
    ----------
    chunk_of
        Says where a value is stored, from its row of the batch, which of the row's values it is,
        and its column.
    whole
        Counts are whole numbers.

    Raises
    ------
    InputError
        Naming the first chunk, cell, gene and value at fault.
    """
    fault = count_fault(matrix.data, whole=whole)
    if fault is None:
        return
    at, what = fault
    row, column = row_of(matrix.indptr, at), int(matrix.indices[at])
    where = chunk_of(row, at - int(matrix.indptr[row]), column)
    raise InputError(
        f"{where}, cell {cell_ids[row]}, gene {gene_ids[column]}",
        f"value {what} where a raw count is expected",
        "point atlas.counts at raw counts (raw.X or layers/<name>); or restore the chunk"
        + ("; corrected counts: atlas.fractional_counts: round" if WHOLE in what else ""),
    )


def canonical(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Sort indices and sum duplicates, drop stored zeros, round float noise; returns float32."""
    if matrix.data.dtype not in (np.float32, np.float64):
        matrix.data = matrix.data.astype(np.float64)  # a sum may not fit in the type of its terms
    matrix.sum_duplicates()
    matrix.data = np.rint(matrix.data, out=matrix.data).astype(np.float32, copy=False)
    if matrix.nnz and matrix.data.min() <= 0:
        matrix.eliminate_zeros()
    return matrix
