"""The demonstration's report of five models, in a browser: every figure with n, null, interval."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from octoscope.report.rows import figure, interval
from octoscope.run_plan.gene_set_counts import SATURATED
from octoscope.run_plan.values import COEXPRESSION
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot
from playwright.sync_api import Page

from tests.report.test_browser import opened

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

# of every table with a figure: what its head must name; by id, class or the section's order
NUMBER, INTERVAL, NULL = "pairs|cells|comparisons|genes|model groups", "95 %", "null|chance"
SHOWN = {
    "#model-pairs": (NUMBER, INTERVAL, NULL),
    "#by-k": (NUMBER, "quartiles", NULL),
    "#as-one": (NUMBER, INTERVAL, NULL),
    "#support": (NUMBER, INTERVAL, NULL),
    "#contrasts": (NUMBER, INTERVAL, NULL),
    "#pools": (NUMBER, INTERVAL, NULL),
    "#geometry": (NUMBER, INTERVAL, NULL),
    ".auroc": (NUMBER, INTERVAL, NULL),
    ".mass-rows": (NUMBER, INTERVAL),
    "details:has(> summary:text-matches('^n, interval, null')) table": (NUMBER, INTERVAL, NULL),
}


# the text of the page, folds included, without its script and data
WORDS = """() => {
  const body = document.body.cloneNode(true);
  body.querySelectorAll("script, style").forEach(e => e.remove());
  return body.textContent;
}"""


# of each table: text of its head, columns, rows, cells of the first row
HEADS_AND_ROWS = """tables => tables.map(t => [
  t.tHead.textContent, t.tHead.querySelectorAll("th").length, t.tBodies[0].rows.length,
  t.tBodies[0].rows[0]?.cells.length,
])"""


def test_the_report_is_complete_and_says_what_it_does_not_show(
    page: Page, demonstration: Path
) -> None:
    plan = load_plan(RunRoot(demonstration))
    assert opened(page, demonstration) == []  # nothing logged, nothing fetched
    attending = [m for m in plan.models if m.family != COEXPRESSION]
    assert len(plan.checkpoints) == 5
    assert page.locator("section[id^=model-]").count() == len(plan.models)
    for name, count in (("heatmap", len(attending)), ("reliability", len(plan.models)),
                        ("overlap", len(plan.models)), ("coherence", 5), ("mass", len(attending)),
                        ("estimators", len(attending)), ("agreement", 1), ("by-k", 1),
                        ("geometry", 1), ("network", len(plan.categories))):  # fmt: skip
        figures = page.locator(f"figure.{name}")
        assert figures.count() == count, name
        assert page.locator(f"figure.{name} svg").count() == count
        for caption in figures.locator("figcaption").all_text_contents():
            assert len(caption) > 60, name
    for limit in ("#limits", "#shared-data"):
        assert page.locator(limit).count() == 1
    text = page.evaluate(WORDS)
    assert "it is no evidence that independent models agree" in " ".join(text.split())
    assert not re.search(r"\b(nan|None|inf|undefined)\b", text)


def test_every_table_of_figures_has_n_interval_and_null(page: Page, demonstration: Path) -> None:
    opened(page, demonstration)
    page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    for selector, headings in SHOWN.items():
        tables = page.locator(selector).evaluate_all(HEADS_AND_ROWS)
        assert tables, selector
        for head, columns, rows, cells in tables:
            for words in headings:
                assert re.search(words, head), (selector, words, head)
            assert rows, selector
            assert cells == columns
    # the page is as wide as the window: tables scroll by themselves
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")


def test_what_is_shown_is_what_the_tables_hold(page: Page, demonstration: Path) -> None:
    opened(page, demonstration)
    contrasts = pd.read_parquet(demonstration / "tables/contrasts.parquet")
    contrasts = contrasts[contrasts["view"] == "lift"]
    rows = page.locator("#contrasts tbody tr")
    assert rows.count() == min(len(contrasts), 25)
    first = contrasts.iloc[0]
    cells = rows.first.locator("td").all_text_contents()
    assert cells[:2] == [first["model"], first["category"]]
    assert cells[5] == f"{first['n_specific']:,} ({figure(first['n_by_chance'])})"
    assert cells[6] == (
        f"{figure(first['specific_rate'])}, {interval(first, 'specific_low', 'specific_high')}"
    )
    cells_used = pd.read_parquet(demonstration / "tables/cells.parquet")
    assert page.locator("#cells tbody tr").count() == min(len(cells_used), 25)


def test_the_search_of_a_gene_holds_all_top_pairs(page: Page, demonstration: Path) -> None:
    """Red: the pairs of one gene set and view, because all 300,000 were more than a page held."""
    opened(page, demonstration)
    models = load_plan(RunRoot(demonstration)).models
    tables = {m.name: pd.read_parquet(demonstration / f"topk/{m.name}.parquet") for m in models}
    totals = {name: table[table["part"] == "total"] for name, table in tables.items()}
    n_all = sum(map(len, totals.values()))
    assert f"Here are all {n_all:,} top pairs" in page.locator("#genes-held").inner_text()
    top = pd.concat([totals[m.name] for m in models if m.family != COEXPRESSION])
    to, by = (int((top[f"{end}_symbol"] == "LYZ").sum()) for end in ("query", "key"))
    page.fill("#gene-name", "LYZ")
    page.press("#gene-name", "Enter")
    page.wait_for_selector("#gene-pairs tbody tr")
    line = page.locator(".gene-line").inner_text()
    assert (
        f"stands in {to + by:,} of {len(top):,} top pairs: it attends to a gene in {to:,}," in line
    )
    assert f"a gene attends to it in {by:,}." in line
    assert page.locator("#gene-answer .part").count() == 0
    assert (demonstration / "report/index.html").stat().st_size < 10e6


def test_the_headline_numbers_are_not_saturated(demonstration: Path) -> None:
    """Red: the 37 B cells, of whose eligible pairs the top pairs are up to a half."""
    plan = load_plan(RunRoot(demonstration))
    stats = pd.read_parquet(demonstration / "tables/stats.parquet")
    headline = stats[stats["gene_set"] == next(iter(plan.models[0].gene_sets))]
    assert headline["top_share"].max() <= SATURATED


def test_p_values_do_not_stand_at_the_floor_of_the_first_draws(demonstration: Path) -> None:
    plan = load_plan(RunRoot(demonstration))
    for name in ("agreement", "coherence", "geometry", "layers"):
        table = pd.read_parquet(demonstration / f"tables/{name}.parquet").dropna(subset=["p"])
        floor = 1 / (plan.permutations + 1)
        stopped = (table["p"] <= floor + 1e-12) & (table["n_permutations"] == plan.permutations)
        # coherence can use only draws that all of its medians have
        assert stopped.mean() < (0.5 if name == "coherence" else 1e-9), name
