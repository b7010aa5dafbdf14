"""What AnnData, or h5py and zarr where it refuses, says of an atlas that a command has read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import zarr
from anndata.io import read_elem
from scipy import sparse

_TRUE = ("true", "1", "yes", "t", "1.0")


def compared(arguments: Sequence[str], out: str) -> dict[str, bool]:
    """Compare what ``atlas info`` and ``atlas convert`` answer with an independent reader.

    Parameters
    ----------
    arguments
        Of the command: ``atlas``, ``info`` or ``convert``, the path, for ``convert`` the target.
    out
        What it printed.

    Returns
    -------
    dict
        Name of a value -> whether it equals that of the independent reader.
    """
    options = dict(zip(arguments, arguments[1:], strict=False))
    keys = [options.get("--category"), options.get("--donor")]
    if "info" in arguments:
        figures = json.loads(out)
        return _of_info(figures, arguments[2], options) if "cells" in figures else {}
    return _of_convert(arguments[2], arguments[3], [k for k in keys if k])


def _opened(path: str) -> Any:
    """Open a file, or the table inside one that a path names."""
    file, inside = Path(path), []
    while not file.exists():
        file, inside = file.parent, [file.name, *inside]
    root: Any = h5py.File(file) if file.is_file() else zarr.open_group(file, mode="r")
    return root["/".join(inside)] if inside else root


def frame_of(path: str, name: str = "obs") -> pd.DataFrame:
    """Return a frame by AnnData's own reader; text of fixed length, which it refuses, by zarr."""
    group = _opened(path)[name]
    try:
        return read_elem(group)
    except ad._io.utils.AnnDataReadError:
        index = [b.decode() for b in group[group.attrs["_index"]][:]]
        columns = {c: read_elem(group[c]) for c in group.attrs["column-order"]}
        return pd.DataFrame(columns, index=index)


def counts_of(path: str, matrix: str) -> sparse.csr_matrix:
    """Return the counts at a place of the file (``X``, ``raw.X``, ``layers/counts``)."""
    counts = read_elem(_opened(path)[matrix.replace(".", "/")])
    counts = sparse.csr_matrix(counts).astype(np.float64)
    counts.sum_duplicates()
    counts.eliminate_zeros()
    return counts


def _of_info(
    figures: Mapping[str, Any], path: str, options: Mapping[str, str]
) -> dict[str, bool]:  # fmt: skip
    obs = frame_of(path)
    counts = counts_of(path, figures["counts"])
    same = {"cells": figures["cells"] == counts.shape[0] == len(obs)}
    lost = figures["genes dropped or merged"]
    same["genes"] = (
        figures["genes"] + lost == counts.shape[1] or figures["genes"] == counts.shape[1]
    )
    totals = np.asarray(counts.sum(axis=1)).ravel()
    if not lost:
        same["mean counts"] = figures["mean counts per cell"] == round(float(totals.mean()), 1)
        per_cell = np.diff(counts.indptr)
        same["mean genes"] = figures["mean genes per cell"] == round(float(per_cell.mean()), 1)
    category = options.get("--category")
    if category in obs:
        taken = obs[category].notna().to_numpy()
        donor = options.get("--donor")
        if donor in obs:
            taken &= obs[donor].notna().to_numpy()
        if "is_primary_data" in obs:
            text = obs["is_primary_data"].astype(str).str.strip().str.lower()
            taken &= text.isin(_TRUE).to_numpy()
        expected = obs[category][taken].astype(str).value_counts()
        answered = {k[9:]: v for k, v in figures.items() if k.startswith("cells of ")}
        same["categories"] = answered == {k: v for k, v in expected.items() if v}
    return same


def _of_convert(path: str, target: str, keys: list[str]) -> dict[str, bool]:
    before, after = frame_of(path), frame_of(target)
    if not before.index.is_unique:  # names lead nowhere: the rows as a whole are compared
        keys = [key for key in keys if key in before]
        return {"rows": _counted(before[keys]) == _counted(after[keys])}
    before = before.loc[after.index]
    return {
        f"column {key}": after[key.replace("/", "_")].astype(str).tolist()
        == before[key].astype(str).tolist()
        for key in keys
        if key in before
    }


def _counted(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return every row with its name, in an order of its own."""
    return sorted(frame.astype(str).reset_index().itertuples(index=False, name=None))
