"""A report in several pages: the run, and each model with all of its rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from octoscope.report import page_parts
from octoscope.report.page import page as page_of
from octoscope.report.pages_by_model import write_pages
from octoscope.results.run_results import Results
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot
from playwright.sync_api import Page

from tests.here import here
from tests.report.readable import check_readable


@pytest.fixture(scope="module")
def folder(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages") / "report"
    done = here("report", str(finished_run), "--by-model", "--out", str(folder))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{folder}\n"
    return folder


def test_pages_lead_to_each_other(page: Page, folder: Path, finished_run: Path) -> None:
    """Red: links to files that are not there; a page without its script."""
    messages: list[str] = []
    page.on("console", lambda m: messages.append(m.text))
    page.on("pageerror", lambda e: messages.append(str(e)))
    page.goto((folder / "index.html").as_uri())
    links = page.locator("#pages a")
    assert links.all_inner_texts() == [
        f"{m.name}, all rows" for m in Results.open(finished_run).plan.models
    ]
    links.first.click()
    assert page.url == (folder / "model-1.html").as_uri()
    assert page.locator("h1").inner_text().endswith(": tiny")
    assert page.locator("section.model").count() == 1
    assert page.locator("#verdict, #together, #provenance").count() == 0
    assert page.locator("figure.overlap svg").count() == 1
    page.fill("#gene-name", "B2M")
    page.press("#gene-name", "Enter")
    page.wait_for_selector("#gene-pairs tbody tr")
    check_readable(page)
    page.click("text=The whole run")
    assert page.locator("#verdict").count() == 1
    assert messages == []


def test_a_model_has_all_rows_that_the_page_of_many_cuts(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Red: the limit of the page of a run on the page of a model."""
    monkeypatch.setattr(page_parts, "MANY", 0)  # every run is one of many
    monkeypatch.setattr(page_parts, "MOST_OF_MANY", 2)
    results = Results.open(finished_run)
    write_pages(results, tmp_path)
    assert "The page holds 2 of" in (tmp_path / "index.html").read_text()
    assert "The page holds" not in (tmp_path / "model-1.html").read_text()
    assert page_of(results) != (tmp_path / "index.html").read_bytes()  # that one has no links


def test_a_page_of_many_layers_holds_less_of_each() -> None:
    """Red: counting models alone. 66 layers in 6 categories made a page of 11 MB."""
    plan = load_plan(RunRoot(Path(__file__).parents[1] / "data/stores/plan-3b"))
    models = [plan.models[0].model_copy(update={"layers": list(range(66))})]
    many = plan.model_copy(update={"models": models, "categories": plan.categories[:1] * 6})
    assert page_parts.is_of_many(many)
    assert not page_parts.is_of_many(plan)


def test_names_of_models_are_no_names_of_files(folder: Path, finished_run: Path) -> None:
    """Red: a file by the name of a model, which may hold any character."""
    n = len(Results.open(finished_run).plan.models)
    names = {"index.html", *(f"model-{i}.html" for i in range(1, n + 1))}
    assert {path.name for path in folder.iterdir()} == names


def test_a_folder_that_is_there_or_in_a_run_is_refused(finished_run: Path, tmp_path: Path) -> None:
    for out, why in ((tmp_path, "exists already"), (finished_run / "pages", "run")):
        done = here("report", str(finished_run), "--by-model", "--out", str(out))
        assert done.returncode == 2
        assert why in done.stderr
    done = here("report", str(finished_run), "--by-model")
    assert done.returncode == 2
    assert "name a folder outside the run" in done.stderr
