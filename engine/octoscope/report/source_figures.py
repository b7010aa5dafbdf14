"""Figures that compare the sources of a network, as inline SVG."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from octoscope.report.figures import BLUE, GREY, ORANGE, STYLE
from octoscope.report.svg import Tips, svg_text


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
        tips = Tips()
        image = axis.imshow(square, cmap="Blues", vmin=0)
        axis.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axis.set_yticks(range(len(names)), names)
        for i in range(len(names)):
            for j in range(len(names)):
                if i != j and not np.isnan(square[i, j]):
                    tips.cell(axis, i, j, f"{names[i]} and {names[j]}: {square[i, j]:.2g}")
                    dark = square[i, j] > 0.6 * np.nanmax(square)
                    axis.text(j, i, f"{square[i, j]:.2g}", ha="center", va="center", fontsize=8,
                              color="white" if dark else "black")  # fmt: skip
        if len(names) > 1:
            figure.colorbar(image, ax=axis, shrink=0.7, label=label)
        return svg_text(figure, label, tips)


def source_bars(table: pd.DataFrame, columns: dict[str, str], label: str) -> str:
    """Draw horizontal bars per source on a logarithmic scale, one group per column."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 0.9 + 0.45 * len(table)), layout="constrained")
        axis = figure.subplots()
        positions = np.arange(len(table))
        height = 0.8 / len(columns)
        tips = Tips()
        for i, ((column, title), color) in enumerate(
            zip(columns.items(), (BLUE, ORANGE, GREY), strict=False)
        ):
            bars = axis.barh(
                positions + i * height, table[column], height, label=title, color=color
            )
            for bar, source, n in zip(bars, table["source"], table[column], strict=True):
                tips.shape(bar, f"{source}: {n:,} {title}")
        axis.set_yticks(positions + height * (len(columns) - 1) / 2, table["source"])
        axis.invert_yaxis()
        axis.set_xscale("symlog", linthresh=1)
        axis.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
        axis.set_xlabel(label)
        axis.legend(fontsize=8, frameon=False)
        return svg_text(figure, label, tips)
