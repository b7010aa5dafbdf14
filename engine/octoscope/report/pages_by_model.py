"""The report of a large run as several pages: the run, and each model with all of its rows."""

from __future__ import annotations

from pathlib import Path

from octoscope.report.page import models_shown, page
from octoscope.results.run_results import Results

INDEX = "index.html"


def write_pages(
    results: Results, folder: Path, gene_set: str | None = None, view: str | None = None
) -> None:
    """Write ``index.html`` and a page per model; None: the first declared gene set and view.

    The pages link to each other by relative addresses, so the folder can be moved or sent. Names of
    models never become names of files.

    Raises
    ------
    InputError
        If the gene set or view was not declared.
    """
    shown = models_shown(
        results, gene_set or results.config.gene_sets[0].name, view or results.plan.views[0]
    )
    pages = {name: f"model-{number}.html" for number, name in enumerate(shown, 1)}
    (folder / INDEX).write_bytes(page(results, gene_set, view, pages=pages))
    for name, file in pages.items():
        (folder / file).write_bytes(page(results, gene_set, view, name, pages))
