"""What each figure of the report must draw: its table, its marks, and what each mark says."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from octoscope.report.rows import count, figure, interval, percent
from octoscope.report.timeline import duration
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot

Row = dict[str, Any]
Mark = tuple[Row, str]  # a row and the column that the mark is at


@dataclass(frozen=True)
class Kind:
    """A kind of figure.

    ``table``: of the run; ``picks``: pandas query of its rows, where ``model`` is the figure's;
    ``keys``: columns that name a row; ``values``: columns that are drawn (a row without any is
    not); ``says``: what the tooltip of a mark must have, n, null and interval where the table has
    them; ``order``: rows in the order of their marks; ``at``: the panel of a mark.
    """

    table: str
    picks: str
    keys: Sequence[str]
    values: Sequence[str]
    says: Callable[[Row, str], list[str]]
    shape: str = "height"
    order: Callable[[list[Row], str], list[Mark]] | None = None
    panel: Callable[[Mark], Any] = field(default=lambda mark: mark[0].get("category"))

    def marks(self, rows: list[Row], model: str) -> list[Mark]:
        """Return row and column of every mark, in the order in which they are drawn."""
        if self.order is not None:
            return self.order(rows, model)
        return [(row, self.values[0]) for row in rows]


def _null(row: Row) -> str:
    return f"null {figure(row['null_low'])} to {figure(row['null_high'])}"


def _of(row: Row, value: str, low: str = "low", high: str = "high") -> str:
    return f"{figure(row[value])} ({interval(row, low, high)})"


def _layer(n: str, low: str = "low", high: str = "high", null: str = "null") -> Any:
    def says(row: Row, value: str) -> list[str]:
        ends = f"null {figure(row[f'{null}_low'])} to {figure(row[f'{null}_high'])}"
        return [f"layer {row['layer']}:", _of(row, value, low, high), ends, f"n = {count(row[n])}"]

    return says


def _odds(rows: list[Row], _: str) -> list[Mark]:
    """Return for each category the marks of OR0, then those of OR1."""
    out: list[Mark] = []
    for _category, part in groupby(rows, key=lambda row: row["category"]):
        mine = list(part)
        out += [(row, v) for v in ("or0", "or1") for row in mine if row[v] == row[v]]
    return out


def _enriched(rows: list[Row], model: str) -> list[Mark]:
    """Return for each category the marks of other models, then those of the figure's."""
    names = list(dict.fromkeys(row["category"] for row in rows))
    order = sorted(rows, key=lambda row: (names.index(row["category"]), row["model"] == model))
    return [(row, "fold") for row in order]


def _scored(rows: list[Row], _: str) -> list[Mark]:
    """Return the marks of the enrichment, then those of each score of a checkpoint, by model."""
    scores = list(dict.fromkeys((row["checkpoint"], row["quantity"]) for row in rows))
    models = list(dict.fromkeys(row["model"] for row in rows))
    panels = [("fold", scores[0]), *(("median", score) for score in scores)]
    return [
        (row, value)
        for value, score in panels
        for model in models
        for row in rows
        if (row["checkpoint"], row["quantity"]) == score
        and row["model"] == model
        and row[value] == row[value]
    ]


def _twice(rows: list[Row], _: str) -> list[Mark]:
    return [(row, "spearman") for row in rows for _side in range(2)]


def _middle(value: str, ends: Sequence[tuple[str, str]]) -> Any:
    def says(row: Row, _: str) -> list[str]:
        return [
            *(f"{row[model]}, layer {row[layer]}" for model, layer in ends),
            f"{figure(row[value])}",
            f"95 % interval {interval(row, 'low', 'high')}", _null(row),
            f"n = {figure(row['n_pairs'])} pairs", f"of {row['n_categories']}",
        ]  # fmt: skip

    return says


def _edge(row: Row, _: str) -> list[str]:
    ends = [row[f"{end}_symbol"] or row[end] for end in ("query", "key")]
    return [
        f"{ends[0]} to {ends[1]}: score {figure(row['score'])}",
        f"n = {row['n_groups']} model groups",
        f"halves {figure(row['score_half0'])} and {figure(row['score_half1'])}",
    ]  # fmt: skip


_MINE = "model == @model and gene_set == @gene_set and view == @view"
_ANY = "gene_set == @gene_set and view == @view"
_QUERY, _EVAL = ("query_model", "query_layer"), ("eval_model", "eval_layer")
_A, _B = ("model_a", "layer_a"), ("model_b", "layer_b")
KINDS: dict[str, Kind] = {
    "profile": Kind(
        "", "", ["measure", "layer"], ["median"],
        lambda row, value: [
            f"layer {row['layer']}: {figure(row[value])}", f"n = {row['n']} categories",
            f"({figure(row['smallest'])} to {figure(row['largest'])})",
            *([] if row["measure"] == "special" else [_null(row)]),
        ],
        panel=lambda mark: mark[0]["measure"],
    ),
    "heatmap": Kind(
        "layers", f"{_MINE} and layer_a != layer_b", ["category", "layer_a", "layer_b"],
        ["spearman"],
        lambda row, value: [
            f"{row['category']}, layers {row['layer_a']} and {row['layer_b']}: {_of(row, value)}",
            _null(row), f"n = {count(row['n_pairs'])} pairs",
        ],
        "colour", _twice,
    ),
    "reliability": Kind(
        "stats", _MINE, ["category", "layer"], ["half_centred"],
        _layer("half_pairs", "half_centred_low", "half_centred_high", "half_null"),
    ),
    "overlap": Kind("overlap", _MINE, ["category", "layer"], ["edge_rate"], _layer("n_pairs")),
    "controlled": Kind(
        "overlap_controlled", f"{_MINE} and headline and longest", ["category", "layer"],
        ["or0", "or1"],
        lambda row, value: [
            f"layer {row['layer']}", _of(row, value, f"{value}_low", f"{value}_high"),
            f"error can leave {figure(row['bound'])}",
            f"{row['n_edges']:,} edges of {row['n_pairs']:,}",
        ],
        "log", _odds,
    ),
    "coherence": Kind(
        "coherence", f"{_MINE} and k == k.max() and left_out.isna()", ["category", "layer"],
        ["coherence"], _layer("n_groups"),
    ),
    "coherence-enrichment": Kind(
        "coherence_enrichment", f"{_ANY} and k == k.max() and not coherence.isna()",
        ["category", "model", "layer"], ["fold"],
        lambda row, _: [
            f"{row['model']}, layer {row['layer']}", f"null rate {figure(row['null_mean'])}",
            _of(row, "coherence", "coherence_low", "coherence_high"),
            f"{figure(row['fold'])} times its null ({interval(row, 'fold_low', 'fold_high')})",
            f"{row['n_edges']:,} edges of {row['n_pairs']:,}",
        ],
        order=_enriched,
    ),
    "estimators": Kind(
        "agreement", f"query_{_MINE} and comparison == 'estimators' and k == k.max()",
        ["category", "eval_model", "layer"], ["median_quantile"], _layer("n_pairs"),
        panel=lambda mark: (mark[0]["category"], mark[0]["eval_model"]),
    ),
    "mass": Kind(
        "mass_by_layer", "model == @model", ["category", "layer", "to"], ["share"],
        lambda row, value: [
            f"{row['category']}, layer {row['layer']}, {row['to']}: {percent(row[value])} "
            f"({interval(row, 'low', 'high', percent)})",
            f"n = {count(row['n_genes'])} query genes, {count(row['n_cells'])} cells",
        ],
        "bar", panel=lambda _: None,
    ),
    "agreement": Kind(
        "agreement_categories", f"{_ANY} and comparison == 'models' and k == k.max()",
        [*_QUERY, *_EVAL], ["median_quantile"], _middle("median_quantile", (_QUERY, _EVAL)),
        "colour",
    ),
    "by-k": Kind(
        "by_k", _ANY, ["query_model", "k"], ["middle"],
        lambda row, value: [
            f"{row['query_model']}, K = {row['k']:,}: {figure(row[value])}",
            f"quartiles {figure(row['low'])} to {figure(row['high'])}",
            f"null {figure(row['null'])}", f"n = {row['n']:,} comparisons",
        ],
    ),
    "geometry": Kind(
        "geometry_categories", "model_a == model_a", [*_A, *_B], ["spearman"],
        _middle("spearman", (_A, _B)), "colour", _twice,
    ),
    "coherence-scores": Kind(
        "coherence_scores", f"{_ANY} and k == k.max() and not coherence.isna()",
        ["category", "model", "layer", "checkpoint", "quantity"], ["median", "fold"],
        lambda row, value: [
            f"{row['model']}, layer {row['layer']}, {row['category']}: coherence "
            f"{_of(row, 'coherence', 'coherence_low', 'coherence_high')}",
            figure(row[value]), interval(row, f"{value}_low", f"{value}_high"),
            f"n = {row['n_pairs']:,} pairs",
            f"null {figure(row['null_mean'])}" if value == "median" else "times its null",
        ],
        order=_scored,
        panel=lambda mark: (mark[1], *([mark[0]["checkpoint"], mark[0]["quantity"]]
                                       if mark[1] == "median" else [])),
    ),
    "network": Kind("", "", ["query", "key"], ["n_groups"], _edge, "width"),
    "timeline": Kind(
        "", "", ["stage"], ["seconds"],
        lambda row, _: [
            f"{row['stage']}: began after {duration(row['began'])}, took "
            f"{duration(row['seconds'])}",
            f"n = {count(row['pieces'])} pieces, {count(row['cells'])} cells",
        ],
        "length",
    ),
}  # fmt: skip


def rows_of(run: Path, kind: str, model: str, gene_set: str, view: str) -> pd.DataFrame:
    """Return what a figure must draw, from the files of the run, in the order of its marks.

    ``model``: of the figure; for a consensus network its category.
    """
    if kind == "network":
        names = load_plan(RunRoot(run)).categories
        number = [c.name for c in names].index(model)
        table = pd.read_parquet(run / f"consensus/c{number:04d}.parquet")
        return table.query(_ANY).head(40)
    if kind == "timeline":
        return pd.DataFrame(json.loads((run / "timeline.json").read_text())["stages"])
    if kind == "profile":
        return _profile(run, model, gene_set, view)
    how = KINDS[kind]
    table = pd.read_parquet(run / f"tables/{how.table}.parquet")
    if kind == "estimators":
        table = table.rename(columns={"query_layer": "layer"})
    table = table.query(how.picks).dropna(subset=how.values, how="all")
    if kind in ("agreement", "geometry"):
        of_each = pd.read_parquet(run / f"tables/{kind}.parquet")
        of_each = of_each.query(how.picks) if kind == "agreement" else of_each
        medians = of_each.groupby(how.keys)[["n_pairs", "low", "high", "null_low", "null_high"]]
        return table.merge(medians.median().reset_index(), on=how.keys, how="left")
    order = (
        {name: i for i, name in enumerate(dict.fromkeys(table["category"]))}
        if "category" in table
        else {}
    )
    if kind == "estimators":
        panels = [f"{c}, {e}" for c, e in zip(table["category"], table["eval_model"], strict=True)]
        first = {name: i for i, name in enumerate(dict.fromkeys(panels))}
        return table.assign(at=[first[x] for x in panels]).sort_values(["at", "layer"])
    if kind in ("coherence-enrichment", "coherence-scores", "by-k", "mass", "heatmap"):
        return table
    return table.assign(at=table["category"].map(order)).sort_values(["at", "layer"])


def _profile(run: Path, model: str, gene_set: str, view: str) -> pd.DataFrame:
    """Return the medians over categories of each measure and layer."""
    parts = []
    for measure, name, query, value, low, high in (
        ("reliability", "stats", _MINE, "half_centred", "half_null_low", "half_null_high"),
        ("coherence", "coherence", f"{_MINE} and k == k.max() and left_out.isna()", "coherence",
         "null_low", "null_high"),
        ("overlap", "overlap", _MINE, "fold_over_null", "null_low", "null_high"),
        ("special", "mass_by_layer", "model == @model and to not in ['kept', 'outside']", "share",
         "", ""),
    ):  # fmt: skip
        file = run / f"tables/{name}.parquet"
        table = pd.read_parquet(file) if file.exists() else pd.DataFrame()
        if value not in table:
            continue
        table = table.query(query)
        if measure == "overlap":
            expected = table["null_mean"].where(table["null_mean"] > 0)
            table = table.assign(**{c: table[c] / expected for c in (low, high)})
        if measure == "special":
            table = table.groupby(["category", "layer"])[value].sum().reset_index()
        by = table.groupby("layer")
        part = by[value].agg(n="count", median="median", smallest="min", largest="max")
        for column, end in (("null_low", low), ("null_high", high)):
            part[column] = by[end].median() if end else np.nan
        parts.append(part[part["n"] > 0].reset_index().assign(measure=measure))
    return pd.concat(parts)
