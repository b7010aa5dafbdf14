"""Small parts of the page."""

from __future__ import annotations

import base64
import gzip
import re
from pathlib import Path

from octoscope.report.page_parts import (
    LARGE,
    LARGE_OF_MANY,
    PageFigures,
    gene_link,
    is_of_many,
    page_parts,
)
from octoscope.report.svg import Drawn
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot


def test_a_large_figure_stands_compressed() -> None:
    """Red: the figures of twenty categories make a page of 20 MB."""
    small, large = (Drawn(f"<svg>{text}</svg>", []) for text in ("a", "a" * LARGE))
    text = PageFigures().figure(small, "x", "overlap", "n <b>", caller=lambda: "A caption.")
    assert '<div class="scroll" tabindex="0"><svg>a</svg></div>' in text
    assert 'data-name="n &lt;b&gt;"' in text
    assert '<a href="#method-overlap">' in text
    text = PageFigures().figure(large, "x", "overlap", "n", caller=lambda: "A caption.")
    assert len(text) < 2000
    assert "<noscript>" in text
    match = re.search(r'class="svg">([^<]+)<', text)
    assert match
    assert gzip.decompress(base64.b64decode(match[1])).decode() == large.svg


def test_a_page_of_many_figures_holds_them_compressed() -> None:
    plan = load_plan(RunRoot(Path(__file__).parents[1] / "data/stores/plan-3b"))
    many = plan.model_copy(update={"categories": plan.categories * 101})
    drawn = Drawn(f"<svg>{'a' * LARGE_OF_MANY}</svg>", [])
    for of, compressed in ((plan, False), (many, True)):
        figure = page_parts(is_of_many(of))["figure"]
        text = figure(drawn, "x", "overlap", "n", caller=lambda: "A caption.")
        assert ('class="svg"' in text) == compressed


def test_a_figure_and_a_table_of_the_same_rows_share_their_csv() -> None:
    """Red: the rows of each figure twice in the page, which then exceeds 10 MB."""
    parts, rows = page_parts(), [{"a": 1, "b": 0.5}, {"a": 2, "b": None}]
    texts = [
        parts["figure"](Drawn("<svg></svg>", mine), "x", "m", "n", caller=lambda: "A caption.")
        for mine in (rows, rows[:1])
    ]
    texts.append(parts["table"](rows, ["a"], "A caption", "tables/x", lambda r: str(r["a"])))
    assert [re.findall(r'data-csv="([^"]*)"', text) for text in texts] == [
        ["csv-1"], ["csv-2"], ["csv-1"],
    ]  # fmt: skip
    assert [text.count('class="csv"') for text in texts] == [1, 1, 0]


def test_a_gene_links_to_its_search() -> None:
    row = {"query": 'a"b', "query_symbol": "<i>", "key": "E1", "key_symbol": None}
    assert gene_link(row, "query") == ('<a href="#gene=a%22b" title="a&#34;b">&lt;i&gt;</a>')
    assert gene_link(row, "key") == '<a href="#gene=E1" title="E1">E1</a>'
