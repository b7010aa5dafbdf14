"""A page that shows models beside rules without a model, from evaluations of link prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from octoscope import __version__
from octoscope.report.embedded import table_library
from octoscope.report.figures import BLUE, STYLE, ends, panel_grid
from octoscope.report.page_parts import page_parts, templates
from octoscope.report.rows import count, figure, interval, percent, records
from octoscope.report.svg import Drawn, Tips, svg_text

Row = dict[str, Any]
_FLOOR = "#9aa4ae"
CANDIDATES = "candidates"


class Evaluated(Protocol):
    """What the page shows: see ``octoscope.link_prediction.evaluate_links.Evaluation``."""

    @property
    def metrics(self) -> pd.DataFrame: ...  # noqa: D102
    @property
    def signs(self) -> pd.DataFrame: ...  # noqa: D102
    @property
    def about(self) -> dict[str, Any]: ...  # noqa: D102
    @property
    def calibration(self) -> pd.DataFrame: ...  # noqa: D102
    @property
    def reliability(self) -> pd.DataFrame: ...  # noqa: D102


def links_page(evaluations: Sequence[tuple[str, Evaluated]]) -> bytes:
    """Return one self-contained HTML page as UTF-8.

    Parameters
    ----------
    evaluations
        Name and content of each, shown one after the other.
    """
    environment = templates()
    environment.globals |= page_parts()
    return (
        environment.get_template("links.html.j2")
        .render(
            version=__version__,
            shown=[_shown(name, evaluated) for name, evaluated in evaluations],
            library=table_library(),
        )
        .encode()
    )


def _shown(name: str, evaluated: Evaluated) -> Row:
    metrics, about = evaluated.metrics, evaluated.about
    rows = metrics[metrics["stratum"] == "all"]
    kinds = [k for k in dict.fromkeys(rows["negatives"]) if k != CANDIDATES]
    leak = about["leak"]
    return {
        "name": name,
        "network": about["network"],
        "split": about["split"]["by"],
        "headline": headline(rows, kinds) + sign_headline(evaluated.signs),
        "cautions": _cautions(about, kinds),
        "figure": area_dots(rows[rows["metric"] == "auc"], kinds, f"AUC {name}"),
        "rows": records(rows),
        "strata": records(metrics[metrics["stratum"] != "all"]),
        "signs": records(evaluated.signs),
        "calibration": records(evaluated.calibration),
        "diagram": reliability_lines(evaluated.reliability, f"Calibration {name}")
        if len(evaluated.reliability)
        else None,
        "test_edges": about["test_edges"],
        "digest": about["split"]["digest"],
        "leak": leak,
        "settings": about["settings"],
    }


def headline(rows: pd.DataFrame, kinds: list[str]) -> list[str]:
    """Say of each model whether it beats the best floor; without a model, what the floors reach.

    ``rows``: of all pairs; the first of ``kinds`` is the kind of negatives that it speaks of.
    """
    areas = rows[(rows["metric"] == "auc") & (rows["negatives"] == kinds[0])]
    against = f"{kinds[0]} negatives"
    floors = areas[areas["kind"] == "floor"].sort_values("value", ascending=False)
    lines = []
    for row in records(areas[areas["kind"] == "model"]):
        start = (
            f"{row['scorer']} reaches an AUC of {figure(row['value'])} (95 % interval "
            f"{interval(row, 'low', 'high')}) on {row['n_positives']:,} edges and "
            f"{row['n_negatives']:,} {against}"
        )
        lines.append(_against_rules(start, row))
    if not lines and len(floors):
        best = records(floors.head(1))[0]
        lines.append(
            f"No model was evaluated. The best rule without one is {best['scorer']}: AUC "
            f"{figure(best['value'])} (95 % interval {interval(best, 'low', 'high')}) on "
            f"{best['n_positives']:,} edges and {best['n_negatives']:,} {against}."
        )
    return lines


def sign_headline(signs: pd.DataFrame) -> list[str]:
    """Say of each model whether it tells activation from inhibition better than the best floor.

    ``signs``: of :func:`octoscope.link_prediction.sign_floors.sign_table`.
    """
    rows = signs[(signs["kind"] == "model") & (signs["metric"] == "auc")]
    return [
        _against_rules(
            f"On signs {row['scorer']} reaches an AUC of {figure(row['value'])} (95 % interval "
            f"{interval(row, 'low', 'high')}) on {row['n_pairs']:,} pairs of "
            f"{row['n_regulators']:,} regulators",
            row,
        )
        for row in records(rows)
    ]


def _against_rules(start: str, row: Row) -> str:
    """Return a sentence: what a model reaches, and whether that is more than the best floor."""
    if row["best_floor"] is None or row["gain"] is None or np.isnan(row["gain"]):
        return f"{start}. It was compared with no rule."
    verdict = "it cannot be told from the best rule"
    if row["gain_low"] > 0:
        verdict = "it beats every rule without a model"
    elif row["gain_high"] < 0:
        verdict = "it does not reach the best rule without a model"
    return (
        f"{start}: {verdict}, {row['best_floor']} (difference {figure(row['gain'])}, "
        f"{interval(row, 'gain_low', 'gain_high')})."
    )


def _cautions(about: Row, kinds: list[str]) -> list[str]:
    """Return what a reader has to know before comparing numbers."""
    leak = about["leak"]
    lines = [
        f"{percent(leak['either'])} of the test edges have a copy or mirror in training; "
        f"{percent(leak['new_end'])} have an end that no training edge has."
    ]
    if "uniform" in kinds:
        lines.append(
            "Degree alone separates edges from uniform negatives: no headline rests on it."
        )
    for account in about["negatives"]:
        if account["part"] == "test":
            lines.append(
                f"{account['how']} negatives: {account['negatives']:,} of test, of which "
                f"{percent(account['false'])} are edges; {percent(account['real'])} of the draws "
                "were edges and were drawn again."
            )
    return lines


def area_dots(areas: pd.DataFrame, kinds: list[str], label: str) -> Drawn:
    """Draw the AUC of each scorer with its 95 % interval, one panel per kind of negatives."""
    areas = areas[areas["negatives"].isin(kinds)].dropna(subset=["value"])
    scorers = list(dict.fromkeys(areas["scorer"]))
    tips = Tips()
    with mpl.rc_context(STYLE):
        drawn = Figure(figsize=(2.4 + 2.4 * len(kinds), 0.9 + 0.24 * len(scorers)),
                       layout="constrained")  # fmt: skip
        axes = np.atleast_1d(drawn.subplots(1, len(kinds), sharey=True, squeeze=False).ravel())
        for axis, kind in zip(axes, kinds, strict=True):
            part = areas[areas["negatives"] == kind]
            for what, colour in (("floor", _FLOOR), ("model", BLUE)):
                of = part[part["kind"] == what]
                dots = axis.errorbar(
                    of["value"].to_numpy(float), [scorers.index(s) for s in of["scorer"]],
                    xerr=ends(of, "value", "low", "high"), fmt="o", color=colour, markersize=4,
                    capsize=2, label=what,
                )  # fmt: skip
                texts = [
                    f"{row['scorer']}, {kind} negatives: AUC {figure(row['value'])} "
                    f"({interval(row, 'low', 'high')}); n = {count(row['n_positives'])} edges, "
                    f"{count(row['n_negatives'])} negatives"
                    for row in records(of)
                ]
                tips.points(dots.lines[0], texts)
            axis.axvline(0.5, color="#1c2530", linewidth=0.6)
            axis.set_title(f"{kind} negatives", fontsize=9)
            axis.set_xlabel("AUC")
        axes[0].set_yticks(range(len(scorers)), scorers)
        axes[0].invert_yaxis()
        return Drawn(svg_text(drawn, label, tips), records(areas))


def reliability_lines(bins: pd.DataFrame, label: str) -> Drawn:
    """Draw observed shares of edges against calibrated probabilities, one panel per model."""
    scorers = list(dict.fromkeys(bins["scorer"]))
    tips = Tips()
    with mpl.rc_context(STYLE):
        drawn, axes = panel_grid(scorers, 2.6, 2.6)
        for axis, scorer in zip(axes, scorers, strict=False):
            mine = bins[bins["scorer"] == scorer]
            axis.plot([0, 1], [0, 1], color="#1c2530", linewidth=0.6)
            for relation, part in mine.groupby("relation", sort=False):
                every = relation == "all"
                dots = axis.errorbar(
                    part["predicted"], part["observed"],
                    yerr=ends(part, "observed", "low", "high") if every else None, marker="o",
                    markersize=3, capsize=2 if every else 0, linewidth=1.2 if every else 0.7,
                    color=BLUE if every else _FLOOR, zorder=3 if every else 2,
                )  # fmt: skip
                texts = [
                    f"{scorer}, {relation}: {figure(row['observed'])} of the pairs at "
                    f"{figure(row['predicted'])} ({interval(row, 'low', 'high')}); n = "
                    f"{count(row['n'])} pairs"
                    for row in records(part)
                ]
                tips.points(dots.lines[0], texts)
            axis.set_xlabel("calibrated probability")
        axes[0].set_ylabel("share that are edges")
        return Drawn(svg_text(drawn, label, tips), records(bins))
