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
    figures_of,
    gene_link,
    is_of_many,
)
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot


def test_a_large_figure_stands_compressed() -> None:
    """Red: the figures of twenty categories make a page of 20 MB."""
    small, large = "<svg>a</svg>", f"<svg>{'a' * LARGE}</svg>"
    text = PageFigures().figure(small, "x", "overlap", "n <b>", caller=lambda: "A caption.")
    assert '<div class="scroll" tabindex="0"><svg>a</svg></div>' in text
    assert 'data-name="n &lt;b&gt;"' in text
    assert '<a href="#method-overlap">' in text
    text = PageFigures().figure(large, "x", "overlap", "n", caller=lambda: "A caption.")
    assert len(text) < 2000
    assert "<noscript>" in text
    held = re.search(r'class="svg">([^<]+)<', text)
    assert held
    assert gzip.decompress(base64.b64decode(held[1])).decode() == large


def test_a_page_of_many_figures_holds_them_compressed() -> None:
    plan = load_plan(RunRoot(Path(__file__).parents[1] / "data/stores/plan-3b"))
    assert figures_of(is_of_many(plan)).large == LARGE
    many = plan.model_copy(update={"categories": plan.categories * 101})
    assert figures_of(is_of_many(many)).large == LARGE_OF_MANY


def test_a_gene_links_to_its_search() -> None:
    row = {"query": 'a"b', "query_symbol": "<i>", "key": "E1", "key_symbol": None}
    assert gene_link(row, "query") == ('<a href="#gene=a%22b" title="a&#34;b">&lt;i&gt;</a>')
    assert gene_link(row, "key") == '<a href="#gene=E1" title="E1">E1</a>'
