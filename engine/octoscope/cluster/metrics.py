"""Metrics of actors in Ray: work, cells, and the time that a replica waited for data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.util.metrics import Counter, Histogram

_SECONDS = [0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200]


class WorkMetrics:
    """Metrics of one actor, under ``ray_octoscope_…`` at each node's Prometheus port.

    ``pieces``, ``cells``, ``wait_seconds`` (totals) and ``piece_seconds`` (histogram), by ``run``,
    ``group`` (the model, or matrices) and ``kind`` of work.
    """

    def __init__(self, run: str, group: str) -> None:
        tags = {"tag_keys": ("run", "group", "kind")}
        self._pieces = Counter("octoscope_pieces", "Pieces of work committed", **tags)
        self._cells = Counter("octoscope_cells", "Cells of committed units", **tags)
        self._waited = Counter(
            "octoscope_wait_seconds", "Seconds that replicas waited for cells", **tags
        )
        self._seconds = Histogram(
            "octoscope_piece_seconds", "Seconds per piece of work", boundaries=_SECONDS, **tags
        )
        self._tags = {"run": run, "group": group}

    def done(self, kind: str, metrics: Mapping[str, Any]) -> None:
        """Count one piece of work; ``metrics`` as :meth:`.worker.Worker.run` returns them."""
        tags = {**self._tags, "kind": kind}
        self._pieces.inc(1, tags)
        self._seconds.observe(metrics["seconds"], tags)
        for counter, name in ((self._cells, "cells_used"), (self._waited, "wait_seconds")):
            if metrics.get(name):
                counter.inc(metrics[name], tags)
