"""Small parts of the page that several templates use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from octoscope.report.csv_files import CsvFiles
from octoscope.report.data_tables import MOST, MOST_OF_MANY, MOST_OF_ONE, PageTables
from octoscope.report.embedded import block
from octoscope.report.limits import Line
from octoscope.report.rows import FILTERS
from octoscope.report.svg import Drawn
from octoscope.run_plan.values import Plan

LARGE = 200_000  # characters of a figure that stands compressed: some twenty panels
LARGE_OF_MANY = 20_000  # the same on a page of many figures
MANY = 100  # models times categories: panels of a kind of figure
MANY_MATRICES = 200  # layers of all models times categories: points in these panels


def templates() -> Environment:
    """Return the environment of the pages with tables: escaped, strict, with the filters."""
    environment = Environment(
        loader=PackageLoader("octoscope.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment


@dataclass(frozen=True)
class PageFigures:
    """Writes the figures of one page, each with the rows that it draws as CSV.

    ``large``: characters from which one stands compressed; ``files``: the CSV files of the page.
    """

    large: int = LARGE
    files: CsvFiles = field(default_factory=CsvFiles)

    def figure(
        self, drawn: Drawn, class_: str, method: str, name: str, caller: Callable[[], str]
    ) -> Markup:
        """Return a figure with its caption and a link to how it is made.

        A large one stands as compressed text, which the page's script unpacks when it has time.

        Parameters
        ----------
        drawn
            The figure, as the functions of the report draw it.
        method
            Its key among the methods of the page.
        name
            Name of the file that the figure is downloaded as.
        caller
            The caption: the content of a Jinja ``call`` block.
        """
        image: Markup = Markup(drawn.svg)
        if len(drawn.svg) > self.large:
            image = block(drawn.svg, class_="svg") + Markup(
                "<noscript>This figure needs JavaScript; its numbers are in the tables.</noscript>"
            )
        csv, csv_file = self.files.file(drawn.rows) if drawn.rows else ("", Markup(""))
        return Markup(
            '<figure class="{}" data-name="{}" data-csv="{}"><div class="scroll" tabindex="0">{}'
            '</div><figcaption>{} <a href="#method-{}">How it is made</a>.</figcaption>{}</figure>'
        ).format(class_, name, csv, image, Markup(caller().strip()), method, csv_file)


def page_parts(of_many: bool = False, of_one: bool = False) -> dict[str, Callable[..., Markup]]:
    """Return what the templates of one page call for tables and figures, by name.

    ``of_many``: see :func:`is_of_many`; ``of_one``: the page shows one model of a run.
    """
    files = CsvFiles()
    tables = PageTables(MOST_OF_ONE if of_one else MOST_OF_MANY if of_many else MOST, files)
    figures = PageFigures(LARGE_OF_MANY if of_many else LARGE, files)
    return {"table": tables.table, "table_labels": tables.labels, "figure": figures.figure}


def is_of_many(plan: Plan) -> bool:
    """Tell whether a page shows so many layers and categories that it holds less of each."""
    categories, layers = len(plan.categories), sum(len(m.layers) for m in plan.models)
    return len(plan.models) * categories > MANY or layers * categories > MANY_MATRICES


def folded(line: Line) -> Markup:
    """Return one line; what there is to say beyond it is folded."""
    if not line.details:
        return Markup("{}").format(line.text)
    if len(line.details) == 1:
        more = Markup("<p>{}</p>").format(line.details[0])
    else:
        items = Markup("").join(Markup("<li>{}</li>").format(x) for x in line.details)
        more = Markup("<ul>{}</ul>").format(items)
    return Markup("<details><summary>{}</summary>{}</details>").format(line.text, more)


def gene_link(row: Mapping[str, Any], end: str) -> Markup:
    """Return a gene of a pair as a link that looks it up; ``end``: ``query`` or ``key``."""
    gene, symbol = str(row[end]), row[f"{end}_symbol"]
    return Markup('<a href="#gene={}" title="{}">{}</a>').format(
        quote(gene, safe=""), gene, symbol or gene
    )
