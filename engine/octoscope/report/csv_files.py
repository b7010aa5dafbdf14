"""CSV files that a page offers for its tables and figures, as compressed data in the page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from octoscope.report.embedded import block

Row = Mapping[str, Any]


class CsvFiles:
    """The CSV files of one page; equal ones stand once."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def file(self, rows: Sequence[Row]) -> tuple[str, Markup]:
        """Return the id of the element that holds ``rows``, and the element if it is new.

        Numbers stand as the table has them, to six digits; null is empty.
        """
        text = csv_text(rows)
        known = self._names.get(text)
        if known is not None:
            return known, Markup("")
        name = self._names[text] = f"csv-{len(self._names) + 1}"
        return name, block(text, class_="csv", id=name)


def csv_text(rows: Sequence[Row]) -> str:
    """Return rows as CSV: numbers as the table has them, to six digits; null is empty."""
    out = io.StringIO()
    columns = [c for c, v in rows[0].items() if not isinstance(v, dict)]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_plain(row.get(c)) for c in columns])
    return out.getvalue()


def _plain(value: Any) -> Any:
    if value is None or value != value:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(list(value)) if isinstance(value, list | tuple) else value
