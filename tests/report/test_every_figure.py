"""Every figure of a report: its CSV is what it draws, and each mark says value, n and null."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from octoscope.report.rows import records
from octoscope.run_plan.values import COEXPRESSION
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot
from playwright.sync_api import Page

from tests.report.figure_kinds import KINDS, Kind, Mark, rows_of
from tests.report.test_browser import opened

# of each figure: kind, name of its file, CSV, and its marks with place, size and text
FIGURES = """async () => {
  for (const d of document.querySelectorAll("details")) d.open = true;
  const out = [];
  for (const figure of document.querySelectorAll("figure[data-name]")) {
    const marks = [...figure.querySelectorAll("svg title")].map(title => {
      const e = title.parentElement, path = e.querySelector("path");
      const box = e.tagName === "use" ? {} : e.getBBox();
      const number = name => Number(e.getAttribute(name));
      return {text: title.textContent, tag: e.tagName, x: box.x ?? number("x"),
        y: box.y ?? number("y"), width: box.width, height: box.height,
        stroke: path && Number(/stroke-width: ([0-9.]+)/.exec(path.getAttribute("style"))?.[1])};
    });
    const csv = byId(figure.dataset.csv);
    out.push({kind: figure.className, name: figure.dataset.name, marks,
      csv: csv && await unpacked(csv)});
  }
  return out;
}"""
# colours of a drawn SVG near the upper left corner of each of its squares
COLOURS = """async ([name, marks]) => {
  const figure = [...document.querySelectorAll("figure")].find(f => f.dataset.name === name);
  const svg = figure.querySelector("svg"), box = svg.viewBox.baseVal, scale = 4;
  const image = new Image();
  image.src = URL.createObjectURL(new Blob([svgText(svg)], {type: "image/svg+xml"}));
  await image.decode();
  const canvas = make("canvas", {width: box.width * scale, height: box.height * scale});
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return marks.map(m => [...context.getImageData(
    (m.x + 0.2 * m.width) * scale, (m.y + 0.2 * m.height) * scale, 1, 1).data].slice(0, 3));
}"""
PALETTES = {"heatmap": ("RdBu_r", -1, 1), "geometry": ("RdBu_r", -1, 1),
            "agreement": ("viridis_r", 0, 0.5)}  # fmt: skip


def check_every_figure(page: Page, run: Path) -> set[str]:
    """Hold every figure of a run's page against the files of the run; return their kinds."""
    opened(page, run)
    page.wait_for_function("!document.querySelector('script.svg')")
    plan = load_plan(RunRoot(run))
    sets = {m.name: next(iter(m.gene_sets)) for m in plan.models}
    views = {m.name: m.views[0] for m in plan.models}
    seen = set()
    for drawn in page.evaluate(FIGURES):
        kind, name = drawn["kind"], drawn["name"]
        model = name.removesuffix("-by-layer").removesuffix(f"-{kind}").removeprefix("consensus-")
        first = plan.models[0].name
        of = model if model in sets else first
        rows = rows_of(run, kind, model, sets[of], views[of])
        check_csv(KINDS[kind], drawn, rows)
        check_tips(KINDS[kind].marks(records(rows), model), drawn)
        check_places(page, KINDS[kind].marks(records(rows), model), drawn)
        seen.add(kind)
    return seen


def check_csv(kind: Kind, drawn: Any, rows: pd.DataFrame) -> None:
    """Assert that the CSV of a figure has the rows that it draws, with n, null and interval."""
    downloaded = pd.read_csv(io.StringIO(drawn["csv"]), keep_default_na=False, na_values=[""])
    keys = list(kind.keys)
    assert len(downloaded) == len(rows) > 0, drawn["name"]
    both = rows.merge(downloaded, on=keys, suffixes=("", "_csv"))
    assert len(both) == len(rows), drawn["name"]
    numbers = [c for c in rows.columns if c not in ("at", *keys) and f"{c}_csv" in both
               and pd.api.types.is_numeric_dtype(rows[c])]  # fmt: skip
    assert set(kind.values) <= set(numbers), (drawn["name"], numbers)
    for column in numbers:
        a, b = both[column].to_numpy(float), both[f"{column}_csv"].astype(float).to_numpy()
        assert np.allclose(a, b, rtol=1e-5, atol=1e-9, equal_nan=True), (drawn["name"], column)
    missing = {c for c in rows.columns if rows[c].notna().any()} - set(downloaded) - {"at"}
    assert not missing, (drawn["name"], missing)


def check_tips(marks: list[Mark], drawn: Any) -> None:
    """Assert that there is a mark for every value, and that it says value, n, null, interval."""
    assert len(drawn["marks"]) == len(marks), drawn["name"]
    for (row, value), mark in zip(marks, drawn["marks"], strict=True):
        for words in KINDS[drawn["kind"]].says(row, value):
            assert words in mark["text"], (drawn["name"], words, mark["text"])


def check_places(page: Page, marks: list[Mark], drawn: Any) -> None:
    """Assert that place, size or colour of the marks follow the values."""
    kind = KINDS[drawn["kind"]]
    if kind.shape == "colour":
        palette, low, high = PALETTES[drawn["kind"]]
        values = [row[value] for row, value in marks]
        norm = mpl.colors.Normalize(low, high, clip=True)
        expected = mpl.colormaps[palette](norm(values))[:, :3] * 255
        colours = np.array(page.evaluate(COLOURS, [drawn["name"], drawn["marks"]]))
        assert np.abs(colours - expected).max() < 16, drawn["name"]
        return
    panels: dict[Any, list[tuple[float, float]]] = {}
    for (row, value), mark in zip(marks, drawn["marks"], strict=True):
        of = {"height": mark["y"], "log": mark["y"], "bar": mark["height"],
              "width": mark["stroke"], "length": mark["width"]}[kind.shape]  # fmt: skip
        number = np.log(row[value]) if kind.shape == "log" else row[value]
        panels.setdefault(kind.panel((row, value)), []).append((number, of))
    for panel, points in panels.items():
        x, y = np.array(points).T
        if kind.shape == "length":  # the shortest bar is as long as can be seen
            x, y = x[x > 0.01 * x.max()], y[x > 0.01 * x.max()]
        if len(set(x)) < 3:
            continue
        slope, start = np.polyfit(x, y, 1)
        assert np.abs(slope * x + start - y).max() < 1, (drawn["name"], panel)
        assert (slope < 0) == (kind.shape in ("height", "log")), (drawn["name"], panel)


OF_ONE = {"profile", "heatmap", "reliability", "overlap", "mass", "agreement", "network",
          "timeline"}  # fmt: skip
OF_TWO = OF_ONE - {"mass"} | {"by-k", "coherence", "coherence-enrichment", "coherence-scores"}


@pytest.mark.parametrize(("run", "kinds"), [("finished_run", OF_ONE), ("scored_run", OF_TWO)])
def test_every_figure_of_a_small_run(
    page: Page, run: str, kinds: set[str], request: pytest.FixtureRequest
) -> None:
    """Red: the CSV of a table that stands below; squares, bars and arrows that say nothing."""
    assert check_every_figure(page, request.getfixturevalue(run)) == kinds


def test_the_buttons_of_a_figure(page: Page, finished_run: Path) -> None:
    """Red: another table's rows; values that only a mouse can ask for."""
    opened(page, finished_run)
    figure = page.locator("figure.agreement")
    with page.expect_download() as got:
        figure.locator("button:text-is('CSV')").click()
    assert got.value.suggested_filename == "agreement.csv"
    downloaded = page.evaluate(
        "async () => unpacked(byId(document.querySelector('figure.agreement').dataset.csv))"
    )
    assert Path(got.value.path()).read_text() == downloaded
    tips = figure.locator("title").all_text_contents()
    says = figure.locator(".mark")
    figure.locator("button[aria-label='Next value: agreement']").press("Enter")
    assert says.inner_text() == tips[0]
    figure.locator("button[aria-label='Previous value: agreement']").press("Enter")
    assert says.inner_text() == tips[-1]
    assert says.get_attribute("aria-live") == "polite"
    figure.locator("rect:has(> title)").first.click()
    assert says.inner_text() == tips[0] != tips[-1]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_figure_of_the_demonstration(page: Page, demonstration: Path) -> None:
    plan = load_plan(RunRoot(demonstration))
    assert any(m.family == COEXPRESSION for m in plan.models)
    assert check_every_figure(page, demonstration) == set(KINDS) - {"coherence-scores"}
