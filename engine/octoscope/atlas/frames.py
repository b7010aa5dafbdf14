"""Reading columns of the data frames of an AnnData store (obs, var)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata.io import read_elem

from octoscope.atlas import chunks
from octoscope.errors import InputError


def as_text(values: Any) -> np.ndarray:
    """Return any array of names (fixed width, variable width, categorical) as str objects."""
    return pd.Series(values).astype(str).to_numpy(dtype=object)


def frame_columns(group: Any) -> list[str]:
    """Return the column names of an AnnData data frame group."""
    return [str(c) for c in group.attrs.get("column-order", [])]


def index_name(group: Any) -> str:
    """Return the name of the array that holds the index of a data frame group."""
    return str(group.attrs.get("_index", "_index"))


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
        If a chunk of it is missing, cannot be decoded or names a category that is not there.
    """
    return pd.Series(_read(group, name, path, fill_missing))


@dataclass(frozen=True)
class ColumnPart:
    """One array of a column.

    Attributes
    ----------
    array
        The array.
    may_lack
        Whether chunks may be missing, because nothing can be mistaken: codes of a column with one
        category, and the mask of missing values, of which most columns have none. Elsewhere
        missing codes would turn cells into the first category, missing numbers into 0 or False.
    limits
        [low, stop) of a categorical column's codes; None for other arrays.
    """

    array: Any
    fill_missing: bool = False
    limits: tuple[int, int] | None = None


def column_parts(node: Any) -> list[ColumnPart]:
    """Return the arrays of a column of a data frame."""
    if not hasattr(node, "keys"):
        return [ColumnPart(node)]
    if node.attrs.get("encoding-type") == "categorical":
        categories = node["categories"]
        n = int(categories.shape[0])
        return [ColumnPart(categories), ColumnPart(node["codes"], n == 1, (-1, n))]
    return [ColumnPart(node[name], name == "mask") for name in sorted(node.keys())]


def read_frame(group: Any, path: str) -> pd.DataFrame:
    """Return a whole data frame; missing chunks are read as zeros.

    Raises
    ------
    InputError
        If a chunk cannot be decoded or names a category that is not there.
    """
    return _decoded(group, [group[name] for name in group], path)


def _read(group: Any, name: str, path: str, fill_missing: bool = False) -> Any:
    node = chunks.required(group, name, path)
    for part in column_parts(node):
        for chunk in () if fill_missing or part.fill_missing else chunks.chunks_of(part.array):
            if not chunks.is_stored(part.array, chunk):
                raise chunks.damage(path, part.array, chunk, chunks.ABSENT)
    return _decoded(node, [node], path)


def _decoded(node: Any, columns: list[Any], path: str) -> Any:
    """Return an element as AnnData reads it; ``columns`` are the columns in it."""
    try:
        return read_elem(node)
    except chunks.BROKEN as error:
        if chunks.is_transient(error):
            raise
        for column in columns:
            _refuse_undecodable(column, path)
        where = f"{path}: {chunks.name_of(node)}"
        raise InputError(where, chunks.undecodable(error), chunks.RESTORE) from None


def _refuse_undecodable(node: Any, path: str) -> None:
    """Name the chunk of a column that cannot be decoded or holds a code of no category."""
    for part in column_parts(node):
        for chunk in chunks.chunks_of(part.array):
            values, problem = chunks.try_chunk(part.array, chunk, fill_missing=True)
            if values is not None and part.limits is not None:
                fault = chunks.range_fault(values, *part.limits)
                problem = fault[1] if fault else None
            if problem is not None:
                raise chunks.damage(path, part.array, chunk, problem)


def as_bool(column: pd.Series, where: str) -> np.ndarray:
    """Read a truth column stored as bool, nullable bool or text; missing is False.

    Raises
    ------
    InputError
        If a value is neither; ``where``: the store.
    """
    text = column.astype(str).str.lower()
    if not text.isin(["true", "false", "nan", "<na>", "none"]).all():
        odd = text[~text.isin(["true", "false"])].iloc[0]
        raise InputError(
            f"{where}: obs[is_primary_data]", f"holds {odd!r}", "set atlas.primary_only: false"
        )
    return (text == "true").to_numpy()
