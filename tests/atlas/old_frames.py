"""Data frames as anndata 0.7 and 0.6 wrote them, made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import zarr

from tests.atlas.stores import write

STRING = h5py.string_dtype()


def open_to_change(path: Path) -> Any:
    if path.suffix == ".h5ad":
        return h5py.File(path, "a")
    return zarr.open_group(path, mode="r+", use_consolidated=False)


def put_array(group: Any, name: str, values: Any) -> Any:
    """Write a column as an array without attributes; text as str of variable length."""
    values = np.asarray(values)
    if isinstance(group, h5py.Group):
        kind = STRING if values.dtype.kind in "OU" else None
        return group.create_dataset(name, data=values, dtype=kind)
    if values.dtype.kind == "O":
        values = values.astype(np.dtypes.StringDType())
    with zarr.config.set({"array.write_empty_chunks": True}):
        return group.create_array(name, data=values, chunks=(max(1, min(16, len(values))),))


def put_frame_07(root: Any, name: str, frame: pd.DataFrame, index: str = "index") -> None:
    """Replace a frame: codes and, under ``__categories``, their names, as anndata 0.7 did."""
    if name in root:
        del root[name]
    group = root.create_group(name)
    group.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.1.0"})
    group.attrs["_index"] = index
    columns = [str(c) for c in frame.columns]
    as_hdf5 = isinstance(group, h5py.Group)
    group.attrs["column-order"] = np.array(columns, dtype=object) if as_hdf5 else columns
    put_array(group, index, np.asarray(frame.index, dtype=object))
    for key, column in frame.items():
        if not isinstance(column.dtype, pd.CategoricalDtype):
            put_array(group, str(key), column.to_numpy())
            continue
        names_path = f"__categories/{key}"
        names = put_array(group, names_path, column.cat.categories.to_numpy())
        names.attrs["ordered"] = bool(column.cat.ordered)
        codes = put_array(group, str(key), column.cat.codes.to_numpy())
        codes.attrs["categories"] = names.ref if as_hdf5 else names_path


def write_07(a: ad.AnnData, path: Path) -> Path:
    """Write h5ad or Zarr format 2 with the frames of anndata 0.7."""
    counts = ad.AnnData(a.X, a.obs[[]], a.var[[]])
    if path.suffix == ".h5ad":
        counts.write_h5ad(path)
    else:
        write(counts, path, 2)
    root = open_to_change(path)
    put_frame_07(root, "obs", a.obs)
    put_frame_07(root, "var", a.var, "feature_id")
    if isinstance(root, h5py.File):
        root.close()
    return path


def write_06(a: ad.AnnData, path: Path) -> Path:
    """Write frames as structured arrays with the names of categories in uns, as anndata 0.6 did."""
    if path.suffix == ".h5ad":
        a.write_h5ad(path)
    else:
        write(a, path, 2)
    root = open_to_change(path)
    for name, frame in (("obs", a.obs), ("var", a.var)):
        del root[name]
        text = [(n.encode(), 0) for n in frame.index]
        values = np.array(text, dtype=[("index", "S20"), ("cell_type", "i1")])
        if name == "obs":
            values["cell_type"] = frame["cell_type"].cat.codes
        if isinstance(root, h5py.File):
            root.create_dataset(name, data=values)
        else:
            root.create_array(name, data=values)
    if isinstance(root, h5py.File):
        root.close()
    return path
