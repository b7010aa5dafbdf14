"""Ray actors: one pinned replica of a model each, or none (matrix work on CPUs)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from octoscope.cluster.dispatch import Outcome, Work
from octoscope.cluster.worker import Worker, import_failure
from octoscope.errors import OctoscopeError, in_one_line

_PAUSE = 0.2  # seconds before an actor that is not back yet is asked again
_DEATHS = 3  # of each actor of a group while it starts, after which none will start
_PROBE_AFTER = 5.0  # seconds without an actor after which its Python is tried on each node
_PROBE_TIMEOUT = 60.0  # seconds for that Python to import the worker
_THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_PASSED = ("OCTOSCOPE_CRASH_AT", "OCTOSCOPE_DRIVER_PID")


@dataclass(frozen=True)
class Group:
    """Identical actors.

    Attributes
    ----------
    model
        The model that each holds; None: matrix work.
    actors
        How many.
    threads
        CPUs per actor, also its compute threads.
    gpus
        GPUs per actor, whole or a fraction that several share; 0: GPUs are hidden from it.
    python
        Python of another environment, for a plug-in with packages of its own.
    """

    model: str | None
    actors: int
    threads: int = 1
    gpus: float = 0
    python: str | None = None


def together(
    groups: Mapping[str, Group], have: Mapping[str, float], actor_bytes: float
) -> dict[str, Group]:
    """Return the groups, in their order, that a cluster holds at once; at least the first.

    Parameters
    ----------
    have
        The cluster's resources: CPU, GPU, and memory in bytes, where it is known.
    actor_bytes
        What an actor may hold, as planned.
    """
    free, chosen = dict(have), {}
    for name, group in groups.items():
        needs = {"CPU": group.threads, "GPU": group.gpus}
        if "memory" in have:
            needs["memory"] = actor_bytes
        if all(group.actors * n <= free.get(kind, 0) for kind, n in needs.items()):
            chosen[name] = group
            for kind, n in needs.items():
                free[kind] = free.get(kind, 0) - group.actors * n
    return chosen or dict(list(groups.items())[:1])


class RayFleet:
    """Groups of identical actors.

    Parameters
    ----------
    ray
        The connected module.
    run
        Run directory.
    groups
        By name.
    on_actor
        Called with an actor's name, what became of it (started, lost, stopped) and, when it
        started, where it is.

    Raises
    ------
    OctoscopeError
        If the actors cannot start, or are not ready within ``start_timeout`` seconds.
    """

    def __init__(
        self,
        ray: Any,
        run: str,
        groups: dict[str, Group],
        *,
        start_timeout: float,
        on_actor: Callable[[str, str, dict[str, Any]], None] = lambda name, what, process: None,
    ) -> None:
        self._ray, self._on_actor = ray, on_actor
        passed = {k: os.environ[k] for k in _PASSED if k in os.environ}
        self._actors: dict[str, list[Any]] = {}
        self._names: dict[int, str] = {}
        remote = ray.remote(Worker)
        for name, group in groups.items():
            hidden = {} if group.gpus else {"CUDA_VISIBLE_DEVICES": ""}
            env = passed | hidden | {n: str(group.threads) for n in _THREAD_LIMITS}
            runtime: dict[str, Any] = {"env_vars": env}
            if group.python is not None:
                runtime["py_executable"] = group.python
            options = remote.options(
                num_cpus=group.threads,
                num_gpus=group.gpus,
                max_restarts=-1,
                max_task_retries=0,  # Ray would repeat effects; the dispatcher re-issues instead
                runtime_env=runtime,
            )
            self._actors[name] = []
            for i in range(group.actors):
                called = f"{name}.{i}"
                actor = options.remote(run, group.model, called, group.gpus)
                self._actors[name].append(actor)
                self._names[id(actor)] = called
        self._group = {id(a): name for name, actors in self._actors.items() for a in actors}
        # by group and name: asked for at every turn, so that busy actors are not looked at
        self._idle: dict[str, dict[str, Any]] = {name: {} for name in groups}
        self._running: dict[Any, tuple[Work, Any]] = {}
        self._recovering: dict[Any, tuple[Any, float]] = {}
        self._groups = groups
        self._restarts: dict[int, int] = {}  # actor -> restarts by Ray when it was last well
        self._counted = 0.0  # when restarts were last asked for
        self._probes: dict[str, list[Any]] = {}  # group -> tries of its Python, one per node
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
        except (OctoscopeError, KeyboardInterrupt):
            self.stop()
            raise

    def _gone(self, group: str) -> float | None:
        """Return since when a group has had no actor; None if it has one."""
        since = {id(actor): at for actor, at in self._recovering.values()}
        times = [since.get(id(actor)) for actor in self._actors[group]]
        missing = [at for at in times if at is not None]
        return max(missing) if len(missing) == len(times) else None

    def idle(self, group: str) -> list[str]:
        """Return the names of a group's idle actors.

        One piece per actor: a queued piece would run its deadline down while it waits.
        """
        return list(self._idle[group])

    def submit(self, work: Work, actor: str, ahead: Work | None = None) -> None:
        """Give work to an idle actor; ``ahead`` is what it reads for meanwhile."""
        chosen = self._idle[work.group].pop(actor)
        halvings = self._short.get(work.id, 0)
        following = None if ahead is None else ahead.id
        self._running[chosen.run.remote(work.id, halvings, following)] = (work, chosen)

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
        ready, rest = self._ray.wait(watched, num_returns=1, timeout=timeout)
        if ready and rest:  # what else is there already, in one question
            ready += self._ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        outcomes = []
        for reference in ready:
            if reference in self._recovering:
                self._recovered(reference)
                continue
            work, actor = self._running.pop(reference)
            self._idle[work.group][self._names[id(actor)]] = actor
            try:
                outcomes.append(Outcome(work, metrics=self._ray.get(reference)))
            except self._ray.exceptions.RayError as error:
                preempted = bool(getattr(error, "preempted", False))
                if self._died(error):
                    # The kernel's out-of-memory killer leaves no other trace than a death; a
                    # smaller step gives the same bytes, so every death counts.
                    self._short[work.id] = self._short.get(work.id, 0) + (not preempted)
                    self._tell(actor, "lost")
                    self._recover(actor, time.monotonic())
                raised = isinstance(error, self._ray.exceptions.RayTaskError)
                outcomes.append(Outcome(work, _cause(error), preempted=preempted, raised=raised))
        return outcomes

    def _died(self, error: BaseException) -> bool:
        known = self._ray.exceptions
        return isinstance(error, known.RayActorError | known.OutOfMemoryError)

    def _recover(self, actor: Any, since: float) -> None:
        """Give an actor no work until its restarted constructor is through.

        Calls to a restarting actor fail at once: without this the idle-looking dead actor would
        use up the attempts of every piece that is left.
        """
        self._idle[self._group[id(actor)]].pop(self._names[id(actor)], None)
        self._recovering[actor.ready.remote()] = (actor, since)

    def _recovered(self, reference: Any) -> None:
        actor, since = self._recovering.pop(reference)
        try:
            process = self._ray.get(reference)
            self._restarts.pop(id(actor), None)  # counted anew when it is lost
            self._idle[self._group[id(actor)]][self._names[id(actor)]] = actor
            self._tell(actor, "started", process)
        except self._ray.exceptions.RayError as error:
            # Ray does not start an actor again whose class could not be imported
            if not self._died(error) or getattr(error, "actor_init_failed", False):
                cause = _cause(error)
                if isinstance(cause, OctoscopeError):
                    raise cause from None
                group = self._group[id(actor)]
                last = (str(cause).strip().splitlines() or [type(cause).__name__])[-1]
                raise OctoscopeError(self._cannot_import(group, last)) from error
            time.sleep(_PAUSE)
            self._recover(actor, since)

    def _cannot_import(self, group: str, cause: str) -> str:
        python = self._groups[group].python
        where = python or "the Python of the cluster's nodes"
        return (
            f"a worker of {group} cannot start: {in_one_line(cause)}. Install octoscope and what "
            f"it needs for {where} on every node, and keep modules of the same names out of "
            "PYTHONPATH and the working directory"
        )

    def _refuse_dying_actors(self, missing: list[str]) -> None:
        """Raise where the processes of all actors of a group end again and again as they start.

        A call to such an actor may wait for ever: only Ray's count of restarts tells.
        """
        if time.monotonic() - self._counted < 1.0:
            return
        self._counted = time.monotonic()
        for group in missing:
            ends = []
            for actor in self._actors[group]:
                count = self._restarts_of(actor)
                ends.append(count - self._restarts.setdefault(id(actor), count))
            if min(ends) >= _DEATHS:
                raise OctoscopeError(
                    f"a worker of {group} cannot start: its process ended {min(ends)} times before "
                    "it was ready, without a message of its own. Look for a crash or too little "
                    f"memory in Ray's logs of it (worker-*.err{self._logs()}), repair that, then "
                    "`octoscope resume`"
                )

    def _restarts_of(self, actor: Any) -> int:
        """Return how often Ray started an actor again; its public API needs a dashboard."""
        try:
            state = self._ray._private.state.actors(actor._actor_id.hex())
            return int(state["NumRestarts"]) - int(state.get("NumRestartsDueToNodePreemption", 0))
        except Exception:  # noqa: BLE001  not there in another version: start_timeout remains
            return 0

    def _logs(self) -> str:
        try:
            return f" in {self._ray._private.worker._global_node.get_logs_dir_path()}"
        except Exception:  # noqa: BLE001  only a help
            return ""

    def _refuse_a_broken_python(self, missing: list[str], now: float) -> None:
        """Raise where a group's own Python can import the worker on no node.

        Such a process ends before Ray knows of it, and Ray says nothing.
        """
        for group in missing:
            python, since = self._groups[group].python, self._gone(group)
            if python is None or since is None or now - since < _PROBE_AFTER:
                continue
            if group not in self._probes:
                self._probes[group] = self._try_on_each_node(python)
            tries = self._probes[group]
            ready, waiting = self._ray.wait(tries, num_returns=len(tries), timeout=0)
            if not tries or waiting:
                continue
            try:
                errors = self._ray.get(ready)
            except self._ray.exceptions.RayError:  # of the try itself: says nothing
                continue
            if all(errors):
                raise OctoscopeError(self._cannot_import(group, f"{python}: {errors[0]}"))

    def _try_on_each_node(self, python: str) -> list[Any]:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        trying = self._ray.remote(import_failure)
        return [
            trying.options(
                num_cpus=0,
                max_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            ).remote(python, _PROBE_TIMEOUT)
            for node in self._ray.nodes()
            if node["Alive"] and node["Resources"].get("CPU")
        ]

    def _refuse_an_empty_group(self) -> None:
        now = time.monotonic()
        missing = [group for group in self._actors if self._gone(group) is not None]
        if missing:
            self._refuse_dying_actors(missing)
            self._refuse_a_broken_python(missing, now)
        for group in missing:
            since = self._gone(group)
            if since is None or now - since <= self._start_timeout:
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
                self._tell(actor, "lost")
                self._recover(actor, time.monotonic())

    def stop(self) -> None:
        """Kill all actors."""
        for actors in self._actors.values():
            for actor in actors:
                self._ray.kill(actor)
                self._tell(actor, "stopped")

    def _tell(self, actor: Any, what: str, process: dict[str, Any] | None = None) -> None:
        self._on_actor(self._names[id(actor)], what, process or {})


def _cause(error: BaseException) -> BaseException:
    """Return the exception that the worker raised, where Ray wrapped one."""
    inner = getattr(error, "cause", None)
    return inner if isinstance(inner, BaseException) else error
