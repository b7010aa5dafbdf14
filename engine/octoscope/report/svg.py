"""A figure as SVG whose marks say their value, and the rows that the figure draws."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Row = dict[str, Any]


@dataclass(frozen=True)
class Drawn:
    """A figure: its SVG, and the rows of the table that it draws, with n, null and interval."""

    svg: str
    rows: Sequence[Row]


class Tips:
    """What the marks of one figure say; browsers show it as a tooltip."""

    def __init__(self) -> None:
        self._points: dict[str, Sequence[str]] = {}
        self._shapes: dict[str, str] = {}
        self._cells: list[tuple[Axes, int, int, str]] = []

    def points(self, line: Artist, texts: Sequence[str]) -> None:
        """Set a text for each marker of a line, in the order of its points."""
        line.set_gid(f"points-{len(self._points)}")
        self._points[str(line.get_gid())] = texts

    def shape(self, artist: Artist, text: str) -> None:
        """Set the text of one bar or arrow."""
        artist.set_gid(f"mark-{len(self._shapes)}")
        self._shapes[str(artist.get_gid())] = text

    def cell(self, axis: Axes, row: int, column: int, text: str) -> None:
        """Set the text of one cell of an image of ``axis``, from row and column 0."""
        self._cells.append((axis, row, column, text))

    def written(self, svg: str, tag: str) -> str:
        """Return SVG with the texts of points and shapes; ``tag``: how its ids start."""
        points = {f"{tag}-{gid}": texts for gid, texts in self._points.items()}
        shapes = {f"{tag}-{gid}": text for gid, text in self._shapes.items()}
        waiting: Iterator[str] = iter(())

        def titled(match: re.Match[str]) -> str:
            nonlocal waiting
            gid = match["gid"]
            if gid is not None:
                waiting = iter(points.get(gid, ()))
                return match[0] + _title(shapes[gid]) if gid in shapes else match[0]
            text = next(waiting, None)
            return match[0] if text is None else f"<use {match['use']}>{_title(text)}</use>"

        return re.sub(r'<g id="(?P<gid>[^"]+)">|<use (?P<use>[^>]*)/>', titled, svg)

    def cells(self, figure: Figure) -> str:
        """Return a transparent square for each cell of an image, at its place in the SVG."""
        if not self._cells:
            return ""
        for axis in {id(axis): axis for axis, *_ in self._cells}.values():
            axis.apply_aspect()  # an image is square from when it is drawn
        scale = 72 / figure.dpi
        height = figure.bbox.height * scale
        parts = []
        for axis, row, column, text in self._cells:
            x, y = axis.transData.transform((column - 0.5, row - 0.5)) * scale
            right, bottom = axis.transData.transform((column + 0.5, row + 0.5)) * scale
            parts.append(
                f'<rect x="{x:.1f}" y="{height - y:.1f}" width="{right - x:.1f}" '
                f'height="{y - bottom:.1f}">{_title(text)}</rect>'
            )
        return f'<g fill="none" pointer-events="all">{"".join(parts)}</g>'


def _title(text: str) -> str:
    return f"<title>{escape(text)}</title>"


def svg_text(figure: Figure, label: str, tips: Tips | None = None) -> str:
    """Return a figure as SVG; ``tips``: what its marks say."""
    buffer = io.StringIO()
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")  # else savefig draws everything once more to lay it out
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # ids repeat between figures of one page: make them unique to this one
    tag = re.sub(r"[^a-z0-9]+", "-", label.lower())[:40]
    text = re.sub(r'\bid="([^"]+)"', rf'id="{tag}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{tag}-\1)", text)
    text = re.sub(r'xlink:href="#([^"]+)"', rf'xlink:href="#{tag}-\1"', text)
    if tips is not None:
        start, end, rest = tips.written(text, tag).rpartition("</svg>")
        text = start + tips.cells(figure) + end + rest
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)


def named(row: Mapping[str, Any], model: str, layer: str) -> str:
    """Return the name of a layer of a model; ``model``, ``layer``: columns of a row."""
    return f"{row[model]}, layer {row[layer]}"
