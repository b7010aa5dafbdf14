"""Five questions of someone who has never seen the project, asked of the demonstration's report.

Each test does what a reader does from the first screen, with nothing but what is on the screen, and
compares what stands there with the tables of the run. `hand.py` has the seconds of each move; all
moves of a question together take less than a minute.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from octoscope.report.rows import figure, interval
from octoscope.results.model_findings import findings
from octoscope.results.run_results import Results
from octoscope.run_plan.values import COEXPRESSION
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot
from playwright.sync_api import Locator, Page

from tests.report.hand import Hand
from tests.report.test_browser import opened

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

MINUTE = 60


@pytest.fixture
def hand(page: Page, demonstration: Path) -> Hand:
    page.goto("about:blank")
    opened(page, demonstration)
    return Hand(page)


def overlap_rows(run: Path) -> pd.DataFrame:
    """Return the overlap of the first model, in the gene set and view of the page."""
    first = load_plan(RunRoot(run)).models[0].name
    table = pd.read_parquet(run / "tables/overlap.parquet")
    mine = (table["model"] == first) & (table["gene_set"] == "common") & (table["view"] == "lift")
    return table[mine]


def go_to_overlap(hand: Hand) -> Locator:
    """Follow the link of the first model, then turn the wheel to its overlap with the network."""
    hand.click(hand.page.locator("article.finding h3 a").first)
    shown = hand.page.locator("#model-1 figure.overlap")
    hand.scroll_to(shown)
    return shown


def test_what_the_run_says_about_each_model(hand: Hand, demonstration: Path) -> None:
    """No click: the wheel alone. Red: a model without its card, a number of another layer."""
    assert hand.sees(hand.page.locator("#verdict .headline"))
    rows = findings(Results.open(demonstration), "common", "lift")
    assert len(rows) == len(load_plan(RunRoot(demonstration)).models)
    for row in rows.to_dict("records"):
        link = hand.page.locator(f"a:text-is('{row['model']}')")
        card = hand.page.locator("article.finding", has=link)
        hand.scroll_to(card)
        text = card.inner_text()
        assert f"Layer {row['layer']} in {row['category']}: " in text
        assert f"its {row['n_pairs']:,} strongest pairs" in text
        assert f"correlate with r = {figure(row['half_centred'])} in that layer" in text
        for words in ("95 % interval", "null", "q "):
            assert words in text
        assert ("After co-expression" in text) == bool(row["attends"])
    assert hand.clicks == 0
    assert hand.screens <= 8
    assert hand.takes() < MINUTE


def test_whether_lyz_is_attended_to_and_by_what(hand: Hand, demonstration: Path) -> None:
    """A link, three letters and Enter. Co-expression is counted apart: it has no direction."""
    plan = load_plan(RunRoot(demonstration))
    names = [m.name for m in plan.models if m.family != COEXPRESSION]
    top = pd.concat([pd.read_parquet(demonstration / f"topk/{n}.parquet") for n in names])
    top = top[top["part"] == "total"]
    page = hand.page
    hand.click(page.locator("header nav a", has_text="Look up a gene"))
    hand.write(page.locator("#gene-name"), "lyz")
    page.wait_for_selector("#gene-pairs tbody tr")
    answer = page.locator(".gene-line")
    assert hand.sees(answer)
    mine = top[top["key_symbol"] == "LYZ"]
    assert len(mine)
    assert f"a gene attends to it in {len(mine):,}." in answer.inner_text()
    partners = page.locator(".partners dd").first
    assert hand.sees(partners)
    best = re.match(r"(\S+) \(in (\d+) of", partners.inner_text())
    assert best
    counts = mine.groupby("query_symbol").size()
    assert counts[best[1]] == counts.max() == int(best[2])
    assert "Co-expression, for comparison: it stands in" in page.locator("#gene").inner_text()
    assert (hand.clicks, hand.keys, hand.screens) == (2, 4, 2)
    assert hand.takes() < MINUTE


def test_how_sure_a_figure_is(hand: Hand, demonstration: Path) -> None:
    """The legend names the interval; the tooltip of each point has it with null and n."""
    shown = go_to_overlap(hand)
    for words in ("observed, 95 % interval", "null, central 95 %"):
        assert words in shown.locator("svg text").all_text_contents()
    assert "95 % interval" in shown.locator("figcaption").inner_text()
    point = shown.locator("use:has(title)").first
    point.hover()  # fails where something lies over the point
    hand.clicks += 1
    row = overlap_rows(demonstration).iloc[0]
    assert point.locator("title").text_content() == (
        f"layer {row['layer']}: {figure(row['edge_rate'])} ({interval(row, 'low', 'high')}); null "
        f"{figure(row['null_low'])} to {figure(row['null_high'])}; n = {row['n_pairs']:,}"
    )
    assert hand.screens <= 7
    assert hand.takes() < MINUTE


def test_where_the_method_is_explained(hand: Hand) -> None:
    """The link in the caption of a figure leads to question, null, interval and limits."""
    shown = go_to_overlap(hand)
    hand.click(shown.locator("figcaption a"))
    method = hand.page.locator("#method-overlap")
    hand.page.wait_for_function("() => location.hash === '#method-overlap'")
    assert hand.sees(method)
    text = method.inner_text()
    for words in ("Question:", "Statistic:", "Null:", "Interval:", "It fails"):
        assert words in text
    assert hand.clicks == 2
    assert hand.takes() < MINUTE
    for name, text in hand.page.evaluate(
        "() => [...document.querySelectorAll('[id^=method-]')].map(e => [e.id, e.textContent])"
    ):
        for words in ("Question:", "Statistic:", "Null:", "Interval:", "It fails"):
            assert words in text or name == "method-timeline", (name, words)
    # and from the first screen, without a figure
    hand.page.evaluate("scrollTo(0, 0)")
    again = Hand(hand.page)
    again.click(hand.page.locator("header nav a", has_text="Methods"))
    assert again.sees(hand.page.locator("#methods h2"))


def test_the_table_behind_a_figure_as_a_file(hand: Hand, demonstration: Path) -> None:
    """A button below the figure. Red: another table, or a part of it."""
    shown = go_to_overlap(hand)
    with hand.page.expect_download() as got:
        hand.click(shown.locator("button:text-is('CSV')"))
    assert got.value.suggested_filename.endswith(".csv")
    rows = pd.read_csv(got.value.path())
    whole = overlap_rows(demonstration)
    assert len(rows) == len(whole)
    for column in ("edge_rate", "low", "high", "null_low", "null_high", "n_pairs"):
        assert rows[column].sum() == pytest.approx(whole[column].sum(), rel=1e-5), column
    assert hand.clicks == 2
    assert hand.takes() < MINUTE
