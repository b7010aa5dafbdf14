"""The command line in this process: for tests whose question is an answer and not a process.

A run's workers are plain objects here instead of actors: the same driver, dispatcher, units,
matrices, analysis and report, without the seconds that Ray, torch and the report's libraries take
to load in four processes. What Ray does is asked in `tests/faults`, `tests/jobs`,
`tests/pipeline/test_run.py` and `tests/extract/test_coexpression_work.py`.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest import mock

import psutil
import torch
import zarr
from octoscope.cli import main
from octoscope.cluster.dispatch import Outcome, Work


@dataclass(frozen=True)
class Done:
    """What a command did."""

    returncode: int
    stdout: str
    stderr: str


class _RayError(Exception):
    """Stands in for Ray's: nothing raises it."""


_RAY = SimpleNamespace(
    exceptions=SimpleNamespace(RayError=_RayError),
    cluster_resources=lambda: {
        "CPU": float(os.cpu_count() or 1),
        "memory": float(psutil.virtual_memory().available),
    },
    nodes=lambda: [{}],
)


class LocalFleet:
    """Workers as objects of this process; a piece is done when it is waited for."""

    def __init__(
        self,
        ray: Any,
        run: str,
        groups: Mapping[str, Any],
        *,
        start_timeout: float,
        on_actor: Callable[[str, str, dict[str, Any]], None],
    ) -> None:
        from octoscope.cluster.worker import Worker

        self._on_actor = on_actor
        self._running: list[tuple[Work, str]] = []
        self._workers: dict[str, Any] = {}
        self._idle: dict[str, list[str]] = {}
        for name, group in groups.items():
            assert group.python is None, "a model of another environment needs a process of its own"
            self._idle[name] = [f"{name}.{i}" for i in range(group.actors)]
            for called in self._idle[name]:
                self._workers[called] = Worker(run, group.model, called, group.gpus)
                on_actor(called, "started", self._workers[called].ready())

    def idle(self, group: str) -> list[str]:
        return self._idle[group].copy()

    def submit(self, work: Work, actor: str, ahead: Work | None = None) -> None:
        self._idle[work.group].remove(actor)
        self._running.append((work, actor))

    def wait(self, timeout: float) -> list[Outcome]:
        if not self._running:
            return []
        work, actor = self._running.pop(0)
        try:
            outcome = Outcome(work, metrics=self._workers[actor].run(work.id))
        except Exception as error:  # noqa: BLE001  the dispatcher judges it
            outcome = Outcome(work, error)
        self._idle[work.group].append(actor)
        return [outcome]

    def abandon(self, work: Work) -> None:
        raise AssertionError(f"{work.id} was abandoned: nothing hangs in this process")

    def stop(self) -> None:
        for called in self._workers:
            self._on_actor(called, "stopped", {})


@contextmanager
def _cluster(address: str | None = None) -> Iterator[Any]:
    assert address is None, "a cluster needs a driver in a process of its own"
    yield _RAY


@contextmanager
def without_ray() -> Iterator[None]:
    """Replace what the driver asks of Ray; leave this process's settings as they were."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")  # Ray is imported here: as connect.py does
    from octoscope.cluster import driver, metrics

    threads, readers = torch.get_num_threads(), zarr.config.get("threading.max_workers")
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        with (
            mock.patch.object(driver, "RayFleet", LocalFleet),
            mock.patch.object(driver, "ray_cluster", _cluster),
            mock.patch.object(driver, "ray_scheduler", return_value="threads"),
            mock.patch.object(metrics, "WorkMetrics"),
            zarr.config.set({"threading.max_workers": readers}),
            mock.patch.dict(os.environ, {"COLUMNS": "200"}),
        ):
            yield
    finally:
        torch.set_num_threads(threads)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def here(*arguments: str) -> Done:
    """Run the command line in this process; what it raises beyond its own errors is raised."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        without_ray(),
        mock.patch.object(sys, "argv", ["octoscope", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return Done(code, out.getvalue(), err.getvalue())
