"""A table of the page: what stands in it, and what it holds as data."""

from __future__ import annotations

import base64
import gzip
import re

from markupsafe import Markup
from octoscope.report.data_tables import MOST, PageTables


def element_text(text: str, kind: str) -> str:
    match = re.search(rf'<script type="text/plain" class="{kind}"[^>]*>([^<]*)</script>', text)
    assert match, kind
    return gzip.decompress(base64.b64decode(match[1])).decode()


def written(
    rows: list[dict[str, object]], columns: list[str] | None = None, most: int = MOST
) -> tuple[str, str]:
    tables = PageTables(most)
    text = tables.table(
        rows, columns or ["name", "#n"], "A <b> caption", "tables/x",
        caller=lambda r: Markup("<td>{}</td><td>{}</td>").format(r["name"], r["n"]), id="x",
    )  # fmt: skip
    return str(text), str(tables.labels())


def test_a_long_table_shows_its_first_rows_and_holds_the_others() -> None:
    text, _ = written([{"name": f"<{i}>", "n": i} for i in range(40)])
    assert text.count("<tr><td>") == 25
    assert "<td>&lt;24&gt;</td>" in text
    assert "The first 25 of 40 rows; all: <code>tables/x.parquet</code>" in text
    assert element_text(text, "rows").count("<tr>") == 40
    assert "<td>&lt;39&gt;</td>" in element_text(text, "rows")
    assert "<caption>A &lt;b&gt; caption</caption>" in text
    assert '<th scope="col" class="n">n</th>' in text


def test_more_rows_than_the_page_holds_are_said_to_be_missing() -> None:
    """Red: rows that are cut without a word."""
    text, _ = written([{"name": "a", "n": i} for i in range(1040)], most=30)
    assert "The page holds 30 of 1,040 rows" in text
    assert element_text(text, "rows").count("<tr>") == 30


def test_the_csv_has_every_column_unrounded_and_null_is_empty() -> None:
    text, _ = written([{"name": 'a "b", c', "n": 0.123456, "low": float("nan"), "why": None}])
    assert element_text(text, "csv") == 'name,n,low,why\n"a ""b"", c",0.123456,,\n'


def test_no_rows_have_no_csv() -> None:
    text, _ = written([])
    assert "script" not in text


def test_labels_of_a_wide_table_cannot_leave_the_style() -> None:
    columns = [*"abcdef", '</style><script>"']
    _, labels = written([{"name": "a", "n": 1}], columns)
    assert "#x td:nth-child(1)::before" in labels
    assert "</style" not in labels
    assert "\\3c /style\\3e " in labels
