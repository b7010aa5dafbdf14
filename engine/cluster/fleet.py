"""Ray actors: one pinned replica of a model each, or none (matrix work on CPUs)."""

from __future__ import annotations

import os
import time
from typing import Any

from engine.cluster.dispatch import Outcome, Work
from engine.cluster.frozen import run_config
from engine.errors import OctoscopeError
from engine.store.plan import COEXPRESSION, block_of, load_plan
from engine.store.root import RunRoot

_PAUSE = 0.2  # seconds before an actor that is not back yet is asked again
_THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_PASSED = ("OCTOSCOPE_CRASH_AT", "OCTOSCOPE_DRIVER_PID")


class Worker:
    """Runs in the actor's process. Reads the plan, the atlas and the checkpoint itself."""

    def __init__(self, run: str, model: str | None) -> None:
        self._failure: Exception | None = None
        try:
            self._load(run, model)
        except Exception as error:  # noqa: BLE001  told by ready(): Ray drops a constructor's
            self._failure = error

    def _load(self, run: str, model: str | None) -> None:
        root = RunRoot(run)
        self._plan = load_plan(root)
        self._model = model
        # Imported here: a worker loads torch or the analysis, not both (seconds of start-up).
        if model is None:
            from engine.cluster.matrices import MatrixRunner

            self._matrices = MatrixRunner(root, self._plan)
            return
        config = run_config(root)
        self._by_work = {u.work: u for u in self._plan.units if u.model == model}
        if self._plan.model(model).family == COEXPRESSION:
            from engine.cluster.coexpression import CoexpressionRunner

            self._units: Any = CoexpressionRunner(root, self._plan, config, model)
        else:
            from engine.cluster.units import UnitRunner

            self._units = UnitRunner(root, self._plan, config, model)

    def ready(self) -> int:
        """Return the process id once the constructor is through; raises what it met."""
        if self._failure is not None:
            raise self._failure
        return os.getpid()

    def run(self, work: str, halvings: int = 0) -> None:
        """Do one piece of work and commit it.

        ``halvings``: how often it was killed for its memory before.
        """
        kind = work.split("/", 1)[0]
        model, category = block_of(work)
        if kind == "units":
            self._units.run(self._by_work[work], halvings)
        elif kind == "residuals":
            self._units.mean_cell(category)
        elif kind == "pairs":
            self._matrices.pairs(model, category)
        else:
            self._matrices.matrix(model, category, int(work.rsplit(".l", 1)[1]))


class RayFleet:
    """Groups of identical actors.

    Parameters
    ----------
    ray
        The connected module.
    run
        Run directory.
    groups
        Group name -> (model or None, number of actors).
    threads
        Group name -> CPUs per actor, also its compute threads.
    gpu
        Groups whose actors hold one GPU each.
    python
        Group name -> Python of another environment, for plug-ins with packages of their own.

    Raises
    ------
    OctoscopeError
        If the actors are not ready within ``start_timeout`` seconds.
    """

    def __init__(
        self,
        ray: Any,
        run: str,
        groups: dict[str, tuple[str | None, int]],
        *,
        threads: dict[str, int],
        gpu: set[str],
        start_timeout: float,
        python: dict[str, str] | None = None,
    ) -> None:
        self._ray = ray
        passed = {k: os.environ[k] for k in _PASSED if k in os.environ}
        self._actors: dict[str, list[Any]] = {}
        remote = ray.remote(Worker)
        for group, (model, count) in groups.items():
            on_gpu = group in gpu
            hidden = {} if on_gpu else {"CUDA_VISIBLE_DEVICES": ""}
            env = passed | hidden | {n: str(threads[group]) for n in _THREAD_LIMITS}
            runtime: dict[str, Any] = {"env_vars": env}
            if python and group in python:
                runtime["py_executable"] = python[group]
            options = remote.options(
                num_cpus=threads[group],
                num_gpus=1 if on_gpu else 0,
                max_restarts=-1,
                max_task_retries=0,  # Ray would repeat effects; the dispatcher re-issues instead
                runtime_env=runtime,
            )
            self._actors[group] = [options.remote(run, model) for _ in range(count)]
        self._load = {id(a): 0 for actors in self._actors.values() for a in actors}
        self._running: dict[Any, tuple[Work, Any]] = {}
        self._recovering: dict[Any, tuple[Any, float]] = {}
        self._short: dict[str, int] = {}  # work -> times its actor died
        self._start_timeout = start_timeout
        self._await_start()

    def _await_start(self) -> None:
        """Wait until every group has an actor; the others join when they are there.

        A cluster may be smaller than asked for, or grow: what has started works.
        """
        now = time.monotonic()
        for actors in self._actors.values():
            for actor in actors:
                self._recover(actor, now)
        try:
            while any(self._gone(group) is not None for group in self._actors):
                self._refuse_an_empty_group()
                ready, _ = self._ray.wait(list(self._recovering), num_returns=1, timeout=1.0)
                for reference in ready:
                    self._recovered(reference)
        except OctoscopeError:
            self.stop()
            raise

    def _gone(self, group: str) -> float | None:
        """Return since when a group has had no actor; None if it has one."""
        since = {id(actor): at for actor, at in self._recovering.values()}
        found = [since.get(id(actor)) for actor in self._actors[group]]
        missing = [at for at in found if at is not None]
        return max(missing) if len(missing) == len(found) else None

    def free(self, group: str) -> int:
        """Return how many actors of a group are idle.

        One piece per actor: a queued piece would run its deadline down while it waits.
        """
        return sum(not self._load[id(a)] for a in self._actors[group])

    def submit(self, work: Work) -> None:
        """Give work to the least loaded actor of its group."""
        actor = min(self._actors[work.group], key=lambda a: self._load[id(a)])
        self._load[id(actor)] += 1
        halvings = self._short.get(work.id, 0)
        self._running[actor.run.remote(work.id, halvings)] = (work, actor)

    def wait(self, timeout: float) -> list[Outcome]:
        """Return finished work.

        Raises
        ------
        OctoscopeError
            If all actors of a group died and none is back within the start-up deadline. Where
            others are left they go on: nodes come and go.
        """
        watched = [*self._running, *self._recovering]
        if not watched:
            return []
        self._refuse_an_empty_group()
        ready, _ = self._ray.wait(watched, num_returns=1, timeout=timeout)
        outcomes = []
        for reference in ready:
            if reference in self._recovering:
                self._recovered(reference)
                continue
            work, actor = self._running.pop(reference)
            self._load[id(actor)] -= 1
            try:
                self._ray.get(reference)
                outcomes.append(Outcome(work))
            except self._ray.exceptions.RayError as error:
                if self._died(error):
                    # The kernel's out-of-memory killer leaves no other trace than a death; a
                    # smaller step gives the same bytes, so every death counts.
                    self._short[work.id] = self._short.get(work.id, 0) + 1
                    self._recover(actor, time.monotonic())
                outcomes.append(Outcome(work, _cause(error)))
        return outcomes

    def _died(self, error: BaseException) -> bool:
        known = self._ray.exceptions
        return isinstance(error, known.RayActorError | known.OutOfMemoryError)

    def _recover(self, actor: Any, since: float) -> None:
        """Give an actor no work until its restarted constructor is through.

        Calls to a restarting actor fail at once: without this the idle-looking dead actor would
        use up the attempts of every piece that is left.
        """
        self._load[id(actor)] = 1
        self._recovering[actor.ready.remote()] = (actor, since)

    def _recovered(self, reference: Any) -> None:
        actor, since = self._recovering.pop(reference)
        try:
            self._ray.get(reference)
            self._load[id(actor)] = 0
        except self._ray.exceptions.RayError as error:
            if not self._died(error):
                cause = _cause(error)
                if isinstance(cause, OctoscopeError):
                    raise cause from None
                raise OctoscopeError(f"an actor cannot start: {cause!r}") from error
            time.sleep(_PAUSE)
            self._recover(actor, since)

    def _refuse_an_empty_group(self) -> None:
        for group in self._actors:
            since = self._gone(group)
            if since is None or time.monotonic() - since <= self._start_timeout:
                continue
            have = self._ray.cluster_resources()
            raise OctoscopeError(
                f"no actor of {group} started within {self._start_timeout:g} s; the cluster has "
                f"{have.get('CPU', 0):g} CPUs and {have.get('GPU', 0):g} GPUs. Lower "
                "execution.threads or execution.actors, or add nodes; what is committed stays, and "
                "`octoscope resume` goes on"
            )

    def abandon(self, work: Work) -> None:
        """Kill the actor that runs a piece of work; Ray restarts it."""
        for reference, (running, actor) in list(self._running.items()):
            if running == work:
                del self._running[reference]
                self._ray.kill(actor, no_restart=False)
                self._recover(actor, time.monotonic())

    def stop(self) -> None:
        """Kill all actors."""
        for actors in self._actors.values():
            for actor in actors:
                self._ray.kill(actor)


def _cause(error: BaseException) -> BaseException:
    """Return the exception that the worker raised, where Ray wrapped one."""
    inner = getattr(error, "cause", None)
    return inner if isinstance(inner, BaseException) else error
