"""Figures of the comparisons, as inline SVG."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from engine.report.figures import _STYLE, _svg

_COLOURS = ("#1f5fa8", "#c8641b", "#3a8a5b", "#8a4fa3", "#9aa4ae", "#b8862b", "#c04a6b", "#2b8a9a")


def _members(table: pd.DataFrame) -> list[tuple[str, int]]:
    ends = [
        table[[f"{side}_model", f"{side}_layer"]].itertuples(index=False, name=None)
        for side in ("query", "eval")
    ]
    return list(dict.fromkeys((str(m), int(y)) for end in ends for m, y in end))


def agreement_square(table: pd.DataFrame, label: str) -> str:
    """Draw median quantiles of every query matrix (rows) in every evaluated one (columns).

    ``table``: query_model, query_layer, eval_model, eval_layer, median_quantile.
    """
    with mpl.rc_context(_STYLE):
        members = sorted(_members(table), key=lambda m: [x[0] for x in _members(table)].index(m[0]))
        at = {member: i for i, member in enumerate(members)}
        square = np.full((len(members), len(members)), np.nan)
        columns = ["query_model", "query_layer", "eval_model", "eval_layer", "median_quantile"]
        for a, y, b, z, value in table[columns].itertuples(index=False, name=None):
            square[at[str(a), int(y)], at[str(b), int(z)]] = value
        size = min(11.0, 2.4 + 0.28 * len(members))
        figure = Figure(figsize=(size + 1.4, size), layout="constrained")
        axis = figure.subplots()
        image = axis.imshow(square, cmap="viridis_r", vmin=0, vmax=0.5)
        names = [f"{model}, {layer}" for model, layer in members]
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axis.set_yticks(range(len(names)), names, fontsize=7)
        axis.set_xlabel("evaluated in (model, layer)")
        axis.set_ylabel("strongest pairs of (model, layer)")
        for i in range(1, len(members)):
            if members[i][0] != members[i - 1][0]:
                axis.axhline(i - 0.5, color="white", linewidth=1.5)
                axis.axvline(i - 0.5, color="white", linewidth=1.5)
        figure.colorbar(image, ax=axis, shrink=0.7, label="median quantile (0.5: chance)")
        return _svg(figure, label)


def by_k(table: pd.DataFrame, label: str) -> str:
    """Draw agreement against the number of strongest pairs, one line per query model.

    ``table``: query_model, k, middle, low, high (over the pairs of layers), null.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.6, 3.2), layout="constrained")
        axis = figure.subplots()
        for (model, part), colour in zip(
            table.groupby("query_model", sort=False), _COLOURS, strict=False
        ):
            x = part["k"].to_numpy(float)
            axis.plot(x, part["middle"], "o-", color=colour, label=str(model), markersize=4)
            axis.fill_between(x, part["low"], part["high"], color=colour, alpha=0.15, linewidth=0)
        nulls = table.groupby("k")["null"].median()
        axis.plot(nulls.index, nulls, "--", color="#9aa4ae", label="null (median)")
        ks = sorted(set(table["k"]))
        axis.set_xscale("log")
        axis.set_xticks(ks, [f"{k:,}" for k in ks])
        axis.minorticks_off()
        axis.set_ylim(0, 0.75)
        axis.set_xlabel("strongest pairs of each matrix (K)")
        axis.set_ylabel("median quantile in other models")
        axis.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        return _svg(figure, label)
