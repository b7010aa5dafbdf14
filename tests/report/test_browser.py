"""The report in a real headless Chromium: figures are there, nothing is logged, names are text."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from octoscope.demo.demo import PANEL
from octoscope.report.rows import figure as figure_text
from octoscope.results.model_findings import findings
from octoscope.results.run_results import Results
from octoscope.store.parquet import read_table
from octoscope.store.run_dir import RunRoot
from playwright.sync_api import Browser, Page

from tests.conftest import small_tree
from tests.here import here
from tests.report.readable import FAULTS

NASTY = ["<script>window.hacked=1</script>", '"onload="x $a_b$ & Ä' + "n" * 300, "../../etc/passwd"]


@pytest.fixture(scope="module")
def nasty_run(small_atlas: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose category, cell and gene names come from someone unkind."""
    folder = tmp_path_factory.mktemp("nasty")
    cells = ad.read_zarr(small_atlas)
    cells.obs["cell_type"] = np.array(NASTY)[np.arange(cells.n_obs) % 3]
    symbols = cells.var["feature_name"].astype(str).to_numpy(dtype=object)
    tree = small_tree(folder / "nasty.h5ad")
    tree["title"] = "<img src=x onerror=alert(1)>"
    tree["min_cells"] = 4
    # the model matches by symbol: genes outside its vocabulary may be called anything
    symbols[~np.isin(symbols.astype(str), tree["gene_sets"][0]["genes"])] = "<b>gene</b>"
    cells.var["feature_name"] = symbols
    cells.write_h5ad(folder / "nasty.h5ad")
    vocab = shutil.copytree(tree["models"][0]["path"], folder / "checkpoint") / "vocab.json"
    text = vocab.read_text().replace('"B2M"', '"<i>B2M</i>"')
    vocab.write_text(text)
    symbols[symbols == "B2M"] = "<i>B2M</i>"
    cells.var["feature_name"] = symbols
    cells.write_h5ad(folder / "nasty.h5ad")
    tree["models"][0]["path"] = str(folder / "checkpoint")
    tree["gene_sets"][0]["genes"] = [
        "<i>B2M</i>" if g == "B2M" else g for g in tree["gene_sets"][0]["genes"]
    ]
    config = folder / "nasty.yaml"
    config.write_text(yaml.safe_dump(tree))
    run = folder / "run"
    done = here("run", str(config), "--out", str(run))
    assert done.returncode == 0, done.stderr
    return run


def opened(page: Page, run: Path) -> list[str]:
    messages: list[str] = []
    page.on("console", lambda m: messages.append(m.text))
    page.on("pageerror", lambda e: messages.append(str(e)))
    page.on("request", lambda r: messages.append(r.url) if r.url.startswith("http") else None)
    page.goto((run / "report/index.html").as_uri())
    page.wait_for_load_state("networkidle")
    return messages


def test_figures_are_present_and_nothing_is_logged(page: Page, finished_run: Path) -> None:
    assert opened(page, finished_run) == []
    for name in ("profile", "heatmap", "overlap", "reliability", "mass"):
        figure = page.locator(f"figure.{name} svg")
        assert figure.count() == 1
        box: Any = figure.bounding_box()
        assert box["width"] > 200
        assert box["height"] > 100
        assert page.locator(f"figure.{name} svg text").count() > 4
        method = page.locator(f"figure.{name} figcaption a").get_attribute("href")
        assert page.locator(f"article{method}").inner_text()
    tip = page.locator("figure.overlap use title").first.text_content() or ""
    assert re.fullmatch(r"layer 0: [\d.]+ \(.+\); null [\d.]+ to [\d.]+; n = \d+", tip)
    assert page.locator("#model-1 table.pairs tbody tr").count() == 30  # 2 categories x 15
    assert page.locator("#together figure.agreement svg").count() == 1
    assert page.locator("#together table.pairs tbody tr").count() == 30
    notes = page.locator("details.network-notes").first
    assert "OmniPath: 135,458 read = 135,458 kept" in (notes.text_content() or "")


def test_every_layer_is_a_point_of_coherence_against_enrichment_and_scores(
    page: Page, scored_run: Path
) -> None:
    """Red: a panel without its points; a point that does not say what it is."""
    assert opened(page, scored_run) == []
    figure = page.locator("#together figure.coherence-scores")
    assert figure.locator("svg").count() == 1
    box: Any = figure.locator("svg").bounding_box()
    assert box["width"] > 600
    tips = figure.locator("use title").all_text_contents()
    table = pd.read_parquet(scored_run / "tables/coherence_scores.parquet")
    table = table[table["k"] == 50].dropna(subset=["coherence"])  # the longest list
    folds = table[table["quantity"] == "probability"]["fold"].notna()
    assert folds.any()
    assert len(tips) == folds.sum() + table["median"].notna().sum()
    row = table[(table["quantity"] == "cosine") & table["fold"].notna()].iloc[0]
    start = f"{row['model']}, layer {row['layer']}, {row['category']}: coherence "
    mine = [tip for tip in tips if tip.startswith(start)]
    assert len(mine) == 3
    assert f"demo, median cosine {figure_text(row['median'])} (" in mine[2]
    assert f"n = {row['n_pairs']} pairs" in mine[2]
    method = figure.locator("figcaption a").get_attribute("href")
    assert "Spearman" in page.locator(f"article{method}").inner_text()
    for kind in ("SVG", "PNG"):
        assert figure.locator(f"button:text-is('{kind}')").count() == 1
    assert page.locator("#score-tests tbody tr").count() == 8


def test_the_first_screen_says_what_was_asked_found_refused_and_not_shown(
    page: Page, finished_run: Path
) -> None:
    opened(page, finished_run)
    order = [page.locator(x).bounding_box() for x in ("#asked", "#verdict", "#refused", "#limits")]
    tops = [box["y"] for box in order if box]
    assert tops == sorted(tops)
    assert len(tops) == 4
    introduction = page.locator("#asked").inner_text()
    for words in ("tiny", "small.zarr", "48 of 48 cells", "2 categories", "set panel", "OmniPath"):
        assert words in introduction
    first = page.locator("article.finding").inner_text()
    results = Results.open(finished_run)
    row = findings(results, "panel", "marginal").iloc[0]
    assert f"Layer {row['layer']} in {row['category']}" in first
    assert f"{row['n_edges']} of its {row['n_pairs']} strongest pairs are network edges" in first
    for words in ("95 % interval", "The null expects", "times the null", "q = ", "halves"):
        assert words in first
    assert "Cannot tell: the run did not measure co-expression" in first
    assert page.locator("#verdict .facts li").count() == 2  # no other model to agree with
    absent = results.plan.models[0].gene_sets_absent["panel"]
    refused = page.locator("#refused")
    assert (f"of {len(PANEL)} genes" in refused.inner_text()) == bool(absent)
    assert "48 selected cells used: tiny 48" in refused.inner_text()
    limits = page.locator("#limits").inner_text()
    for words in ("demonstration checkpoint", "trained on the same cells", "cell-level only"):
        assert words in limits
    # the answer needs no scrolling; what is beyond a line is folded
    assert page.locator("article.finding h3").first.bounding_box()["y"] < 900
    assert page.locator("#limits details[open], #refused details[open]").count() == 0


def test_a_gene_is_looked_up_over_all_top_pairs(page: Page, finished_run: Path) -> None:
    """Red: an empty table, because the gene is not among the few pairs that the page shows."""
    opened(page, finished_run)
    top = pd.read_parquet(finished_run / "topk/tiny.parquet").query("part == 'total'")
    gene = "LYZ"
    ensembl = top.loc[top["query_symbol"] == gene, "query"].iloc[0]
    to, by = (int((top[f"{end}_symbol"] == gene).sum()) for end in ("query", "key"))
    assert to
    assert by
    for name in ("lyz", ensembl, f"{ensembl}.7"):
        page.fill("#gene-name", name)
        page.press("#gene-name", "Enter")
        page.wait_for_selector("#gene-pairs tbody tr")
        line = page.locator(".gene-line").inner_text()
        assert f"LYZ ({ensembl}) stands in {to + by} of {len(top)} top pairs" in line
        assert f"it attends to a gene in {to}, and a gene attends to it in {by}" in line
    lists = len(top.groupby(["category", "layer", "gene_set", "view"]))
    for n, (own, other) in enumerate([("key", "query"), ("query", "key")]):
        partners = top[top[f"{own}_symbol"] == gene].groupby(f"{other}_symbol").size()
        sentence = page.locator(".partners dd").nth(n).inner_text()
        best = re.match(r"(\S+) \(in (\d+) of (\d+) lists, of 1 attention variant\)", sentence)
        assert best, sentence
        assert partners[best[1]] == partners.max() == int(best[2])
        assert int(best[3]) == lists
        assert sentence.endswith(f"; {len(partners)} genes in all." if len(partners) > 5 else ".")
    info = page.locator("#gene-answer .dt-info").inner_text()
    assert f"of {to + by} rows" in info
    for direction in ("ascending", "descending"):
        page.locator("#gene-pairs thead th", has_text="rank").click()
        page.wait_for_selector(f"#gene-pairs th[aria-sort={direction}]")
    ranks = [int(x) for x in page.locator("#gene-pairs tbody td:nth-child(8)").all_inner_texts()]
    assert ranks == sorted(ranks, reverse=True)
    assert ranks[0] > 9
    page.select_option("select[aria-label=direction]", "attends to")
    assert f"of {to} rows (of {to + by})" in page.locator("#gene-answer .dt-info").inner_text()
    with page.expect_download() as got:
        page.click("#gene-answer button[aria-label^='Download CSV']")
    rows = pd.read_csv(got.value.path())
    assert len(rows) == to
    mine = top[top["query"] == ensembl].merge(
        rows.rename(columns={"gene": "key", "gene set": "gene_set"}),
        on=["category", "layer", "gene_set", "view", "key", "rank"],
    )
    assert len(mine) == to
    assert np.allclose(mine["value_x"], mine["value_y"], rtol=5e-3)
    with_edge = rows["edge in network"].isin(["OmniPath"])
    assert with_edge.sum() == int((mine["in_network"] == True).sum())  # noqa: E712


def test_a_gene_without_pairs_is_told_apart_from_one_that_is_not_ranked(
    page: Page, finished_run: Path
) -> None:
    opened(page, finished_run)
    page.fill("#gene-name", "LYZZ")
    page.click("#gene-form button")
    page.wait_for_selector("#gene-answer p")
    answer = page.locator("#gene-answer").inner_text()
    assert "No model of this run ranks a gene LYZZ. Near it: LYZ." in answer


def test_tables_sort_search_page_and_download(page: Page, finished_run: Path) -> None:
    opened(page, finished_run)
    table = page.locator("#contrasts")
    table.scroll_into_view_if_needed()
    page.wait_for_selector("#contrasts.dataTable")
    pairs = page.locator("#model-1 table.pairs").first
    pairs.scroll_into_view_if_needed()
    name = pairs.get_attribute("id")
    page.wait_for_selector(f"#{name}.dataTable")
    ranks = page.locator(f"#{name} thead th", has_text="rank")
    for direction in ("ascending", "descending"):
        ranks.click()
        page.wait_for_selector(f"#{name} th[aria-sort={direction}]")
    shown = [int(x) for x in page.locator(f"#{name} tbody td:nth-child(4)").all_inner_texts()]
    assert shown == sorted(shown, reverse=True)
    assert shown[0] > shown[-1]
    first = page.locator(f"#{name} tbody td").first.inner_text()
    page.locator(f"#{name}_wrapper input[type=search]").fill(first)
    rows = page.locator(f"#{name} tbody tr")
    assert 0 < rows.count() < 15
    assert all(first in text for text in rows.all_inner_texts())
    with page.expect_download() as got:
        page.click(
            f"button[aria-label='Download CSV: {page.locator(f'#{name} caption').inner_text()}']"
        )
    assert got.value.suggested_filename == f"topk-tiny-{name}.csv"
    downloaded = pd.read_csv(got.value.path())
    assert len(downloaded) == 15
    assert {"query", "query_symbol", "value_half0", "in_network"} <= set(downloaded)


def test_figures_are_downloaded_as_svg_and_png(page: Page, finished_run: Path) -> None:
    opened(page, finished_run)
    for kind, start in (("SVG", b"<svg "), ("PNG", b"\x89PNG")):
        with page.expect_download() as got:
            page.click(f"figure.overlap button:text-is('{kind}')")
        body = Path(got.value.path()).read_bytes()
        assert body.startswith(start)
        assert len(body) > 5000
        assert got.value.suggested_filename == f"tiny-overlap.{kind.lower()}"
    with page.expect_download() as got:
        page.click("figure.overlap button:text-is('CSV')")
    rows = pd.read_csv(got.value.path())
    assert {"edge_rate", "low", "high", "null_mean", "n_pairs"} <= set(rows)
    assert len(rows) == page.locator("figure.overlap use title").count()


@pytest.mark.parametrize(("media", "width"), [("screen", 390), ("print", 718)])
def test_nothing_is_lost_on_a_narrow_screen_or_on_paper(
    page: Page, finished_run: Path, media: Any, width: int
) -> None:
    """Red: columns beyond the edge, folds that paper cannot open, figures too small to read."""
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(media=media)
    try:
        opened(page, finished_run)
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.locator("details:not([open])").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(FAULTS, [width, media == "print"]) == []
        wide = page.locator("#model-1 table.wide td").first
        label = wide.evaluate("e => getComputedStyle(e, '::before').content")
        assert label == '"query"'  # rows stand as blocks, each cell with the name of its column
    finally:
        page.emulate_media(media="screen")
        page.set_viewport_size({"width": 1200, "height": 900})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(page: Page, finished_run: Path, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    opened(page, finished_run)
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    page.locator("#model-1 table.pairs").first.scroll_into_view_if_needed()
    page.wait_for_selector("#model-1 table.dataTable")
    result = Axe().run(page)
    page.emulate_media(color_scheme="light")
    assert result.violations_count == 0, result.generate_report()


def test_tables_can_be_read_without_a_script(browser: Browser, finished_run: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((finished_run / "report/index.html").as_uri())
    assert page.locator("#model-1 table.pairs tbody tr").count() == 30
    assert "needs JavaScript" in page.locator("#gene").inner_text()
    assert page.locator("button:visible, input:visible").count() == 0
    context.close()


@pytest.mark.slow
def test_names_from_data_are_text(page: Page, nasty_run: Path) -> None:
    assert opened(page, nasty_run) == []
    assert page.evaluate("window.hacked") is None
    assert page.title() == "<img src=x onerror=alert(1)>"
    assert page.locator("body img, body i, body b b").count() == 0
    text = page.locator("body").inner_text()
    assert NASTY[0] in text
    assert "<i>B2M</i>" in (page.locator("body").text_content() or "")
    page.fill("#gene-name", "<i>b2m</i>")
    page.press("#gene-name", "Enter")
    page.wait_for_selector("#gene-pairs tbody tr")
    assert page.locator(".gene-line").inner_text().startswith("<i>B2M</i> (ENSG")
    page.select_option("select[aria-label=category]", NASTY[0])
    shown = page.locator("#gene-pairs tbody td:nth-child(4)").all_inner_texts()
    assert set(shown) == {NASTY[0]}
    assert page.locator("body img, body i, body b b").count() == 0
    assert page.evaluate("window.hacked") is None
    titles = " ".join(page.locator("figure.heatmap svg text").all_text_contents())
    assert "$a_b$" in titles  # not set as mathematics


@pytest.mark.slow
def test_names_from_data_never_become_paths(nasty_run: Path) -> None:
    for path in nasty_run.rglob("*"):
        assert not set(path.name) & set('<>$"& ')
        assert len(path.name) < 100
    assert not (nasty_run.parent.parent / "etc").exists()


@pytest.mark.slow
def test_names_from_data_are_never_paths(nasty_run: Path) -> None:
    """Slashes, Unicode and 300 characters stay values in tables; files have names of our own."""
    files = [p.relative_to(nasty_run).as_posix() for p in nasty_run.rglob("*")]
    assert all(re.fullmatch(r"[A-Za-z0-9._/-]+", f) for f in files)
    names = {p.name for p in nasty_run.parent.iterdir()}
    assert names == {"nasty.h5ad", "nasty.yaml", "checkpoint", "run"}  # nothing beside the run
    stats = read_table(RunRoot(nasty_run), "tables/stats.parquet")
    assert set(stats["category"]) == set(NASTY)
