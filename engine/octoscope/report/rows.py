"""Rows of tables as templates take them, and how single values are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

UNKNOWN, NOT_DEFINED = "n/a", "not defined"


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table; null is None, in columns of floats NaN."""
    for column in table.columns:
        if not pd.api.types.is_float_dtype(table[column]) and table[column].isna().any():
            values = table[column].astype(object)
            table = table.assign(**{column: values.where(values.notna(), None)})
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def chosen(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    """Return the rows of a table that have these values."""
    for column, value in values.items():
        table = table[table[column] == value]
    return table


def over_donors(row: dict[str, Any]) -> str:
    """Say what the interval over donors is, where there is one."""
    text = interval(row, "donor_low", "donor_high")
    return "" if text == NOT_DEFINED else f"; over donors {text}"


def _unknown(value: Any) -> bool:
    return value is None or bool(pd.isna(value))


def figure(value: Any) -> str:
    """Format a number with two significant digits and without an exponent.

    From 100 on it is a whole number with separators. Between 0.99 and 1 more digits are shown, so
    that what is below 1 never reads as 1. An undefined number is said to be so.
    """
    if _unknown(value):
        return UNKNOWN
    size = abs(float(value))
    if size >= 99.5 or size == 0 or isinstance(value, int | np.integer):
        return f"{value:,.0f}"
    digits = 2
    if 0.99 <= size < 1:  # as many as the distance to 1 needs
        if 1 - size < 1e-5:
            return "> 0.99999" if value > 0 else "< -0.99999"
        digits = int(np.ceil(-np.log10(1 - size)))
    return format(Decimal(f"{float(value):.{digits - 1}e}"), "f")


def percent(value: Any) -> str:
    """Format a share."""
    return UNKNOWN if _unknown(value) else f"{figure(100 * value)} %"


def interval(
    row: Mapping[str, Any], low: str, high: str, as_: Callable[[Any], str] = figure
) -> str:
    """Format an interval of two columns of a row.

    A jackknife of a constant, as of a rate of which nothing was found, gives two equal ends. That
    is no certainty: the interval is not defined.
    """
    ends = row.get(low), row.get(high)
    if any(map(_unknown, ends)) or ends[0] == ends[1]:
        return NOT_DEFINED
    return f"{as_(ends[0])} to {as_(ends[1])}"


def count(value: Any) -> str:
    """Format a whole number; what a table of an earlier version does not have is undefined."""
    return UNKNOWN if _unknown(value) else f"{int(value):,}"


def gigabytes(n: Any) -> str:
    """Format a number of bytes."""
    return UNKNOWN if _unknown(n) else f"{figure(n / 1e9)} GB"


def p_value(value: Any) -> Markup | str:
    """Format a p-value; no p is ever shown as 0."""
    if _unknown(value):
        return UNKNOWN
    return figure(value) if value >= 1e-4 else Markup("&lt; 0.0001")


def p_text(value: Any) -> str:
    """Format a p- or q-value for a sentence, with = or <."""
    return "< 0.0001" if not _unknown(value) and value < 1e-4 else f"= {p_value(value)}"


def edge_text(known: Any) -> str:
    """Say whether the network has an edge; – where it lacks a gene, or there is no network."""
    return "–" if known is None or pd.isna(known) else ("yes" if known else "no")


def cell(value: Any) -> str:
    """Format a value of any column."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if value is None or isinstance(value, float):
        return figure(value)
    return f"{value:,}" if isinstance(value, int | np.integer) else str(value)


FILTERS = {
    "figure": figure,
    "p": p_value,
    "count": count,
    "cell": cell,
    "percent": percent,
    "interval": interval,
    "donors": over_donors,
}
