"""Figures of the comparisons, as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from octoscope.report.figures import GREY, STYLE, ends, legend_below, panel_grid
from octoscope.report.rows import UNKNOWN, edge_text, interval, records
from octoscope.report.rows import figure as number
from octoscope.report.svg import Drawn, Tips, named, svg_text

_COLOURS = ("#1f5fa8", "#c8641b", "#3a8a5b", "#8a4fa3", "#9aa4ae", "#b8862b", "#c04a6b", "#2b8a9a")


ModelLayer = tuple[str, int]  # model and layer


def agreement_square(table: pd.DataFrame, label: str) -> Drawn:
    """Draw median quantiles of every query matrix (rows) in every evaluated one (columns).

    ``table``: as :func:`octoscope.results.squares.agreement_squares` returns it.
    """
    table = table.dropna(subset=["median_quantile"])
    rows = records(table)
    ends = (("query_model", "query_layer"), ("eval_model", "eval_layer"))
    cells = [
        (_model_layer(row, *ends[0]), _model_layer(row, *ends[1]), row["median_quantile"],
         f"{named(row, *ends[0])} in {named(row, *ends[1])}: "
         + _square_text(row, "median_quantile", "median_quantile_min", "median_quantile_max"))
        for row in rows
    ]  # fmt: skip
    svg = _square(
        cells, label, rows="strongest pairs of (model, layer)",
        columns="evaluated in (model, layer)", bar="median quantile (0.5: chance)",
        cmap="viridis_r", vmin=0, vmax=0.5,
    )  # fmt: skip
    return Drawn(svg, rows)


def geometry_square(table: pd.DataFrame, label: str) -> Drawn:
    """Draw the correlation of residual geometry between layers of all models.

    ``table``: as :func:`octoscope.results.squares.geometry_squares` returns it; each pair of
    layers once.
    """
    rows = records(table.dropna(subset=["spearman"]))
    cells = []
    for row in rows:
        a, b = (_model_layer(row, f"model_{side}", f"layer_{side}") for side in "ab")
        text = (
            f"{named(row, 'model_a', 'layer_a')} and {named(row, 'model_b', 'layer_b')}: "
            + _square_text(row, "spearman", "spearman_min", "spearman_max")
        )
        cells += [(a, b, row["spearman"], text), (b, a, row["spearman"], text)]
    svg = _square(
        cells, label, rows="(model, layer)", columns="(model, layer)",
        bar="Spearman of cosine similarities", cmap="RdBu_r", vmin=-1, vmax=1,
    )  # fmt: skip
    return Drawn(svg, rows)


def _model_layer(row: Mapping[str, Any], model: str, layer: str) -> ModelLayer:
    return str(row[model]), int(row[layer])


def _square_text(row: Mapping[str, Any], value: str, smallest: str, largest: str) -> str:
    """Return value, spread over categories, interval, null, n and tests of a square."""
    spread = (
        f" over {row['n_categories']} categories ({number(row[smallest])} to "
        f"{number(row[largest])})"
        if row["n_categories"] > 1
        else ""
    )
    return (
        f"{number(row[value])}{spread}; 95 % interval {interval(row, 'low', 'high')}; null "
        f"{number(row['null_low'])} to {number(row['null_high'])}; n = {number(row['n_pairs'])} "
        f"pairs; q below 0.05 in {row['n_significant']} of {row['n_categories']}"
    )


def _square(
    cells: Sequence[tuple[ModelLayer, ModelLayer, float, str]],
    label: str,
    *,
    rows: str,
    columns: str,
    bar: str,
    cmap: str,
    vmin: float,
    vmax: float,
) -> str:
    """Draw a value of (model, layer) against (model, layer), each with what it says."""
    tips = Tips()
    with mpl.rc_context(STYLE):
        first = list(dict.fromkeys([cell[0] for cell in cells] + [cell[1] for cell in cells]))
        models = list(dict.fromkeys(model for model, _ in first))
        members = sorted(first, key=lambda member: models.index(member[0]))
        at = {member: i for i, member in enumerate(members)}
        square = np.full((len(members), len(members)), np.nan)
        size = min(11.0, 2.4 + 0.28 * len(members))
        figure = Figure(figsize=(size + 1.4, size), layout="constrained")
        axis = figure.subplots()
        for a, b, value, text in cells:
            square[at[a], at[b]] = value
            tips.cell(axis, at[a], at[b], text)
        image = axis.imshow(square, cmap=cmap, vmin=vmin, vmax=vmax)
        names = [f"{model}, {layer}" for model, layer in members]
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.set_xlabel(columns)
        axis.set_ylabel(rows)
        for i in range(1, len(members)):
            if members[i][0] != members[i - 1][0]:
                axis.axhline(i - 0.5, color="white", linewidth=1.5)
                axis.axvline(i - 0.5, color="white", linewidth=1.5)
        figure.colorbar(image, ax=axis, shrink=0.7, label=bar)
        return svg_text(figure, label, tips)


def by_k(table: pd.DataFrame, label: str) -> Drawn:
    """Draw agreement against the number of strongest pairs, a line and its null per query model.

    ``table``: query_model, k, middle, low, high (over the pairs of layers), null.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.2), layout="constrained")
        axis = figure.subplots()
        tips = Tips()
        table = table.dropna(subset=["middle"])
        for (model, part), colour in zip(
            table.groupby("query_model", sort=False), cycle(_COLOURS), strict=False
        ):
            x = part["k"].to_numpy(float)
            (line,) = axis.plot(x, part["middle"], "o-", color=colour, label=str(model),
                                markersize=4)  # fmt: skip
            texts = [
                f"{model}, K = {row['k']:,}: {number(row['middle'])} (quartiles "
                f"{number(row['low'])} to {number(row['high'])}); null {number(row['null'])}; n = "
                f"{row['n']:,} comparisons"
                for row in records(part)
            ]
            tips.points(line, texts)
            axis.fill_between(x, part["low"], part["high"], color=colour, alpha=0.15, linewidth=0)
            axis.plot(x, part["null"], "--", color=colour, linewidth=0.8)
        axis.plot([], [], "--", color="#9aa4ae", linewidth=0.8, label="null (median)")
        ks = sorted(set(table["k"]))
        axis.set_xscale("log")
        axis.set_xticks(ks, [f"{k:,}" for k in ks])
        axis.minorticks_off()
        axis.set_ylim(0, 0.75)
        axis.set_xlabel("strongest pairs of each matrix (K)")
        axis.set_ylabel("median quantile in other models")
        axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        return Drawn(svg_text(figure, label, tips), records(table))


def coherence_enrichment(table: pd.DataFrame, model: str, label: str) -> Drawn:
    """Draw the enrichment of every layer against its coherence, one panel per category.

    ``table``: rows of ``tables/coherence_enrichment`` of one gene set, view and k. The layers of
    ``model`` are blue, with their numbers and 95 % intervals; those of other models are grey.
    """
    tips = Tips()
    with mpl.rc_context(STYLE):
        names = list(dict.fromkeys(table["category"]))
        figure, axes = panel_grid(names, 2.7, 2.5)
        for axis, name in zip(axes, names, strict=False):
            known = table[table["category"] == name].dropna(subset=["coherence", "fold"])
            axis.axhline(1, color="#1c2530", linewidth=0.6)
            for mine in (False, True):
                part = known[(known["model"] == model) == mine]
                x, y = part["coherence"].to_numpy(float), part["fold"].to_numpy(float)
                bars = {
                    "xerr": ends(part, "coherence", "coherence_low", "coherence_high"),
                    "yerr": ends(part, "fold", "fold_low", "fold_high"),
                }
                drawn = axis.errorbar(
                    x, y, fmt="o", markersize=4, elinewidth=0.8, zorder=2 + mine,
                    color=_COLOURS[0] if mine else GREY,
                    label=f"layers of {model}, 95 % intervals" if mine else "of other models",
                    **(bars if mine else {}),
                )  # fmt: skip
                texts = [
                    f"{row['model']}, layer {row['layer']}: coherence {number(row['coherence'])} "
                    f"({interval(row, 'coherence_low', 'coherence_high')}), edge rate "
                    f"{number(row['fold'])} times its null "
                    f"({interval(row, 'fold_low', 'fold_high')}); null rate "
                    f"{number(row['null_mean'])}; {row['n_edges']:,} edges of {row['n_pairs']:,}"
                    for row in records(part)
                ]
                tips.points(drawn.lines[0], texts)
                for row in part.to_dict("records") if mine else ():
                    axis.annotate(
                        str(row["layer"]), (row["coherence"], row["fold"]), xytext=(4, 3),
                        textcoords="offset points", fontsize=8,
                    )  # fmt: skip
            axis.set_xlabel("coherence")
            axis.set_ylabel("edge rate over its null")
        legend_below(figure, axes[0], columns=2)
        drawn_rows = records(table.dropna(subset=["coherence", "fold"]))
        return Drawn(svg_text(figure, label, tips), drawn_rows)


def coherence_scores(table: pd.DataFrame, label: str) -> Drawn:
    """Draw enrichment and median scores of every layer against its coherence.

    ``table``: rows of ``tables/coherence_scores`` of one gene set, view and k. The first panel has
    the enrichment, each further one a quantity of a checkpoint. A point is a layer of a model in a
    category, with its 95 % intervals; models have colours.
    """
    scores = list(dict.fromkeys(zip(table["checkpoint"], table["quantity"], strict=True)))
    panels = {"edge rate over its null": (("fold", "fold_low", "fold_high"), scores[0])}
    for checkpoint, quantity in scores:
        name = f"{checkpoint}: median {quantity}"
        panels[name] = ("median", "median_low", "median_high"), (checkpoint, quantity)
    tips = Tips()
    with mpl.rc_context(STYLE):
        figure, axes = panel_grid(list(panels), 3.2, 3.0)
        for axis, ((y, low, high), (checkpoint, quantity)) in zip(
            axes, panels.values(), strict=False
        ):
            mine = (table["checkpoint"] == checkpoint) & (table["quantity"] == quantity)
            known = table[mine].dropna(subset=["coherence", y])
            for (model, part), colour in zip(
                known.groupby("model", sort=False), cycle(_COLOURS), strict=False
            ):
                drawn = axis.errorbar(
                    part["coherence"].to_numpy(float), part[y].to_numpy(float),
                    xerr=ends(part, "coherence", "coherence_low", "coherence_high"),
                    yerr=ends(part, y, low, high), fmt="o", markersize=3.5, elinewidth=0.5,
                    color=colour, label=str(model),
                )  # fmt: skip
                texts = [_point(row, y, low, high) for row in records(part)]
                tips.points(drawn.lines[0], texts)
            axis.set_xlabel("coherence")
        axes[0].axhline(1, color="#1c2530", linewidth=0.6)
        legend_below(figure, axes[0], columns=4)
        seen = table[table["coherence"].notna() & table[["fold", "median"]].notna().any(axis=1)]
        return Drawn(svg_text(figure, label, tips), records(seen))


def _point(row: Mapping[str, Any], y: str, low: str, high: str) -> str:
    """Return what a point says: layer, category, coherence, and the enrichment or the score."""
    what = (
        f"edge rate {number(row['fold'])} times its null ({interval(row, low, high)})"
        if y == "fold"
        else f"{row['checkpoint']}, median {row['quantity']} {number(row['median'])} "
        f"({interval(row, low, high)}), null {number(row['null_mean'])}"
    )
    return (
        f"{row['model']}, layer {row['layer']}, {row['category']}: coherence "
        f"{number(row['coherence'])} ({interval(row, 'coherence_low', 'coherence_high')}), {what}; "
        f"n = {row['n_pairs']:,} pairs"
    )


def network(table: pd.DataFrame, label: str) -> Drawn:
    """Draw the strongest pairs of a consensus network as arrows between genes.

    ``table``: query, key, query_symbol, key_symbol, score, n_groups, those of halves and, where a
    network was given, in_network.
    """
    import networkx as nx

    graph = nx.DiGraph()
    names: dict[str, str] = {}
    rows = records(table)
    for row in rows:
        for end in ("query", "key"):
            names[row[end]] = row[f"{end}_symbol"] or row[end]
        graph.add_edge(row["query"], row["key"])
    # on a circle, neighbours by component and hub: nothing lies on anything else
    order: list[str] = []
    for part in sorted(nx.weakly_connected_components(graph), key=lambda c: (-len(c), min(c))):
        hub = max(sorted(part), key=graph.degree)
        order += nx.bfs_tree(graph.to_undirected(), hub, sort_neighbors=sorted).nodes
    angles = 2 * np.pi * np.arange(len(order)) / max(len(order), 1)
    positions = {gene: (np.cos(a), np.sin(a)) for gene, a in zip(order, angles, strict=True)}
    with mpl.rc_context(STYLE):
        tips = Tips()
        figure = Figure(figsize=(6.6, 6.0), layout="constrained")
        axis = figure.subplots()
        for row in rows:
            known = edge_text(row.get("in_network"))
            arrow = axis.annotate(
                "", positions[row["key"]], positions[row["query"]], zorder=1,
                arrowprops={"arrowstyle": "-|>", "color": _COLOURS[0] if known == "yes" else GREY,
                            "lw": 0.6 + 0.7 * row["n_groups"], "shrinkA": 3, "shrinkB": 3,
                            "connectionstyle": "arc3,rad=0.08"},
            )  # fmt: skip
            assert arrow.arrow_patch is not None  # arrowprops were given
            tips.shape(arrow.arrow_patch, _arrow(row, names, known))
        for gene, (x, y) in positions.items():
            x, y = 1.08 * x, 1.08 * y
            # names are text, whatever they hold
            axis.text(
                x, y, names[gene], ha="center", va="center", fontsize=8, parse_math=False,
                bbox={"boxstyle": "round,pad=0.2", "fc": "white", "ec": "#c8ced4", "lw": 0.6},
            )  # fmt: skip
        axis.set_xlim(*_around([x for x, _ in positions.values()]))
        axis.set_ylim(*_around([y for _, y in positions.values()]))
        axis.axis("off")
        return Drawn(svg_text(figure, label, tips), rows)


def _arrow(row: Mapping[str, Any], names: Mapping[str, str], known: str) -> str:
    """Return what a pair of a consensus network says."""
    halves = [f"{number(row[c])} and {number(row[d])}" for c, d in
              (("score_half0", "score_half1"), ("n_groups_half0", "n_groups_half1"))]  # fmt: skip
    return (
        f"{names[row['query']]} to {names[row['key']]}: score {number(row['score'])} (halves "
        f"{halves[0]}); n = {row['n_groups']} model groups (halves {halves[1]}); edge in network: "
        f"{UNKNOWN if known == '–' else known}"
    )


def _around(values: list[float]) -> tuple[float, float]:
    room = 0.12 * (max(values) - min(values)) + 0.05
    return min(values) - room, max(values) + room
