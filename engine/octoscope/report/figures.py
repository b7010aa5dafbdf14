"""Figures of the report as inline SVG (matplotlib). Names from data are drawn as plain text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from octoscope.report.rows import NOT_DEFINED, count, interval, percent, records
from octoscope.report.rows import figure as number
from octoscope.report.svg import Drawn, Tips, svg_text

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "octoscope",  # element ids, and so the bytes, repeat
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a '$' in a category name is a dollar sign
}
BLUE, GREY, ORANGE = "#1f5fa8", "#9aa4ae", "#c8641b"


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


def layer_heatmaps(table: pd.DataFrame, label: str) -> Drawn:
    """Draw Spearman between layers, one square per category.

    ``table``: rows of ``tables/layers`` of one model, gene set and view, of two layers each.
    """
    tips = Tips()
    with mpl.rc_context(STYLE):
        names = list(dict.fromkeys(table["category"]))
        figure, axes = panel_grid(names, 2.6, 2.5)
        image = None
        for axis, name in zip(axes, names, strict=False):
            part = table[table["category"] == name]
            layers = sorted(set(part["layer_a"]) | set(part["layer_b"]))
            at = {layer: i for i, layer in enumerate(layers)}
            square = np.full((len(layers), len(layers)), np.nan)
            for row in records(part.dropna(subset=["spearman"])):
                i, j = at[row["layer_a"]], at[row["layer_b"]]
                square[i, j] = square[j, i] = row["spearman"]
                text = (
                    f"{name}, layers {row['layer_a']} and {row['layer_b']}: "
                    f"{number(row['spearman'])} ({interval(row, 'low', 'high')}); null "
                    f"{number(row['null_low'])} to {number(row['null_high'])}; n = "
                    f"{row['n_pairs']:,} pairs"
                )
                tips.cell(axis, i, j, text)
                tips.cell(axis, j, i, text)
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
        return Drawn(svg_text(figure, label, tips), records(table.dropna(subset=["spearman"])))


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
    panels: pd.Series | None = None,
) -> Drawn:
    """Draw a value per layer with its interval, and the central 95 % of its null as a band.

    ``n``: column of the number that a point is of, for its tooltip; ``panels``: name of the panel
    of each row, where it is not its category.
    """
    tips, drawn_rows = Tips(), []
    panels = table["category"] if panels is None else panels
    with mpl.rc_context(STYLE):
        names = list(dict.fromkeys(panels))
        figure, axes = panel_grid(names, 2.7, 2.3)
        for axis, name in zip(axes, names, strict=False):
            part = table[panels == name].dropna(subset=[value]).sort_values("layer", kind="stable")
            drawn_rows.append(part)
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
            texts = [
                f"layer {row['layer']}: {number(row[value])} ({interval(row, low, high)}); null "
                f"{number(row[null_low])} to {number(row[null_high])}"
                + (f"; n = {count(row[n])}" if n else "")
                for row in records(part)
            ]
            tips.points(drawn.lines[0], texts)
            if reference is not None:
                axis.plot(x, part[reference], "_", color=ORANGE, markersize=12, label="background")
            axis.set_xticks(x, [str(int(v)) for v in x])
            axis.set_xlabel("layer")
            axis.set_ylabel(ylabel)
        legend_below(figure, axes[0], columns=3)
        return Drawn(svg_text(figure, label, tips), records(pd.concat(drawn_rows)))


def layer_profile(table: pd.DataFrame, names: Mapping[str, str], label: str) -> Drawn:
    """Draw the measures of the layers of one model below each other, on one axis.

    ``table``: as :func:`octoscope.results.layer_profile.layer_profile` returns it; ``names``: what
    each measure is called.
    """
    with mpl.rc_context(STYLE):
        shown = [m for m in names if m in set(table["measure"])]
        figure = Figure(figsize=(6.6, 0.5 + 1.5 * len(shown)), layout="constrained")
        axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False).ravel()
        tips, drawn_rows = Tips(), []
        for axis, measure in zip(axes, shown, strict=True):
            part = table[table["measure"] == measure].sort_values("layer")
            drawn_rows.append(part)
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
            texts = [
                f"layer {row['layer']}: {number(row['median'])} ({number(row['smallest'])} to "
                f"{number(row['largest'])}); {_null_of(row)}n = {row['n']} categories"
                for row in records(part)
            ]
            tips.points(line, texts)
            axis.set_title(names[measure], fontsize=9, loc="left")
        axes[-1].set_xticks(sorted(set(table["layer"])))
        axes[-1].set_xlabel("layer")
        legend_below(figure, axes[0], columns=3)
        return Drawn(svg_text(figure, label, tips), records(pd.concat(drawn_rows)))


def _null_of(row: Mapping[str, Any]) -> str:
    text = interval(row, "null_low", "null_high")
    return "" if text == NOT_DEFINED else f"null {text}; "


def odds_ratios(table: pd.DataFrame, label: str) -> Drawn:
    """Draw OR0 and OR1 per layer with their intervals, and what measurement error can leave.

    ``table``: category, layer, n_pairs, n_edges, or0, or1, their ``_low`` and ``_high``, bound.
    """
    tips, drawn_rows = Tips(), []
    with mpl.rc_context(STYLE):
        names = list(dict.fromkeys(table["category"]))
        figure, axes = panel_grid(names, 2.7, 2.3)
        for axis, name in zip(axes, names, strict=False):
            part = table[table["category"] == name].sort_values("layer")
            drawn_rows.append(part.dropna(subset=["or0", "or1"], how="all"))
            x = part["layer"].to_numpy(float)
            wide = np.repeat(x, 2) + np.tile([-0.4, 0.4], len(x))
            axis.fill_between(
                wide, 1, np.repeat(part["bound"].to_numpy(float), 2), color=GREY, alpha=0.45,
                linewidth=0, label="what error in co-expression can leave",
            )  # fmt: skip
            for value, shift, colour, text in (
                ("or0", -0.12, ORANGE, "like degree and expression (OR0)"),
                ("or1", 0.12, BLUE, "like co-expression too (OR1)"),
            ):
                known = part.dropna(subset=[value])
                low, high = f"{value}_low", f"{value}_high"
                drawn = axis.errorbar(
                    known["layer"].to_numpy(float) + shift, known[value].to_numpy(float),
                    yerr=ends(known, value, low, high), fmt="o", color=colour, capsize=2,
                    markersize=4, label=text,
                )  # fmt: skip
                texts = [
                    f"layer {row['layer']}, {text}: {number(row[value])} "
                    f"({interval(row, low, high)}); error can leave {number(row['bound'])}; "
                    f"{row['n_edges']:,} edges of {row['n_pairs']:,}"
                    for row in records(known)
                ]
                tips.points(drawn.lines[0], texts)
            axis.axhline(1, color="#1c2530", linewidth=0.6)
            axis.set_yscale("log", base=2)
            axis.yaxis.set_major_formatter(mpl.ticker.ScalarFormatter())
            axis.set_xticks(x, [str(int(v)) for v in x])
            axis.set_xlabel("layer")
            axis.set_ylabel("odds ratio of edges")
        legend_below(figure, axes[0], columns=3)
        return Drawn(svg_text(figure, label, tips), records(pd.concat(drawn_rows)))


def mass_bars(table: pd.DataFrame, label: str) -> Drawn:
    """Draw where attention goes per layer: kept genes, other genes, special tokens.

    ``table``: category, layer, to, share, low, high, n_genes, n_cells.
    """
    tips, drawn_rows = Tips(), []
    with mpl.rc_context(STYLE):
        names = list(dict.fromkeys(table["category"]))
        kinds = list(dict.fromkeys(table["to"]))
        figure, axes = panel_grid(names, 2.7, 2.2)
        colours = mpl.colormaps["tab10"].colors  # type: ignore[attr-defined]
        shades = dict(zip(kinds, colours, strict=False))
        for axis, name in zip(axes, names, strict=False):
            part = table[table["category"] == name].dropna(subset=["share"])
            drawn_rows.append(part)
            base = part.groupby("layer")["share"].cumsum() - part["share"]
            bars = axis.bar(
                part["layer"].to_numpy(float), part["share"].to_numpy(float),
                bottom=base.to_numpy(float), color=[shades[kind] for kind in part["to"]],
                width=0.75,
            )  # fmt: skip
            for bar, row in zip(bars, records(part), strict=True):
                tips.shape(
                    bar,
                    f"{name}, layer {row['layer']}, {row['to']}: {percent(row['share'])} "
                    f"({interval(row, 'low', 'high', percent)}); n = {count(row['n_genes'])} "
                    f"query genes, {count(row['n_cells'])} cells",
                )
            axis.set_ylim(0, 1)
            layers = sorted(set(part["layer"]))
            axis.set_xticks(layers, [str(int(v)) for v in layers])
            axis.set_xlabel("layer")
            axis.set_ylabel("share of attention")
        for kind, colour in shades.items():
            axes[0].plot([], [], "s", color=colour, label=kind)
        legend_below(figure, axes[0], columns=4)
        return Drawn(svg_text(figure, label, tips), records(pd.concat(drawn_rows)))
