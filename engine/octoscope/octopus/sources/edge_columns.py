"""Columns of edge lists that say a sign or publications, in the forms that tools write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from octoscope.errors import InputError, warn
from octoscope.octopus.sources.record import SourceCounts

_WORDS = {
    "+": 1, "activation": 1, "activates": 1, "stimulation": 1, "positive": 1, "up": 1,
    "-": -1, "repression": -1, "represses": -1, "inhibition": -1, "inhibits": -1, "negative": -1,
    "down": -1, "": 0, "?": 0, "unknown": 0, "undefined": 0,
}  # fmt: skip
_LARGEST_COUNT = 100_000  # a larger whole number is the id of a publication


def read_signs(path: Path, frame: pd.DataFrame, counts: SourceCounts) -> np.ndarray:
    """Return [rows] int64 signs 1, -1, 0 (unknown) of the columns ``sign``, ``mor``, ``weight``.

    The first of them that is there is read; of a number its sign counts, of a word its meaning.
    ``mor`` and ``weight`` (decoupler) also hold strengths: they are read as signs if a value is
    below 0 or all are 1, 0 or -1, and not in rows whose ``directed`` is false. A column that is
    not read is named in ``counts.unread`` and, if it may hold signs, in a warning.

    Raises
    ------
    InputError
        If a value is neither a number nor a known word.
    """
    there = [c for c in ("sign", "mor", "weight") if c in frame]
    counts.unread += there[1:]
    if not there:
        return np.zeros(len(frame), np.int64)
    column = there[0]
    text = frame[column].fillna("").astype(str).str.strip().str.lower()
    value = pd.to_numeric(text, errors="coerce")
    sign = np.sign(value).where(value.notna(), text.map(_WORDS))
    if sign.isna().any():
        at = int(sign.isna().to_numpy().argmax())
        raise InputError(
            f"{path}: {column}, row {int(frame['row'].iloc[at])}",
            f"{frame[column].iloc[at]!r} is no sign",
            "write 1, -1 or 0",
        )
    out = sign.to_numpy().astype(np.int64)
    if column == "sign":
        return out
    plain = value.dropna()
    if not (plain < 0).any() and not plain.isin([0, 1]).all():
        counts.unread.append(column)
        warn(f"{path}: {column} is not read: nothing in it is below 0, so it may be a strength. "
             "Rename it to sign if it is one, to score if it is a confidence (0..1)")  # fmt: skip
        return np.zeros(len(frame), np.int64)
    counts.note(f"row whose sign is that of its {column}", int((out != 0).sum()))
    undirected = frame["directed"].eq(False).to_numpy(bool) if "directed" in frame else False
    return np.where(undirected, 0, out)


def read_references(frame: pd.DataFrame, counts: SourceCounts) -> np.ndarray:
    """Return [rows] int64 numbers of publications of ``references``, else ``n_references``.

    A column of whole numbers below 100,000 holds counts. Any other holds publications, joined by
    ``;``, ``,`` or ``|``; distinct ones count.
    """
    there = [c for c in ("references", "n_references") if c in frame]
    counts.unread += there[1:]
    if not there:
        return np.zeros(len(frame), np.int64)
    text = frame[there[0]].fillna("").astype(str).str.strip()
    value = pd.to_numeric(text.where(text != "", "0"), errors="coerce")
    if ((value % 1 == 0) & (value >= 0) & (value < _LARGEST_COUNT)).all():
        return value.to_numpy().astype(np.int64)
    listed = text.str.split(r"\s*[;,|]\s*", regex=True)
    return np.array([len({x for x in items if x}) for items in listed], np.int64)
