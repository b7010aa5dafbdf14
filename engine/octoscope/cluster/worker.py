"""The process of an actor: runs one replica of a model, or matrix work, and logs it."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import time
from typing import Any

import zarr

from octoscope.errors import OctoscopeError, in_one_line
from octoscope.planning.frozen_config import run_config
from octoscope.run_plan.values import COEXPRESSION
from octoscope.run_plan.work_names import block_of
from octoscope.store.instruction_set import instruction_set
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot

_LOG = logging.getLogger("octoscope")
_REPORTED = ("cells_used", "tokens", "wait_seconds")  # of a unit's record, to the driver


def import_failure(python: str, timeout: float) -> str | None:
    """Try to import this module with another Python on this node; return why that fails."""
    try:
        done = subprocess.run(
            [python, "-P", "-c", f"import ray, {__name__}"],
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
    except OSError as error:
        return error.strerror or str(error)
    except subprocess.TimeoutExpired:
        return None  # slow is not broken
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def _known(error: BaseException) -> bool:
    """Tell whether every process can unpickle an error: a library's own may lack its arguments."""
    return type(error).__module__ in ("builtins", "octoscope.errors")


class Worker:
    """Reads the plan, the atlas and the checkpoint itself.

    Parameters
    ----------
    run
        Run directory.
    model
        The model whose units it computes; None: matrices.
    name
        Of this actor, in logs, metrics and the live view.
    gpus
        GPUs that it holds; of a fraction it may use that fraction of the memory.
    """

    def __init__(self, run: str, model: str | None, name: str, gpus: float = 0) -> None:
        self._run, self._name, self._gpus = run, name, gpus
        self._failure: OctoscopeError | None = None
        try:
            self._load(run, model)
        except (Exception, SystemExit) as error:  # noqa: BLE001  told by ready(): Ray drops it here
            self._failure = self._readable(error, model)
            self._log("cannot start", logging.ERROR, error=repr(error))

    def _readable(self, error: BaseException, model: str | None) -> OctoscopeError:
        """Return an error that the driver can unpickle, even if it lacks modules."""
        if isinstance(error, OctoscopeError) and _known(error):
            return error
        return OctoscopeError(
            f"a worker of {model or 'matrices'} on {socket.gethostname()} cannot start: "
            f"{in_one_line(error)}. Repair that; what is committed stays, and `octoscope resume` "
            "goes on"
        )

    def _load(self, run: str, model: str | None) -> None:
        root = RunRoot(run)
        self._plan = load_plan(root)
        # Imported here: it imports Ray, which a driver may not before its settings are made
        # (octoscope.cluster.connect).
        from octoscope.cluster.metrics import WorkMetrics

        self._metrics = WorkMetrics(run, model or "matrices")
        self._device = "cpu"
        # Imported here: a worker loads torch or the analysis, not both (seconds of start-up).
        if model is None:
            from octoscope.extract.matrix_work import MatrixRunner

            self._matrices = MatrixRunner(root, self._plan)
            return
        config = run_config(root)
        zarr.config.set({"threading.max_workers": config.execution.advanced.readers})
        self._by_work = {u.work: u for u in self._plan.units if u.model == model}
        if self._plan.model(model).family == COEXPRESSION:
            from octoscope.extract.coexpression_work import CoexpressionRunner

            self._units: Any = CoexpressionRunner(root, self._plan, config, model)
        else:
            from octoscope.extract.unit_work import UnitRunner

            self._units = UnitRunner(root, self._plan, config, model, share=self._gpus)
            self._device = self._units.device

    def _attend_imported(self, model: str, category: int) -> None:
        # Imported here: it loads torch, and few runs have imported residual streams.
        from octoscope.extract.imported_streams import attend_imported_streams

        attend_imported_streams(RunRoot(self._run), self._plan, model, category)

    def ready(self) -> dict[str, Any]:
        """Return the place of this actor after its constructor; raises the constructor's error.

        Keys: ``pid``, ``host``, ``device``, ``gpus`` (held, by Ray's count), ``visible`` (which
        GPUs this process can see; '' for none), ``instruction_set``, and ``planned_with`` where
        what it computes on the CPU has another instruction set than the plan's.
        """
        if self._failure is not None:
            raise self._failure
        process: dict[str, Any] = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "device": self._device,
            "gpus": self._gpus,
            "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "instruction_set": instruction_set(),
        }
        planned = self._plan.instruction_set
        if self._device == "cpu" and planned not in (None, process["instruction_set"]):
            process["planned_with"] = planned
            self._log("instruction set is not the plan's: last bits may differ", logging.WARNING,
                      **process)  # fmt: skip
        self._log("started", **process)
        return process

    def run(self, work: str, halvings: int = 0, ahead: str | None = None) -> dict[str, Any]:
        """Do one piece of work and commit it; returns its seconds and, of a unit, its cells.

        ``halvings``: how often it was killed for its memory before. ``ahead``: what is probably
        next.
        """
        kind = work.split("/", 1)[0]
        model, category = block_of(work)
        started = time.monotonic()
        self._log("begins", work=work, halvings=halvings)
        metrics: dict[str, Any] = {}
        try:
            if kind == "units":
                following = None if ahead is None else self._by_work.get(ahead)
                record = self._units.run(self._by_work[work], halvings, following)
                metrics = {name: record.metrics[name] for name in _REPORTED}
            elif kind == "residuals" and self._plan.model(model).imported:
                self._attend_imported(model, category)
            elif kind == "residuals":
                self._units.mean_cell(category)
            elif kind == "pairs":
                self._matrices.pairs(model, category)
            else:
                self._matrices.matrix(model, category, int(work.rsplit(".l", 1)[1]))
        except (Exception, SystemExit) as error:
            self._log("failed", logging.ERROR, work=work, error=f"{type(error).__name__}: {error}")
            # Ray would end this process and not start it again; or the driver lacks the class
            if isinstance(error, SystemExit) or not (isinstance(error, OSError) or _known(error)):
                raise RuntimeError(in_one_line(error)) from None
            raise
        metrics["seconds"] = round(time.monotonic() - started, 3)
        self._metrics.done(kind, metrics)
        self._log("committed", work=work, **metrics)
        return metrics

    def _log(self, what: str, level: int = logging.INFO, **more: Any) -> None:
        _LOG.log(level, what, extra={"run": self._run, "actor": self._name, **more})
