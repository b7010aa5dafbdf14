"""Counts that are not whole numbers: in how many cells, and in which study, for `atlas info`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from octoscope.atlas import frames, open_store
from octoscope.atlas.counts import INTEGER_TOLERANCE, rounding
from octoscope.atlas.findings import Findings, some_of
from octoscope.config import AtlasConfig
from octoscope.errors import InputError

_BATCH = 1024  # cells
_MOST_VALUES = 1000  # of an obs column that may tell studies apart
_TELLING = 0.9  # of the cells of a value that hold fractions, if the value explains them


def inspect_fractions(
    root: Any, counts: str, config: AtlasConfig, rows: np.ndarray, findings: Findings
) -> None:
    """Note which of ``rows`` hold values that are not whole, and what obs says of these cells."""
    node = open_store.element(root, counts, config.path)
    reader = open_store.open_rows(node, config.path, fill_missing=config.fill_missing)
    some = np.zeros(len(rows), bool)
    for first in range(0, len(rows), _BATCH):
        data, _, indptr = reader.rows(rows[first : first + _BATCH])
        if data.dtype.kind != "f":
            return
        broken = np.abs(data - np.rint(data)) > INTEGER_TOLERANCE
        before = np.concatenate([[0], np.cumsum(broken)])
        some[first : first + _BATCH] = np.diff(before[indptr]) > 0
    if not some.any():
        return
    every = bool(some.all())
    fix, kind = rounding(counts), "cells" if len(rows) == reader.shape[0] else "sampled cells"
    findings.note(
        f"{config.path}: {counts}",
        f"{int(some.sum()):,} of {len(rows):,} {kind} hold values that are not whole numbers"
        + (": normalised, or corrected" if every else _who(root, config, rows, some)),
        f"normalised values are no counts; counts that were corrected for ambient RNA: {fix}"
        if every
        else f"leave these cells out; if their counts were estimated or corrected: {fix}",
    )


def _who(root: Any, config: AtlasConfig, rows: np.ndarray, some: np.ndarray) -> str:
    """Say which values of which obs column these cells have, if one column tells them apart."""
    obs = root["obs"]
    for name in frames.frame_columns(obs):
        try:
            column = frames.read_column(obs, name, config.path, fill_missing=True).iloc[rows]
        except InputError:
            continue
        if column.nunique() > min(_MOST_VALUES, len(rows) // 2):
            continue
        shares = pd.Series(some).groupby(column.astype(str).to_numpy()).agg(["sum", "mean"])
        telling = shares[shares["mean"] >= _TELLING]
        if telling["sum"].sum() >= _TELLING * some.sum():
            values = [repr(str(v)) for v in telling.index]
            return f", those of obs[{name}] {some_of(values)}"
    return ""
