"""The report in a real headless Chromium: figures are there, nothing is logged, names are text."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import yaml
from octoscope.store.parquet import read_table
from octoscope.store.run_dir import RunRoot
from playwright.sync_api import Page

from tests.conftest import small_tree
from tests.here import here

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
    said: list[str] = []
    page.on("console", lambda m: said.append(m.text))
    page.on("pageerror", lambda e: said.append(str(e)))
    page.on("request", lambda r: said.append(r.url) if r.url.startswith("http") else None)
    page.goto((run / "report/index.html").as_uri())
    page.wait_for_load_state("networkidle")
    return said


def test_figures_are_present_and_nothing_is_logged(page: Page, finished_run: Path) -> None:
    assert opened(page, finished_run) == []
    for name in ("heatmap", "overlap", "reliability", "mass"):
        figure = page.locator(f"figure.{name} svg")
        assert figure.count() == 1
        box: Any = figure.bounding_box()
        assert box["width"] > 200
        assert box["height"] > 100
        assert page.locator(f"figure.{name} svg text").count() > 4
    assert page.locator("#model-1 table.pairs tbody tr").count() == 30  # 2 categories x 15
    assert page.locator("#together figure.agreement svg").count() == 1
    assert page.locator("#together table.pairs tbody tr").count() == 30
    limits = page.locator("#limits").inner_text()
    assert "demonstration checkpoint" in limits
    assert "trained on the same cells" in limits
    assert "cell-level only" in limits
    notes = page.locator("details.network-notes").first
    assert "OmniPath: 135,458 read = 135,458 kept" in (notes.text_content() or "")


def test_the_gene_filter_hides_other_rows(page: Page, finished_run: Path) -> None:
    opened(page, finished_run)
    first = page.locator("#model-1 table.pairs tbody tr td").first.inner_text()
    page.locator("#model-1 input.filter").first.fill(first.lower())
    shown = page.locator("#model-1 table.pairs tbody tr:not([hidden])")
    assert 0 < shown.count() < 30
    for row in shown.all():
        cells = [row.locator("td").nth(i).text_content() or "" for i in (0, 1)]
        assert any(c.startswith(first) for c in cells)


@pytest.mark.slow
def test_names_from_data_are_text(page: Page, nasty_run: Path) -> None:
    assert opened(page, nasty_run) == []
    assert page.evaluate("window.hacked") is None
    assert page.title() == "<img src=x onerror=alert(1)>"
    assert page.locator("body img, body i, body b b").count() == 0
    text = page.locator("body").inner_text()
    assert NASTY[0] in text
    assert "<i>B2M</i>" in (page.locator("body").text_content() or "")
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
    made = {p.name for p in nasty_run.parent.iterdir()}
    assert made == {"nasty.h5ad", "nasty.yaml", "checkpoint", "run"}  # nothing beside the run
    stats = read_table(RunRoot(nasty_run), "tables/stats.parquet")
    assert set(stats["category"]) == set(NASTY)
