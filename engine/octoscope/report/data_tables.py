"""Tables of the page: rows that can be read without a script, all rows as data for the script."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from markupsafe import Markup

from octoscope.report.csv_files import CsvFiles, Row
from octoscope.report.embedded import block

READ = 25  # rows that stand in the page itself
MOST = 2_000  # rows that the page holds of a table: sixty layers have thousands of pairs of layers
MOST_OF_ONE = 50_000  # the same on the page of one model: pairs of sixty layers in 20 categories
MOST_OF_MANY = 500  # the same on a page of many models and categories: below 10 MB
WIDE = 7  # columns from which a narrow page or paper shows each row as a block


class PageTables:
    """Writes the tables of one page, in order.

    A table has a caption and a header of which a column starts with ``#`` if it holds numbers. The
    page's script makes it sortable and searchable and offers its rows as CSV, with the columns that
    the table of the run has. ``most``: rows that the page holds of a table; ``files``: the CSV
    files of the page.
    """

    def __init__(self, most: int = MOST, files: CsvFiles | None = None) -> None:
        self._most = most
        self._files = files or CsvFiles()
        self._labels: list[str] = []
        self._count = 0

    def table(
        self,
        rows: Sequence[Row],
        columns: Sequence[str],
        caption: str,
        file: str,
        caller: Callable[[Row], str],
        id: str = "",
        class_: str = "",
        data: Sequence[Row] | None = None,
    ) -> Markup:
        """Return one table.

        Parameters
        ----------
        rows
            What ``caller`` writes the cells of; all of its values go into the CSV.
        columns
            Text of the header, ``#`` before that of a column of numbers.
        caption
            What the table holds, in a few words.
        file
            Table of the run, without ``.parquet``.
        caller
            The cells of a row: the content of a Jinja ``call`` block.
        data
            Rows of the CSV, where they are not ``rows``.
        """
        self._count += 1
        name = id or f"table-{self._count}"
        numeric = [c.startswith("#") for c in columns]
        heads = [c.removeprefix("#") for c in columns]
        wide = len(columns) >= WIDE
        if wide:
            self._labels += [
                f"#{name} td:nth-child({i})::before{{content:{_css_text(head)}}}"
                for i, head in enumerate(heads, 1)
            ]
        header = Markup("").join(
            Markup('<th scope="col"{}>{}</th>').format(_class("n" if n else ""), head)
            for head, n in zip(heads, numeric, strict=True)
        )
        shown = rows[: self._most]
        cells = [Markup("<tr>{}</tr>").format(Markup(caller(row).strip())) for row in shown]
        csv, csv_file = "", Markup("")
        if data or (shown and data is None):
            csv, csv_file = self._files.file(shown if data is None else data[: self._most])
        parts = [
            Markup(
                '<div class="scroll" tabindex="0"><table id="{}"{} data-file="{}"{}>'
                "<caption>{}</caption><thead><tr>{}</tr></thead><tbody>\n{}\n</tbody></table></div>"
            ).format(
                name, _class(f"data {'wide ' if wide else ''}{class_}".strip()), file,
                Markup(' data-csv="{}"').format(csv) if csv else "", caption,
                header, Markup("\n").join(cells[:READ]),
            )
        ]  # fmt: skip
        if len(rows) > READ:
            inside = "" if len(rows) > self._most else "held"
            parts.append(
                Markup('<p class="soft rest {}">The first {} of {} rows; all: <code>{}.parquet')
                .format(inside, READ, f"{len(rows):,}", file) + Markup("</code>.</p>")
            )  # fmt: skip
            parts.append(block("\n".join(cells), class_="rows", data_for=name))
        if len(rows) > self._most:
            parts.append(
                Markup('<p class="soft">The page holds {} of {} rows; all: <code>{}.parquet')
                .format(f"{self._most:,}", f"{len(rows):,}", file) + Markup("</code>.</p>")
            )  # fmt: skip
        parts.append(csv_file)
        return Markup("").join(parts)

    def labels(self) -> Markup:
        """Return the style that names the columns where a wide table is shown row by row."""
        # the texts hold no character that could end the style
        return Markup("@media print, (max-width: 700px) {\n" + "\n".join(self._labels) + "\n}")


def _class(names: str) -> Markup:
    return Markup(' class="{}"').format(names) if names else Markup("")


def _css_text(text: str) -> str:
    """Return a CSS string of any text: what is not plain is written as a number."""
    return '"' + re.sub(r"[^\w ,.()/%=-]", lambda m: f"\\{ord(m[0]):x} ", text, flags=re.A) + '"'
