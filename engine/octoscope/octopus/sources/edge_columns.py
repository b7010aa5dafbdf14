"""Columns of edge lists that say a sign, an order, a score or publications, as tools write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
_TRUE = ("true", "t", "yes", "y", "1", "1.0", "directed")
_FALSE = ("false", "f", "no", "n", "0", "0.0", "undirected")
_LARGEST_COUNT = 100_000  # a larger whole number is the id of a publication
_STRENGTHS = ("mor", "weight")  # columns that hold signs or strengths


def mapped_values(column: pd.Series[str], values: Mapping[str, object]) -> pd.Series[str]:
    """Return a column with values replaced by what they stand for; others stay as they are.

    Parameters
    ----------
    values
        Value -> what it stands for; ``*`` at the end of a value stands for any ending. Case does
        not matter.
    """
    if not values:
        return column
    exact = {k.casefold(): v for k, v in values.items() if not k.endswith("*")}
    starts = {k[:-1].casefold(): v for k, v in values.items() if k.endswith("*")}
    out: dict[str, object] = {}
    for text in column.dropna().unique():
        plain = str(text).strip('"').casefold()  # SIGNOR quotes one of its effects
        longest = max((s for s in starts if plain.startswith(s)), key=len, default=None)
        value = exact.get(plain, starts[longest] if longest is not None else text)
        out[text] = str(value)
    return column.map(out)


def read_signs(
    path: Path, frame: pd.DataFrame, counts: SourceCounts, column: str = "sign"
) -> np.ndarray:
    """Return [rows] int64 signs 1, -1, 0 (unknown) of the column ``sign``.

    Of a number its sign counts, of a word its meaning. Without that column: of the truth values
    ``stimulation`` and ``inhibition``, 0 where both or none are true.

    Parameters
    ----------
    column
        What the column is called in the file. ``mor`` and ``weight`` (decoupler) also hold
        strengths: they are read as signs if a value is below 0 or all are 1, 0 or -1, and not in
        rows whose ``directed`` is false; else they are named in ``counts.unread`` and a warning.

    Raises
    ------
    InputError
        If a value is neither a number nor a known word.
    """
    if "sign" not in frame:
        up, down = (
            read_flags(path, frame, c) == 1 if c in frame else np.zeros(len(frame), bool)
            for c in ("stimulation", "inhibition")
        )
        return up.astype(np.int64) - down
    text = frame["sign"].fillna("").astype(str).str.strip().str.lower()
    text = text.str.replace("\u2212", "-")  # the minus of typesetting
    value = pd.to_numeric(text, errors="coerce")
    sign = np.sign(value).where(value.notna(), text.map(_WORDS))
    if sign.isna().any():
        at = int(sign.isna().to_numpy().argmax())
        where = f"{path}: {column}, row {int(frame['row'].iloc[at])}"
        _refuse_decimal_comma(where, text.iloc[at])
        raise InputError(
            where,
            f"{frame['sign'].iloc[at]!r} is no sign",
            "write 1, -1 or 0, or say which of them it stands for: "
            f"values: {{sign: {{{text.iloc[at]!r}: …}}}}",
        )
    out = sign.to_numpy().astype(np.int64)
    if column not in _STRENGTHS:
        return out
    plain = value.dropna()
    if not (plain < 0).any() and not plain.isin([0, 1]).all():
        counts.leave_unread([column])
        warn(f"{path}: {column} is not read: nothing in it is below 0, so it may be a strength. "
             f"Write columns: {{sign: {column}}} if it is a sign, {{score: {column}}} if it is a "
             "confidence (0..1)")  # fmt: skip
        return np.zeros(len(frame), np.int64)
    counts.note(f"row whose sign is that of its {column}", int((out != 0).sum()))
    if "directed" in frame:
        out[read_flags(path, frame, "directed") == 0] = 0
    return out


def _refuse_decimal_comma(where: str, text: str) -> None:
    """Refuse a number with a decimal comma, and say what it is.

    Raises
    ------
    InputError
        If it is one.
    """
    if re.fullmatch(r"[-+]?\d*,\d+(?:e[-+]?\d+)?", text):
        raise InputError(where, f"{text!r} has a decimal comma",
                         "write numbers with a point (R: write.csv, not write.csv2)")  # fmt: skip


def read_flags(path: Path, frame: pd.DataFrame, column: str) -> np.ndarray:
    """Return [rows] int8 of a column of truth values: 1 true, 0 false, -1 not stated.

    Raises
    ------
    InputError
        If a value is no truth value.
    """
    text = frame[column].fillna("").astype(str).str.strip().str.lower()
    known = {**dict.fromkeys(_TRUE, 1), **dict.fromkeys(_FALSE, 0), "": -1}
    flag = text.map(known)
    if flag.isna().any():
        at = int(flag.isna().to_numpy().argmax())
        raise InputError(
            f"{path}: {column}, row {int(frame['row'].iloc[at])}",
            f"{frame[column].iloc[at]!r} is no truth value",
            "write true or false, or say which of them it stands for: "
            f"values: {{{column}: {{{text.iloc[at]!r}: …}}}}",
        )
    return flag.to_numpy().astype(np.int8)


def read_scores(path: Path, frame: pd.DataFrame, largest: float) -> np.ndarray | None:
    """Return [rows] float32 scores in 0..1, NaN where there is none; None without the column.

    Parameters
    ----------
    largest
        What they are divided by.

    Raises
    ------
    InputError
        If a value is no number, or outside 0..1 then.
    """
    if "score" not in frame:
        return None
    text = frame["score"].fillna("").astype(str).str.strip()
    given = ~text.isin(["", "-"])
    value = pd.to_numeric(text, errors="coerce") / largest
    wrong = (given & ~value.between(0, 1)).to_numpy()
    if wrong.any():
        at = int(wrong.argmax())
        where = f"{path}: score, row {int(frame['row'].iloc[at])}"
        _refuse_decimal_comma(where, text.iloc[at].lower())
        unread = "rename the column so that it is not read"
        if np.isnan(value.iloc[at]):
            fix = f"write a number from 0 to {largest:g} without a unit, or {unread}"
            raise InputError(where, f"{text.iloc[at]!r} is no number", fix)
        if value.iloc[at] < 0:
            fix = f"write what tells signs as columns: {{sign: …}}, or {unread}"
        else:
            fix = f"give its largest value as score_max, or {unread}"
        raise InputError(where, f"{text.iloc[at]!r} is outside 0..{largest:g}", fix)
    return value.to_numpy(np.float32)


def read_references(frame: pd.DataFrame, groups: np.ndarray) -> np.ndarray:
    """Return [groups] int64 numbers of publications of rows that are joined.

    A column of whole numbers below 100,000 holds counts, of which the largest counts. Any other
    holds publications, joined by ``;``, ``,`` or ``|``; distinct ones count.

    Parameters
    ----------
    groups
        [rows] group of each row, 0..n-1.
    """
    n = int(groups.max()) + 1 if len(groups) else 0
    if "references" not in frame:
        return np.zeros(n, np.int64)
    text = frame["references"].fillna("").astype(str).str.strip()
    text = text.where(text != "-", "")
    value = pd.to_numeric(text.where(text != "", "0"), errors="coerce")
    if ((value % 1 == 0) & (value >= 0) & (value < _LARGEST_COUNT)).all():
        return pd.Series(value.to_numpy().astype(np.int64)).groupby(groups).max().to_numpy()
    listed = pd.DataFrame({"group": groups, "one": text.str.split(r"\s*[;,|]\s*", regex=True)})
    each = listed.explode("one").query("one != ''").drop_duplicates()
    return np.bincount(each["group"].to_numpy(int), minlength=n)
