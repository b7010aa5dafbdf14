"""Reading columns of the data frames of an AnnData store (obs, var)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from octoscope.atlas import chunks
from octoscope.atlas.frame_columns import ColumnPart, attribute, column_parts, column_values
from octoscope.errors import InputError, reading


def as_text(values: Any, missing: str | None = None) -> np.ndarray:
    """Return any array of names (fixed width, variable width, categorical) as str objects.

    ``missing``: what stands for missing values; None: what pandas calls them.
    """
    series = pd.Series(values)
    text = series.astype(str).to_numpy(dtype=object, copy=True)
    if missing is not None:
        text[series.isna().to_numpy()] = missing
    return text


def frame_columns(group: Any) -> list[str]:
    """Return the column names of an AnnData data frame group."""
    return [str(c) for c in attribute(group, "column-order", [])]


def index_name(group: Any) -> str:
    """Return the name of the array that holds the index of a data frame group."""
    return str(attribute(group, "_index", "_index"))


def read_index(group: Any, path: str) -> np.ndarray:
    """Return the index of a data frame group, [rows] str objects.

    Raises
    ------
    InputError
        If a chunk of it is missing or cannot be decoded; ``path`` is the store's.
    """
    return as_text(_read(group, index_name(group), path))


def read_column(group: Any, name: str, path: str, *, fill_missing: bool = False) -> pd.Series:
    """Return one column of a data frame group; only that column is read.

    ``fill_missing``: missing chunks are zeros.

    Raises
    ------
    InputError
        If a chunk of it is missing, cannot be decoded or names a category that is not there; if
        its layout is not known, or it has another length than the index.
    """
    return pd.Series(_read(group, name, path, fill_missing))


def read_frame(group: Any, path: str) -> pd.DataFrame:
    """Return a whole data frame; missing chunks are read as zeros.

    Raises
    ------
    InputError
        If a chunk cannot be decoded or names a category that is not there, or a column's layout is
        not known.
    """
    key = index_name(group)
    index = pd.Index(as_text(_whole(group, key, path)), name=None if key == "_index" else key)
    columns = {}
    for name in frame_columns(group):
        columns[name] = _whole(group, name, path)
    return pd.DataFrame(columns, index=index)


def _read(group: Any, name: str, path: str, fill_missing: bool = False) -> Any:
    with reading(f"{path}: {chunks.name_of(group)}/{name}", chunks.RESTORE):
        return _read_parts(group, name, path, fill_missing)


def _read_parts(group: Any, name: str, path: str, fill_missing: bool) -> Any:
    parts = column_parts(group, name, path)
    for part in parts:
        for chunk in () if fill_missing or part.fill_missing else chunks.chunks_of(part.array):
            if not chunks.is_stored(part.array, chunk):
                raise chunks.damage(path, part.array, chunk, chunks.ABSENT)
    return _decoded(group, name, parts, path)


def _whole(group: Any, name: str, path: str) -> Any:
    with reading(f"{path}: {chunks.name_of(group)}/{name}", chunks.RESTORE):
        return _decoded(group, name, column_parts(group, name, path), path)


def _decoded(group: Any, name: str, parts: list[ColumnPart], path: str) -> Any:
    """Return a column as AnnData's reader of frames gives it; ``parts`` are its arrays."""
    _require_sizes(group, name, parts, path)
    try:
        return column_values(group, name, path)
    except InputError:
        raise
    except chunks.BROKEN as error:
        if chunks.is_transient(error):
            raise
        _refuse_undecodable(parts, path)
        raise InputError(
            f"{path}: {chunks.name_of(group)}/{name}",
            f"its arrays can be decoded, but make no column ({type(error).__name__}: {error})",
            "write the column again with anndata",
        ) from None


def _refuse_undecodable(parts: list[ColumnPart], path: str) -> None:
    """Name the chunk of a column that cannot be decoded or holds a code of no category."""
    for part in parts:
        for chunk in chunks.chunks_of(part.array):
            values, problem = chunks.try_chunk(part.array, chunk, fill_missing=True)
            if values is not None and part.limits is not None:
                fault = chunks.range_fault(values, *part.limits)
                problem = fault[1] if fault else None
            if problem is not None:
                raise chunks.damage(path, part.array, chunk, problem)


def _require_sizes(group: Any, name: str, parts: list[ColumnPart], path: str) -> None:
    """Compare the sizes that arrays state with each other, or their store, before they are read."""
    *others, values = parts
    rows = int(values.array.shape[0])
    if name == index_name(group):
        chunks.require_end(path, values.array)
    else:
        _require_length(group, name, rows, path)
    for part in others:
        if not part.fill_missing:  # names of categories
            chunks.require_end(path, part.array)
        elif int(part.array.shape[0]) != rows:
            where = f"{path}: {chunks.name_of(part.array)}"
            problem = f"{part.array.shape[0]:,} values for {rows:,}"
            raise InputError(where, problem, chunks.RESTORE)


def _require_length(group: Any, name: str, rows: int, path: str) -> None:
    expected = int(column_parts(group, index_name(group), path)[-1].array.shape[0])
    if rows != expected:
        where = f"{path}: {chunks.name_of(group)}/{name}"
        raise InputError(where, f"{rows:,} values for {expected:,} rows", chunks.RESTORE)


_TRUTH = {
    **dict.fromkeys(("true", "t", "yes", "y", "1", "1.0"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0", "0.0"), False),
}
_MISSING = ("nan", "<na>", "none")


def as_bool(column: pd.Series, where: str) -> np.ndarray:
    """Read a truth column, [rows] bool, stored as bool, nullable bool, text, or 1 and 0.

    Missing is False.

    Raises
    ------
    InputError
        If a value is neither; ``where``: the store.
    """
    text = column.astype(str).str.strip().str.lower()
    odd = ~text.isin([*_TRUTH, *_MISSING])
    if odd.any():
        raise InputError(
            f"{where}: obs[is_primary_data]",
            f"holds {text[odd].iloc[0]!r}, expected true and false (or 1 and 0)",
            "write it as true and false; atlas.primary_only: false lets copies of other data in",
        )
    return text.map(_TRUTH).eq(True).to_numpy(bool)
