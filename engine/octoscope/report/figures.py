"""Figures of the report as inline SVG (matplotlib). Names from data are drawn as plain text."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from octoscope.report.rows import figure as number
from octoscope.report.rows import interval

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "octoscope",  # element ids, and so the bytes, repeat
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a '$' in a category name is a dollar sign
}
BLUE, GREY, _ORANGE = "#1f5fa8", "#9aa4ae", "#c8641b"


def svg_text(figure: Figure, label: str, titles: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return a figure as SVG; ``titles``: what the points of a line say, by the line's gid."""
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
    for gid, texts in (titles or {}).items():
        if texts:
            text = _titled(text, f'id="{tag}-{gid}"', texts)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)


def _titled(svg: str, start: str, titles: Sequence[str]) -> str:
    """Give the markers that follow ``start`` a title each, which browsers show as a tooltip."""
    at = svg.index(start)
    texts = iter(titles)
    marked = re.sub(
        r"<use ([^>]*)/>",
        lambda m: f"<use {m[1]}><title>{escape(next(texts))}</title></use>",
        svg[at:],
        count=len(titles),
    )
    return svg[:at] + marked


def ends(part: pd.DataFrame, value: str, low: str, high: str) -> np.ndarray:
    """Return [2, rows] lengths of error bars; NaN where the interval is not defined."""
    y, a, b = (part[c].to_numpy(float) for c in (value, low, high))
    known = (a < b)[None, :]
    return np.where(known, np.clip([y - a, b - y], 0, None), np.nan)


def panel_grid(names: list[str], width: float, height: float) -> tuple[Figure, np.ndarray]:
    """Return a figure of titled panels, at most three in a row, and its axes."""
    columns = min(3, len(names))  # as wide as paper
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False).ravel())
    for axis, name in zip(axes, names, strict=False):
        axis.set_title(name if len(name) <= 32 else name[:31] + "…", fontsize=9)
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    return figure, axes


def layer_heatmaps(table: pd.DataFrame, label: str) -> str:
    """Draw Spearman between layers, one square per category."""
    with mpl.rc_context(STYLE):
        names = list(dict.fromkeys(table["category"]))
        figure, axes = panel_grid(names, 2.6, 2.5)
        image = None
        for axis, name in zip(axes, names, strict=False):
            part = table[table["category"] == name]
            layers = sorted(set(part["layer_a"]) | set(part["layer_b"]))
            at = {layer: i for i, layer in enumerate(layers)}
            square = np.full((len(layers), len(layers)), np.nan)
            for row in part.itertuples():
                i, j = at[row.layer_a], at[row.layer_b]
                square[i, j] = square[j, i] = row.spearman
            image = axis.imshow(square, vmin=-1, vmax=1, cmap="RdBu_r")
            if len(layers) <= 8:
                for (i, j), value in np.ndenumerate(square):
                    if not np.isnan(value):
                        shade = "white" if abs(value) > 0.6 else "black"
                        axis.text(
                            j, i, f"{value:.2f}", ha="center", va="center", color=shade, fontsize=8
                        )
            axis.set_xticks(range(len(layers)), [str(x) for x in layers])
            axis.set_yticks(range(len(layers)), [str(x) for x in layers])
            axis.set_xlabel("layer")
            axis.set_ylabel("layer")
        if image is not None:
            figure.colorbar(image, ax=list(axes[: len(names)]), label="Spearman", shrink=0.7)
        return svg_text(figure, label)


def legend_below(figure: Figure, axis: Axes, *, columns: int) -> None:
    """Draw the legend of one panel below all of them."""
    handles, texts = axis.get_legend_handles_labels()
    figure.legend(
        handles, texts, loc="outside lower center", ncols=columns, frameon=False, fontsize=8
    )


def by_layer(
    table: pd.DataFrame,
    label: str,
    *,
    value: str,
    ylabel: str,
    low: str = "low",
    high: str = "high",
    null_low: str = "null_low",
    null_high: str = "null_high",
    reference: str | None = None,
    n: str | None = None,
) -> str:
    """Draw a value per layer with its interval, and the central 95 % of its null as a band.

    ``n``: column of the number that a point is of, for its tooltip.
    """
    titles: dict[str, list[str]] = {}
    with mpl.rc_context(STYLE):
        names = list(dict.fromkeys(table["category"]))
        figure, axes = panel_grid(names, 2.7, 2.3)
        for axis, name in zip(axes, names, strict=False):
            part = table[table["category"] == name].dropna(subset=[value]).sort_values("layer")
            x = part["layer"].to_numpy(float)
            y = part[value].to_numpy(float)
            wide = np.repeat(x, 2) + np.tile([-0.4, 0.4], len(x))
            axis.fill_between(
                wide,
                np.repeat(part[null_low].to_numpy(float), 2),
                np.repeat(part[null_high].to_numpy(float), 2),
                color=GREY,
                alpha=0.45,
                linewidth=0,
                label="null, central 95 %",
            )
            drawn = axis.errorbar(
                x, y, yerr=ends(part, value, low, high), fmt="o", color=BLUE, capsize=3,
                markersize=4, label="observed, 95 % interval",
            )  # fmt: skip
            gid = f"points-{len(titles)}"
            drawn.lines[0].set_gid(gid)
            titles[gid] = [
                f"layer {row['layer']}: {number(row[value])} ({interval(row, low, high)}); null "
                f"{number(row[null_low])} to {number(row[null_high])}"
                + (f"; n = {row[n]:,}" if n else "")
                for row in part.to_dict("records")
            ]
            if reference is not None:
                axis.plot(x, part[reference], "_", color=_ORANGE, markersize=12, label="background")
            axis.set_xticks(x, [str(int(v)) for v in x])
            axis.set_xlabel("layer")
            axis.set_ylabel(ylabel)
        legend_below(figure, axes[0], columns=3)
        return svg_text(figure, label, titles)


def layer_profile(table: pd.DataFrame, names: Mapping[str, str], label: str) -> str:
    """Draw the measures of the layers of one model below each other, on one axis.

    ``table``: as :func:`octoscope.results.layer_profile.layer_profile` returns it; ``names``: what
    each measure is called.
    """
    with mpl.rc_context(STYLE):
        shown = [m for m in names if m in set(table["measure"])]
        figure = Figure(figsize=(6.6, 0.5 + 1.5 * len(shown)), layout="constrained")
        axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False).ravel()
        titles: dict[str, list[str]] = {}
        for axis, measure in zip(axes, shown, strict=True):
            part = table[table["measure"] == measure].sort_values("layer")
            x, y = part["layer"].to_numpy(float), part["median"].to_numpy(float)
            if part["null_low"].notna().any():
                axis.fill_between(
                    np.repeat(x, 2) + np.tile([-0.4, 0.4], len(x)),
                    np.repeat(part["null_low"].to_numpy(float), 2),
                    np.repeat(part["null_high"].to_numpy(float), 2),
                    color=GREY, alpha=0.45, linewidth=0, label="null, central 95 % (median)",
                )  # fmt: skip
            axis.vlines(x, part["smallest"], part["largest"], color=BLUE, linewidth=1.2,
                        label="smallest to largest category")  # fmt: skip
            (line,) = axis.plot(x, y, "o-", color=BLUE, markersize=4, linewidth=0.8,
                                label="median over categories")  # fmt: skip
            line.set_gid(f"points-{measure}")
            titles[f"points-{measure}"] = [
                f"layer {row['layer']}: {number(row['median'])} ({number(row['smallest'])} to "
                f"{number(row['largest'])}); n = {row['n']} categories"
                for row in part.to_dict("records")
            ]
            axis.set_title(names[measure], fontsize=9, loc="left")
        axes[-1].set_xticks(sorted(set(table["layer"])))
        axes[-1].set_xlabel("layer")
        legend_below(figure, axes[0], columns=3)
        return svg_text(figure, label, titles)


def odds_ratios(table: pd.DataFrame, label: str) -> str:
    """Draw OR0 and OR1 per layer with their intervals, and what measurement error can leave.

    ``table``: category, layer, n_pairs, n_edges, or0, or1, their ``_low`` and ``_high``, bound.
    """
    titles: dict[str, list[str]] = {}
    with mpl.rc_context(STYLE):
        names = list(dict.fromkeys(table["category"]))
        figure, axes = panel_grid(names, 2.7, 2.3)
        for axis, name in zip(axes, names, strict=False):
            part = table[table["category"] == name].sort_values("layer")
            x = part["layer"].to_numpy(float)
            wide = np.repeat(x, 2) + np.tile([-0.4, 0.4], len(x))
            axis.fill_between(
                wide, 1, np.repeat(part["bound"].to_numpy(float), 2), color=GREY, alpha=0.45,
                linewidth=0, label="what error in co-expression can leave",
            )  # fmt: skip
            for value, shift, colour, text in (
                ("or0", -0.12, _ORANGE, "like degree and expression (OR0)"),
                ("or1", 0.12, BLUE, "like co-expression too (OR1)"),
            ):
                known = part.dropna(subset=[value])
                low, high = f"{value}_low", f"{value}_high"
                drawn = axis.errorbar(
                    known["layer"].to_numpy(float) + shift, known[value].to_numpy(float),
                    yerr=ends(known, value, low, high), fmt="o", color=colour, capsize=2,
                    markersize=4, label=text,
                )  # fmt: skip
                gid = f"points-{len(titles)}"
                drawn.lines[0].set_gid(gid)
                titles[gid] = [
                    f"layer {row['layer']}, {text}: {number(row[value])} "
                    f"({interval(row, low, high)}); {row['n_edges']:,} edges of {row['n_pairs']:,}"
                    for row in known.to_dict("records")
                ]
            axis.axhline(1, color="#1c2530", linewidth=0.6)
            axis.set_yscale("log", base=2)
            axis.yaxis.set_major_formatter(mpl.ticker.ScalarFormatter())
            axis.set_xticks(x, [str(int(v)) for v in x])
            axis.set_xlabel("layer")
            axis.set_ylabel("odds ratio of edges")
        legend_below(figure, axes[0], columns=3)
        return svg_text(figure, label, titles)


def mass_bars(table: pd.DataFrame, label: str) -> str:
    """Draw where attention goes per layer: kept genes, other genes, special tokens.

    ``table``: category, layer, to, share.
    """
    with mpl.rc_context(STYLE):
        names = list(dict.fromkeys(table["category"]))
        kinds = list(dict.fromkeys(table["to"]))
        figure, axes = panel_grid(names, 2.7, 2.2)
        colours = mpl.colormaps["tab10"].colors  # type: ignore[attr-defined]
        for axis, name in zip(axes, names, strict=False):
            part = table[table["category"] == name].sort_values("layer")
            layers = part["layer"].unique()
            x, base = layers.astype(float), np.zeros(len(layers))
            for kind, colour in zip(kinds, colours, strict=False):
                of = part[part["to"] == kind].set_index("layer")["share"]
                height = of.reindex(layers).fillna(0.0).to_numpy(float)
                axis.bar(x, height, bottom=base, color=colour, width=0.75, label=kind)
                base = base + height
            axis.set_ylim(0, 1)
            axis.set_xticks(x, [str(int(v)) for v in x])
            axis.set_xlabel("layer")
            axis.set_ylabel("share of attention")
        legend_below(figure, axes[0], columns=4)
        return svg_text(figure, label)


def source_heatmap(table: pd.DataFrame, value: str, label: str) -> str:
    """Draw a square of sources against sources; self comparisons are left blank."""
    with mpl.rc_context(STYLE):
        names = list(dict.fromkeys(table["source_a"]))
        pivot = table.pivot(index="source_a", columns="source_b", values=value)
        square = pivot.loc[names, names].to_numpy(float, copy=True)
        np.fill_diagonal(square, np.nan)
        size = 1.6 + 0.55 * len(names)
        figure = Figure(figsize=(size + 1.2, size), layout="constrained")
        axis = figure.subplots()
        image = axis.imshow(square, cmap="Blues", vmin=0)
        axis.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axis.set_yticks(range(len(names)), names)
        for i in range(len(names)):
            for j in range(len(names)):
                if i != j and not np.isnan(square[i, j]):
                    dark = square[i, j] > 0.6 * np.nanmax(square)
                    axis.text(j, i, f"{square[i, j]:.2g}", ha="center", va="center", fontsize=8,
                              color="white" if dark else "black")  # fmt: skip
        if len(names) > 1:
            figure.colorbar(image, ax=axis, shrink=0.7, label=label)
        return svg_text(figure, label)


def source_bars(table: pd.DataFrame, columns: dict[str, str], label: str) -> str:
    """Draw horizontal bars per source on a logarithmic scale, one group per column."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 0.9 + 0.45 * len(table)), layout="constrained")
        axis = figure.subplots()
        positions = np.arange(len(table))
        height = 0.8 / len(columns)
        for i, ((column, title), color) in enumerate(
            zip(columns.items(), (BLUE, _ORANGE, GREY), strict=False)
        ):
            axis.barh(positions + i * height, table[column], height, label=title, color=color)
        axis.set_yticks(positions + height * (len(columns) - 1) / 2, table["source"])
        axis.invert_yaxis()
        axis.set_xscale("symlog", linthresh=1)
        axis.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
        axis.set_xlabel(label)
        axis.legend(fontsize=8, frameon=False)
        return svg_text(figure, label)
