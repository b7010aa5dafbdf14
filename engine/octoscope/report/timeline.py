"""When the stages of a run ran, and what its actors used."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from octoscope.errors import REPAIR, damaged_run, reading
from octoscope.report.figures import BLUE, STYLE
from octoscope.report.rows import count, figure
from octoscope.report.svg import Drawn, Tips, svg_text
from octoscope.results.run_results import TIMELINE, Results

Row = dict[str, Any]
_OF_STAGES = ("began", "seconds", "pieces", "cells", "busy", "waited")
_OF_ACTORS = ("gpus", "pieces", "cells", "held", "busy", "waited")


def timeline(results: Results) -> Row | None:
    """Return what the template shows of the run's time; None: the run does not say.

    Raises
    ------
    DamagedRunError
        If ``timeline.json`` is damaged.
    """
    with reading(results.at(TIMELINE), REPAIR, damaged_run):
        body = results.timeline
        if body is None:
            return None
        stages = _rows(body["stages"], ("stage",), _OF_STAGES)
        return {
            "figure": stage_bars(stages, "Stages of the run") if stages else "",
            "stages": stages,
            "actors": _rows(body["actors"], ("name", "device"), _OF_ACTORS),
            "began": datetime.fromtimestamp(body["started"], UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "took": duration(body["seconds"]),
            "hours": f"{figure(body['actor_hours'])} hours of actors, of which on GPUs "
            f"{figure(body['gpu_hours'])}",
        }


def _rows(rows: list[Row], texts: tuple[str, ...], numbers: tuple[str, ...]) -> list[Row]:
    """Return what the template shows of each row; TypeError, KeyError: a damaged file."""
    shown = [{name: row[name] for name in (*texts, *numbers)} for row in rows]
    for row in shown:
        if not all(isinstance(row[name], int | float) for name in numbers):
            raise TypeError(f"not a number in {row}")
    return shown


def duration(seconds: float) -> str:
    """Return a time as people say it: ``42 s``, ``3 min 9 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{figure(seconds)} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def stage_bars(stages: list[Row], label: str) -> Drawn:
    """Draw one bar per stage from its begin to its end, on an axis in seconds or hours."""
    unit, per = ("hours", 3600.0) if stages[-1]["began"] > 7200 else ("seconds", 1.0)
    with mpl.rc_context(STYLE):
        drawn = Figure(figsize=(6.6, 0.7 + 0.24 * len(stages)), layout="constrained")
        axis = drawn.subplots()
        tips = Tips()
        end = max(s["began"] + s["seconds"] for s in stages) / per
        for i, s in enumerate(stages):
            width = max(s["seconds"] / per, 0.003 * end)  # the shortest is still seen
            (bar,) = axis.barh(i, width, left=s["began"] / per, height=0.6, color=BLUE)
            tips.shape(
                bar,
                f"{s['stage']}: began after {duration(s['began'])}, took {duration(s['seconds'])}; "
                f"n = {count(s['pieces'])} pieces, {count(s['cells'])} cells",
            )
            axis.text(s["began"] / per + width, i, f" {duration(s['seconds'])}", va="center",
                      fontsize=8)  # fmt: skip
        axis.set_yticks(range(len(stages)), [s["stage"] for s in stages])
        axis.invert_yaxis()
        axis.set_xlim(0, 1.12 * end)
        axis.set_xlabel(f"{unit} since the start")
        return Drawn(svg_text(drawn, label, tips), stages)
