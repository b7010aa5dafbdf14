"""Tables of ``octoscope gnn evaluate``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from octoscope.api.links import Evaluation


def link_table(evaluation: Evaluation) -> Table:
    """Return a row per scorer: AUC by kind of negatives, average precision, ranks and gain."""
    about, metrics = evaluation.about, evaluation.metrics
    rows = metrics[metrics["stratum"] == "all"]
    kinds = [k for k in rows["negatives"].unique() if k != "candidates"]
    leak = about["leak"]
    title = (
        f"{about['network']}, split by {about['split']['by']}: {about['test_edges']:,} test edges; "
        f"copy or mirror in training: {leak['either']:.1%}; new end: {leak['new_end']:.1%}"
    )
    table = Table("scorer", *(f"AUC, {k}" for k in kinds), "MRR", "gain over best floor",
                  title=escape(title), caption=escape(_caption(evaluation)))  # fmt: skip
    table.columns[0].no_wrap = True
    for scorer in rows["scorer"].unique():
        mine = rows[rows["scorer"] == scorer]
        first = _row(mine, kinds[0], "auc")
        gain = ""
        if first["kind"] == "model" and first["best_floor"]:
            gain = f"{_within(first, 'gain')} ({first['best_floor']})"
        cells = [*(_cell(mine, k, "auc") for k in kinds), _cell(mine, "candidates", "mrr")]
        table.add_row(escape(scorer), *cells, escape(gain))
    return table


def sign_table(evaluation: Evaluation) -> Table:
    """Return a row per scorer of the signs, a column per split."""
    rows = evaluation.signs
    splits = list(rows["split"].unique())
    first = rows[(rows["metric"] == "auc") & (rows["split"] == splits[0])].iloc[0]
    caption = (
        f"{first['n_pairs']:,} test pairs of {first['n_regulators']:,} regulators, "
        f"{first['n_activating'] / first['n_pairs']:.1%} activation; intervals by regulator"
    )
    table = Table("sign: AUC", *splits, "within a regulator",
                  title="Activation against inhibition", caption=caption)  # fmt: skip
    table.columns[0].no_wrap = True
    for scorer in rows["scorer"].unique():
        mine = rows[rows["scorer"] == scorer]
        areas = mine[mine["metric"] == "auc"].set_index("split")
        within = mine[(mine["metric"] != "auc") & (mine["split"] == splits[0])]
        cells = [_within(areas.loc[s]) if s in areas.index else "" for s in splits]
        cells.append(_within(within.iloc[0]) if len(within) else "")
        table.add_row(escape(scorer), *cells)
    return table


def perturbation_table(rows: pd.DataFrame) -> Table:
    """Return a row per share, group of pairs and scorer of perturbations."""
    table = Table("effects", "pairs", "scorer", "AUC within a gene", "gain over best floor", "p",
                  "n pairs", "n genes", title="Predicted signs and perturbations",
                  caption="intervals by bootstrap over perturbed genes")  # fmt: skip
    for row in rows.to_dict("records"):
        gain = p = ""
        if row["kind"] == "model":
            gain = (f"{row['gain']:.3f} ({row['gain_low']:.3f} to {row['gain_high']:.3f}, "
                    f"{row['best_floor']})")  # fmt: skip
            p = f"{row['p']:.3g}"
        table.add_row(
            f"strongest {row['share']:.0%}", row["pairs"], escape(row["scorer"]),
            f"{row['auc']:.3f} ({row['low']:.3f} to {row['high']:.3f})", gain, p,
            f"{row['n_pairs']:,}", f"{row['n_regulators']:,}",
        )  # fmt: skip
    return table


def summary(evaluation: Evaluation) -> str:
    """Return account and rows of all pairs as one JSON value."""
    rows = evaluation.metrics[evaluation.metrics["stratum"] == "all"]
    return json.dumps(
        {**evaluation.about, "metrics": _records(rows), "signs": _records(evaluation.signs)},
        ensure_ascii=False,
    )


def _records(frame: pd.DataFrame) -> Any:
    return json.loads(frame.to_json(orient="records"))


def _caption(evaluation: Evaluation) -> str:
    sentences = []
    for account in evaluation.about["negatives"]:
        if account["part"] == "test":
            sentences.append(
                f"{account['how']}: {account['real']:.1%} of the draws were edges, "
                f"{account['false']:.1%} of the {account['negatives']:,} negatives are"
            )
    if any(a["how"] == "uniform" for a in evaluation.about["negatives"]):
        sentences.append("degree alone separates uniform negatives from edges")
    return "; ".join(sentences)


def _row(rows: pd.DataFrame, negatives: str, metric: str) -> Any:
    matches = rows[(rows["negatives"] == negatives) & (rows["metric"] == metric)]
    return matches.iloc[0] if len(matches) else None


def _cell(rows: pd.DataFrame, negatives: str, metric: str) -> str:
    row = _row(rows, negatives, metric)
    return "" if row is None else _within(row)


def _within(row: Any, what: str = "value") -> str:
    """Return a value and half of its 95 % interval."""
    ends = ("low", "high") if what == "value" else (f"{what}_low", f"{what}_high")
    return f"{row[what]:.3f} ± {(row[ends[1]] - row[ends[0]]) / 2:.3f}"
