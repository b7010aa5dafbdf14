"""Rows of tables as templates take them, and how single values are written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

MOST_ROWS = 200  # of a table on the page: sixty layers have thousands of pairs of layers


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


def rest(rows: list[Any], table: str) -> Markup:
    """Say where the rows are that a table of the page leaves out."""
    if len(rows) <= MOST_ROWS:
        return Markup("")
    return Markup('<p class="soft">The first {} of {} rows; all: <code>{}</code>.</p>').format(
        MOST_ROWS, f"{len(rows):,}", f"{table}.parquet"
    )


def over_donors(row: dict[str, Any]) -> str:
    """Say what the interval over donors is, where there is one."""
    low = row.get("donor_low")
    if low is None or np.isnan(low):
        return ""
    return f"; over donors {figure(low)} to {figure(row['donor_high'])}"


def figure(value: Any, digits: int = 3) -> str:
    """Format a number; an undefined one is said to be so."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "n/a"
    return f"{value:.{digits}g}"


def count(value: Any) -> str:
    """Format a whole number; what a table of an earlier version does not have is undefined."""
    return "n/a" if value is None or np.isnan(value) else f"{int(value):,}"


def p_value(value: Any) -> Markup | str:
    """Format a p-value; no p is ever shown as 0."""
    if value is None or np.isnan(value):
        return "n/a"
    return f"{value:.2g}" if value >= 1e-4 else Markup("&lt; 1e-4")


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
    "some": lambda rows: rows[:MOST_ROWS],
    "rest": rest,
    "donors": over_donors,
}
