"""One column of a data frame of an AnnData store, in every layout that AnnData wrote since 0.7.

A frame says its version in ``encoding-version``:

- ``0.1.0`` (anndata 0.7): each column is an array. Codes of categories carry the attribute
  ``categories``, which leads to the array of names (HDF5: a reference; Zarr: its place in the
  frame, ``__categories/<column>``).
- ``0.2.0`` (anndata 0.8 and later): categories and values that can be missing are groups.

Both give what AnnData's reader of whole frames gives. Whatever else is there is refused: codes
without their names would pass for names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import pandas as pd

from octoscope.atlas import chunks
from octoscope.errors import InputError

_NULLABLE = ("nullable-integer", "nullable-boolean", "nullable-string-array")
REWRITE = (
    "read it with anndata and write it anew: ad.read_h5ad(path).write_h5ad(new_path); "
    "read_zarr and write_zarr for Zarr"
)


@dataclass(frozen=True)
class ColumnPart:
    """One array of a column.

    Attributes
    ----------
    array
        The array.
    fill_missing
        Whether chunks may be missing, because nothing can be mistaken: codes of a column with one
        category, and the mask of missing values, of which most columns have none. Elsewhere
        missing codes would turn cells into the first category, missing numbers into 0 or False.
    limits
        [low, stop) of a categorical column's codes; None for other arrays.
    """

    array: Any
    fill_missing: bool = False
    limits: tuple[int, int] | None = None


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """Return an attribute; text is str also where R or Julia wrote bytes, a list where many."""
    value = node.attrs.get(name, default)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, h5py.Empty):
        return default
    if isinstance(value, np.ndarray):
        return [v.decode() if isinstance(v, bytes) else v for v in value.tolist()]
    return value


def refuse_unknown_frame(node: Any, path: str) -> None:
    """Refuse an object in place of a data frame from which no column can be read.

    Raises
    ------
    InputError
        Saying what it is, and how it becomes one; ``path`` is the store's.
    """
    where = f"{path}: {chunks.name_of(node)}"
    if not hasattr(node, "keys"):
        kind = getattr(node, "dtype", None)
        if kind is not None and kind.names:
            problem = "one structured array, as anndata 0.6 and earlier wrote frames"
        else:
            problem = f"an array of {kind}, not a data frame"
        raise InputError(where, problem, REWRITE)
    known = [("dataframe", "0.1.0"), ("dataframe", "0.2.0")]
    seen = tuple(attribute(node, f"encoding-{what}") for what in ("type", "version"))
    if seen not in known or attribute(node, "_index") is None:
        problem = f"not a data frame that is known: encoding {seen[0]}, version {seen[1]}"
        if seen in known:
            problem = "a data frame that does not name its index (attribute _index)"
        raise InputError(where, problem, REWRITE)


def column_parts(frame: Any, name: str, path: str) -> list[ColumnPart]:
    """Return the arrays of a column of a data frame.

    Raises
    ------
    InputError
        If the column is not in the store, or stored in a way that is not known.
    """
    node = chunks.required(frame, name, path)
    names = _names_of_codes(frame, name, path)
    if names is not None:
        return _coded(names, node, path)
    return _parts(node, path)


def column_values(frame: Any, name: str, path: str) -> Any:
    """Return a column as AnnData's reader of frames gives it; missing chunks are zeros.

    Bytes are decoded as UTF-8, which that reader leaves to its user in some layouts. Raises
    what decoders raise, and InputError as :func:`column_parts`.
    """
    node = chunks.required(frame, name, path)
    names = _names_of_codes(frame, name, path)
    if names is not None:
        return _categorical(_array(node), names, bool(attribute(names, "ordered", False)))
    return _values(node)


def is_plain(node: Any) -> bool:
    """Tell whether a member of a frame is an array, not a group."""
    return not hasattr(node, "keys")


def _names_of_codes(frame: Any, name: str, path: str) -> Any | None:
    """Return the array of names that codes of anndata 0.7 lead to; None if they are no codes."""
    node = chunks.required(frame, name, path)
    target = node.attrs.get("categories", None)
    where = f"{path}: {chunks.name_of(node)}"
    if not is_plain(node):
        return None
    if target is None:
        coded = node.dtype.kind in "iu"
        if coded and name in (chunks.member(frame, "__categories", path) or {}):
            raise InputError(
                where,
                f"codes whose names lie in __categories/{name}, but no attribute `categories` "
                "leads there",
                "write the column again from the original, with its names",
            )
        return None
    version = attribute(frame, "encoding-version")
    if version != "0.1.0":
        problem = f"codes as anndata 0.7 wrote them, in a data frame of version {version}"
        raise InputError(where, problem, "write the column again, as a pandas Categorical")
    names = None
    try:
        if isinstance(target, h5py.Reference):
            names = frame[target]
        elif isinstance(target, str):
            names = chunks.member(frame, target, path)
    except InputError:
        raise
    except chunks.BROKEN as error:  # a reference to nothing
        if chunks.is_transient(error):
            raise
    if names is None or names.name is None or not is_plain(names):  # no name: deleted in HDF5
        raise InputError(
            where,
            "codes of categories whose names are not in the store: its attribute `categories` "
            f"leads nowhere ({target!r})",
            "write the column again from the original, with its names",
        )
    return names


def _coded(names: Any, codes: Any, path: str) -> list[ColumnPart]:
    parts = _parts(names, path)
    n = int(parts[-1].array.shape[0])
    return [*parts, ColumnPart(codes, n == 1, (-1, n))]


def _parts(node: Any, path: str) -> list[ColumnPart]:
    where = f"{path}: {chunks.name_of(node)}"
    if is_plain(node):
        if len(node.shape) != 1 or getattr(node.dtype, "names", None):
            kind = "structured" if len(node.shape) == 1 else f"of {len(node.shape)} dimensions"
            raise InputError(where, f"an array {kind}, not a column", "keep it in obsm or varm")
        return [ColumnPart(node)]
    kind = attribute(node, "encoding-type")
    if kind == "categorical":
        names = chunks.required(node, "categories", path)
        return _coded(names, chunks.required(node, "codes", path), path)
    if kind in _NULLABLE:
        return [
            ColumnPart(chunks.required(node, name, path), name == "mask")
            for name in ("mask", "values")
        ]
    problem = f"a column of encoding {kind}, which is not known"
    raise InputError(where, problem, "write it with anndata 0.8 or later, or leave it out")


def _values(node: Any) -> Any:
    if is_plain(node):
        return _array(node)
    if attribute(node, "encoding-type") == "categorical":
        ordered = bool(attribute(node, "ordered", False))
        return _categorical(_array(node["codes"]), node["categories"], ordered)
    # Imported here: anndata brings dask.array, most of a second, and few columns need it.
    from anndata.io import read_elem

    return read_elem(node)


def _categorical(codes: np.ndarray, names: Any, ordered: bool) -> pd.Categorical:
    return pd.Categorical.from_codes(codes, _values(names), ordered=ordered)


def _array(node: Any) -> np.ndarray:
    """Return an array; text is str, also where bytes are stored."""
    if isinstance(node, h5py.Dataset) and h5py.check_string_dtype(node.dtype) is not None:
        return np.asarray(node.asstr("utf-8")[()])  # declared ASCII too
    values = np.asarray(node[()])
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8").astype(object)
    if values.dtype.kind == "O":
        return np.array([v.decode() if isinstance(v, bytes) else v for v in values], dtype=object)
    return values
