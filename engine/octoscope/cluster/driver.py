"""A run from plan to ``_SUCCESS``: the stages in order, each restartable."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Any

import pandas as pd
from rich.console import Console

from octoscope.cluster.connect import address_of, is_local, ray_cluster, ray_scheduler
from octoscope.cluster.dispatch import Change, Work, dispatch
from octoscope.cluster.fleet import Group, RayFleet, together
from octoscope.cluster.progress import Reporter
from octoscope.cluster.run_stats import ANALYSIS
from octoscope.cluster.signals import Stopped, StopSignals
from octoscope.config import RunConfig
from octoscope.errors import OctoscopeError, in_one_line
from octoscope.json_values import to_json
from octoscope.pipeline.repair_plan import Repair, open_repair, read_repair
from octoscope.pipeline.run_analyses import run_analysis, steps
from octoscope.pipeline.seal import (
    ATTENTION,
    DONE,
    QUARANTINED,
    exit_code,
    finish,
    read_quarantined,
    remove_scratch,
)
from octoscope.planning.frozen_config import run_config
from octoscope.planning.timing import require_gpu
from octoscope.run_plan.values import Block, Plan
from octoscope.run_plan.work_names import block_of
from octoscope.store.commits import done_among, read_record
from octoscope.store.lease import Lease
from octoscope.store.manifest import JOURNAL, require_success
from octoscope.store.parquet import write_table
from octoscope.store.run_dir import RunRoot


def execute(
    root: RunRoot,
    plan: Plan,
    console: Console,
    *,
    config: RunConfig | None = None,
    stage: str = "all",
    address: str | None = None,
    steal: bool = False,
) -> int:
    """Run every stage that is not done; returns the exit code.

    Parameters
    ----------
    config
        The run's configuration, with changes to how it executes; None: as it is stored.
    stage
        ``attention`` (units, matrices), ``analysis`` (comparisons, overlap, report) or ``all``.
    steal
        Take an expired lease of a driver on another machine.

    Returns
    -------
    int
        0 done, 3 done with units quarantined.

    Raises
    ------
    OctoscopeError
        If the analysis is asked for before the attention stage is done, or the store fails.
    Stopped
        On SIGINT or SIGTERM, after what ran was committed or its grace was used up.
    InputError
        If another driver holds the run, or a run on this machine asks for GPUs that it lacks.
    """
    config = config or run_config(root)
    e = config.execution
    if stage != "analysis" and is_local(address) and exit_code(root) != DONE:
        require_gpu(config)
    with (
        Lease(root, e.advanced.lease, steal=steal) as lease,
        StopSignals(e.advanced.grace) as stop_signals,
        stop_signals.promptly(),
    ):
        working = False
        try:
            repair = read_repair(root)
            if repair is not None and not repair.opened:
                repair = open_repair(root, repair)
            elif exit_code(root) == DONE:
                require_success(root)
                root.remove([JOURNAL])
                remove_scratch(root, plan, config)
                console.print(f"{root.url}: finished already")
                return DONE
            root.remove(["_SUCCESS"])  # what was quarantined may succeed now: its scratch was kept
            working = True
            run = _Run(root, plan, config, console, lease, stop_signals, repair)
            code = run.stages(stage, address)
            if exit_code(root) == DONE:
                root.remove([JOURNAL])
            return code
        except (OctoscopeError, OSError) as error:
            # Of two drivers the other may have removed what this one was reading.
            ours = not working or lease.lost or isinstance(error, Stopped)
            another = None if ours else exit_code(root)
            if another is not None:
                console.print(f"{root.url}: finished by another driver")
                with suppress(OSError):
                    remove_scratch(root, plan, config)
                return another
            if isinstance(error, OctoscopeError):
                raise
            raise OctoscopeError(
                f"{root.url}: {error}; nothing is lost, `octoscope resume` goes on"
            ) from error


# Blocks (model, category) that a local run analyses on threads: workers of Ray first load
# everything again (8 s), but threads share one interpreter, so that more blocks take longer.
_FEW = 4


class _Run:
    """One call of :func:`execute`: what its stages share."""

    def __init__(
        self,
        root: RunRoot,
        plan: Plan,
        config: RunConfig,
        console: Console,
        lease: Lease,
        stop_signals: StopSignals,
        repair: Repair | None,
    ) -> None:
        self._root, self._plan, self._config, self._console = root, plan, config, console
        self._lease, self._stop_signals, self._repair = lease, stop_signals, repair
        self._written: dict[str, dict[str, Any]] = {}  # table -> digest

    def stages(self, stage: str, address: str | None) -> int:
        """Run the stages asked for; returns the exit code."""
        root, plan, config = self._root, self._plan, self._config
        log = config.execution.log
        with (
            Reporter(root, self._console, log) as reporter,  # also reports a Ray that fails
            self._stop_signals.promptly(),
            ray_cluster(address) as ray,
        ):
            try:
                if stage in ("all", "attention") and (self._repair is None or self._repair.works):
                    quarantined = self._attention(ray, reporter)
                    if self._repair is not None:
                        quarantined |= read_quarantined(root) or {}
                    # two drivers may differ in what failed: a record settles it
                    have = done_among(root, quarantined, plan.hash)
                    quarantined = {w: why for w, why in quarantined.items() if w not in have}
                    root.replace(ATTENTION, to_json({"quarantined": quarantined}))
                known = read_quarantined(root)
                if known is None:
                    raise OctoscopeError(
                        f"{root.url}: the attention stage is not done; run it first"
                    )
                if stage in ("all", "analysis"):
                    if self._repair is None or self._repair.outputs:
                        blocks = plan.finished_blocks(known)
                        few = address_of(address) is None and len(blocks) <= _FEW
                        scheduler = "threads" if few else ray_scheduler()
                        self._analysis(blocks, reporter, scheduler)
                    self._check_alone()
                    return finish(root, plan, config, known, self._written, reporter.timeline())
            except ray.exceptions.RayError as error:
                raise OctoscopeError(
                    f"Ray failed: {in_one_line(error)}; `octoscope resume` goes on"
                ) from error
        return QUARANTINED if known else DONE

    def _check_lease(self) -> None:
        if self._lease.lost:
            raise OctoscopeError(f"{self._root.url}: another driver took the run over")

    def _check_alone(self) -> None:
        """Refuse to write over what another driver has sealed since."""
        self._check_lease()
        if self._root.exists("_SUCCESS"):
            raise OctoscopeError(f"{self._root.url}: finished by another driver")

    def _write(self, root: RunRoot, name: str, frame: pd.DataFrame) -> None:
        self._check_alone()
        self._written[name] = write_table(root, name, frame)

    def _attention(self, ray: Any, reporter: Reporter) -> dict[str, str]:
        """Run units on model actors, matrices on CPU actors; returns what is quarantined."""
        plan = self._plan
        groups = self._model_groups(ray.cluster_resources().get("GPU", 0))
        units = self._works(u.work for u in plan.units)
        quarantined: dict[str, str] = {}
        waiting = dict(groups)
        while waiting:
            # asked anew for every part: a cluster that starts its nodes on demand has grown
            spec = together(waiting, ray.cluster_resources(), plan.needs["actor_bytes"])
            names = list(spec)
            waiting = {name: group for name, group in waiting.items() if name not in spec}
            of = "" if len(names) == len(groups) else f", {' + '.join(names)}"
            part = [Work(w, block_of(w)[0]) for w in units if block_of(w)[0] in names]
            means = self._works(w for w in plan.residual_work() if block_of(w)[0] in names)
            todo = [(f"attention{of}", part)]
            if means:
                todo.append((f"mean cells{of}", [Work(w, block_of(w)[0]) for w in means]))
            quarantined |= self._dispatch(ray, reporter, todo, spec)
        attention_variants = set(plan.finished_blocks(quarantined))
        # whose pair counts they share
        bases = {(plan.model(m).base, c) for m, c in attention_variants}
        imported = {m.name for m in plan.bases if m.imported}
        streams = self._works(w for w in plan.residual_work() if block_of(w)[0] in imported)
        pairs = self._works(w for w in plan.pairs_work() if block_of(w) in bases)
        matrices = self._works(w for w in plan.matrix_work() if block_of(w) in attention_variants)
        stages = {"mean cells": streams, "pair counts": pairs, "matrices": matrices}
        todo = [
            (name, [Work(w, "cpu") for w in works])
            for name, works in stages.items()
            if works or name == "matrices"
        ]
        have = ray.cluster_resources()  # again: nodes may have come for the units
        cpus, most = int(have.get("CPU", 1)), max(map(len, stages.values()))
        memory = int(have.get("memory", 0) // plan.needs["actor_bytes"])  # of the whole cluster
        n = max(1, min(cpus, most, memory))
        # where memory allows few of them on this one machine, each computes on several CPUs
        threads = max(1, cpus // n) if len(ray.nodes()) == 1 else 1
        return quarantined | self._dispatch(ray, reporter, todo, {"cpu": Group(None, n, threads)})

    def _model_groups(self, gpus: float) -> dict[str, Group]:
        """Return the replicas of each model, on GPUs where they are asked for or are ``gpus``."""
        plan, e = self._plan, self._config.execution
        on_gpu = e.device == "cuda" or (e.device == "auto" and gpus > 0)
        computing = {m.name for m in plan.checkpoints}  # co-expression has no use for a GPU
        groups = {}
        for m in plan.bases:
            if m.imported:  # no cells: what its store holds is read as matrices are
                continue
            share = e.gpus if on_gpu and m.name in computing else 0
            # beside a GPU the CPUs read: one thread drives it
            threads = max(plan.threads, 1 + e.advanced.readers) if share else plan.threads
            groups[m.name] = Group(m.name, e.actors, threads, share, m.python)
        return groups

    def _works(self, works: Iterable[str]) -> list[str]:
        """Leave out what a repair does not touch: its scratch is gone."""
        only = None if self._repair is None else set(self._repair.works)
        return [w for w in works if only is None or w in only]

    def _dispatch(
        self,
        ray: Any,
        reporter: Reporter,
        stages: list[tuple[str, list[Work]]],
        groups: dict[str, Group],
    ) -> dict[str, str]:
        """Run stages one after the other on one fleet; returns what was quarantined and why."""
        root, plan, e = self._root, self._plan, self._config.execution
        have = done_among(root, (w.id for _, works in stages for w in works), plan.hash)
        needed = {w.group for _, works in stages for w in works if w.id not in have}
        fleet = RayFleet(
            ray,
            root.url,
            {name: group for name, group in groups.items() if name in needed},
            start_timeout=e.start_timeout,
            on_actor=reporter.actor,
        )
        quarantined: dict[str, str] = {}
        try:
            for name, works in stages:
                reporter.stage(name, works)
                # what needs a piece that was quarantined is not tried
                lost = {_base_block(plan, w) for w in quarantined}
                with self._stop_signals.patience():
                    result = dispatch(
                        [w for w in works if _base_block(plan, w.id) not in lost],
                        fleet,
                        lambda work: read_record(root, work, plan.hash) is not None,
                        known=have,
                        attempts=e.attempts,
                        timeout=e.unit_timeout,
                        on_change=partial(reporter.change, name),
                        stop=self._stop,
                    )
                quarantined |= result.quarantined
            return quarantined
        finally:
            fleet.stop()

    def _stop(self) -> bool:
        self._check_lease()
        return self._stop_signals.stop_requested()

    def _analysis(self, blocks: list[Block], reporter: Reporter, scheduler: Any) -> None:
        """Run the registered analyses, in order, with the Dask scheduler given."""
        root, plan, network = self._root, self._plan, self._config.network
        requested = None if self._repair is None else set(self._repair.outputs)
        planned = steps(plan, blocks, network is not None, requested)
        # groups of their own: how long one took says nothing about the next
        works = [Work(a.name, a.name) for a in planned]
        reporter.stage(ANALYSIS, works)
        for work, analysis in zip(works, planned, strict=True):
            reporter.change(ANALYSIS, Change(work, "started"))
            started = time.monotonic()
            run_analysis(root, analysis, blocks, network, scheduler, requested, self._write)
            metrics = {"seconds": round(time.monotonic() - started, 3)}
            reporter.change(ANALYSIS, Change(work, "done", metrics=metrics))


def _base_block(plan: Plan, work: str) -> tuple[str, int]:
    name, category = block_of(work)
    return plan.model(name).base, category
