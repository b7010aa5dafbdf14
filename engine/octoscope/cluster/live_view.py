"""Text of run statistics: one live view for all actors, one plain line per stage."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_ACTORS = 20  # rows of the live view; further actors are only counted
_ORDER = ("lost", "running", "idle", "stopped")


def render(snapshot: dict[str, Any], now: float | None = None) -> RenderableType:
    """Return the view of a snapshot (:meth:`octoscope.cluster.run_stats.RunStats.snapshot`).

    ``now``: seconds since the epoch; None: the clock's.
    """
    now = time.time() if now is None else now
    parts: list[RenderableType] = [_stages(snapshot["stages"])]
    actors = [a for a in snapshot["actors"] if a["state"] != "stopped"]
    if actors:
        parts.append(_actors(actors, now))
    parts.append(Text(hours(snapshot)))
    return Group(*parts)


def _stages(stages: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("", "", "done", "running", "cells/s", "waited for data", "left"):
        table.add_column(title, justify="left" if not title else "right", no_wrap=True)
    for name, s in in_order(stages):
        table.add_row(
            escape(name),
            ProgressBar(total=max(1, s["total"]), completed=s["done"] + s["quarantined"], width=24),
            f"{s['done']}/{s['total']}"
            + (f" ({s['quarantined']} quarantined)" if s["quarantined"] else ""),
            escape(s.get("work") or str(s["running"])),
            _number(s["cells_per_second"]),
            _share(s["wait_share"]),
            duration(s["seconds_left"]),
        )
    return table


def _actors(actors: list[dict[str, Any]], now: float) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("actor", "where", "device", "state", "pieces", "cells/s", "waited", "now"):
        right = title in ("pieces", "cells/s", "waited")
        table.add_column(title, justify="right" if right else "left", no_wrap=True)
    shown = sorted(actors, key=lambda a: (_ORDER.index(a["state"]), a["name"]))
    for a in shown[:_ACTORS]:
        since = duration(now - a["since"])
        device = a["device"] + (f" x {a['gpus']:g}" if a["gpus"] not in (0, 1) else "")
        table.add_row(
            escape(a["name"]),
            escape(a["where"]),
            escape(device),
            a["state"],
            str(a["pieces"]),
            _number(a["cells_per_second"]),
            _share(a["wait_share"]),
            f"{escape(a['work'])} {since}" if a["work"] else since,
        )
    if len(shown) > _ACTORS:
        table.add_row(f"and {len(shown) - _ACTORS} more", *[""] * 7)
    return table


def in_order(stages: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return stages in the order in which they began; JSON sorts them by name."""
    return sorted(stages.items(), key=lambda item: item[1]["since"])


def line(name: str, stage: dict[str, Any], snapshot: dict[str, Any]) -> str:
    """Return one line about a stage, for logs."""
    parts = [f"{stage['done']}/{stage['total']} done"]
    if stage["running"]:
        parts.append(f"{stage.get('work') or stage['running']} running")
    if stage["quarantined"]:
        parts.append(f"{stage['quarantined']} quarantined")
    if stage.get("cells_per_second"):
        parts.append(f"{_number(stage['cells_per_second'])} cells/s")
        parts.append(f"waited for data {_share(stage['wait_share'])}")
    if stage.get("seconds_left"):
        parts.append(f"{duration(stage['seconds_left'])} left")
    if snapshot["gpu_hours"]:
        parts.append(f"{snapshot['gpu_hours']:.2f} GPU-hours")
    return f"{name}: {', '.join(parts)} ({duration(snapshot['updated'] - snapshot['started'])})"


def hours(snapshot: dict[str, Any]) -> str:
    """Return the duration of the run and the hours of its actors and GPUs."""
    took = duration(snapshot["updated"] - snapshot["started"])
    return (
        f"{took}; actors were held for {snapshot['actor_hours']:.3g} hours, "
        f"GPUs for {snapshot['gpu_hours']:.3g}"
    )


def duration(seconds: float | None) -> str:
    """Return seconds as ``42 s``, ``3 min``, ``2 h 05``; '' for None."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{round(whole / 60)} min"
    return f"{whole // 3600} h {whole % 3600 // 60:02d}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
