"""A run from plan to ``_SUCCESS``: the stages in order, each restartable."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from engine import __version__
from engine.cluster import analyse
from engine.cluster.connect import ray_cluster
from engine.cluster.dispatch import Work, dispatch
from engine.cluster.fleet import RayFleet
from engine.cluster.graphs import ray_scheduler
from engine.cluster.planner import make_plan, plan_run, result_fields
from engine.cluster.progress import Reporter
from engine.config import RunConfig, dump_config, load_config
from engine.errors import InputError, OctoscopeError
from engine.store.crash import crash_point
from engine.store.manifest import require_success, tracked, write_manifest
from engine.store.plan import Plan, block_of, differences, load_plan, save_plan
from engine.store.records import read_record, sweep
from engine.store.root import RunRoot, to_json
from engine.store.tables import VOCABULARY, write_table

DONE, SET_ASIDE = 0, 3


def prepare(config: RunConfig, run: str) -> tuple[RunRoot, Plan]:
    """Plan a run and freeze configuration and plan in its directory.

    A directory that already holds the same plan is accepted, so that a job can be submitted twice.

    Raises
    ------
    InputError
        If the input cannot be used, or the directory holds something else.
    """
    root = RunRoot(run)
    if root.exists("config.yaml"):
        present = load_config(root.at("config.yaml"))
        changed = differences(result_fields(present), result_fields(config))
        if changed:
            raise InputError(
                f"{root.path}",
                f"holds a run of another configuration; it differs in {', '.join(changed[:8])}",
                "run into a new directory, or use `octoscope resume`",
            )
        return root, replan(root)
    if root.path.exists() and (root.path.is_file() or any(root.path.iterdir())):
        raise InputError(str(root.path), "is not an empty directory", "choose another")
    plan, genes = plan_run(config, root.path)
    root.path.mkdir(parents=True, exist_ok=True)
    root.create_once("config.yaml", dump_config(config).encode())
    save_plan(root, plan)
    write_table(root, VOCABULARY, genes)
    return root, plan


def replan(root: RunRoot) -> Plan:
    """Check that inputs and versions are still those of the frozen plan, and return it.

    Raises
    ------
    InputError
        Naming what changed: a resumed run must equal an uninterrupted one.
    """
    if not root.exists("config.yaml"):
        raise InputError(str(root.path), "no config.yaml in it", "give a run directory")
    config = load_config(root.at("config.yaml"))
    if not root.exists("plan.json"):  # stopped between the two files
        save_plan(root, make_plan(config, root.path))
    plan = load_plan(root)
    again, genes = plan_run(config, root.path, threads=plan.threads, check_fit=False)
    save_plan(root, again)
    if not root.exists(VOCABULARY):
        write_table(root, VOCABULARY, genes)
    return plan


def execute(
    root: RunRoot, plan: Plan, console: Console, *, stage: str = "all", address: str | None = None
) -> int:
    """Run every stage that is not done; returns the exit code.

    Parameters
    ----------
    stage
        ``attention`` (units, matrices), ``analysis`` (phase 2, overlap, report) or ``all``.

    Returns
    -------
    int
        0 done, 3 done with units set aside.

    Raises
    ------
    OctoscopeError
        If the analysis is asked for before the attention stage is done.
    """
    config = load_config(root.at("config.yaml"))
    if root.exists("_SUCCESS"):
        require_success(root)
        if not root.read_json("_SUCCESS")["set_aside"]:
            _remove_scratch(root, config)
            console.print(f"{root.path}: finished already")
            return _exit_code(root)
        # What was set aside may succeed now: its inputs were kept.
        root.at("_SUCCESS").unlink()
    with ray_cluster(address) as ray, Reporter(root, console) as reporter:
        if stage in ("all", "attention"):
            aside = _attention(ray, root, plan, config, reporter)
            root.replace("attention.json", to_json({"set_aside": aside}))
        done = root.read_json("attention.json")
        if done is None:
            raise OctoscopeError(f"{root.path}: the attention stage is not done; run it first")
        if stage in ("all", "analysis"):
            aside = done["set_aside"]
            blocks = analyse.finished_blocks(plan, set(aside))
            _analysis(root, plan, config, blocks, reporter, ray_scheduler())
            _finish(root, plan, config, aside)
    if root.exists("_SUCCESS"):
        return _exit_code(root)
    return SET_ASIDE if done["set_aside"] else DONE


def _attention(
    ray: Any, root: RunRoot, plan: Plan, config: RunConfig, reporter: Reporter
) -> dict[str, str]:
    """Units on model actors, reduction and phase 1 on CPU actors; returns what was set aside."""
    e = config.execution
    units = [Work(u.work, u.model) for u in plan.units]
    groups: dict[str, tuple[str | None, int]] = {m.name: (m.name, e.actors) for m in plan.bases}
    have = ray.cluster_resources()
    fits = e.actors * len(groups) * plan.threads <= have.get("CPU", 1)
    if have.get("GPU", 0) > 0 and e.device != "cpu":
        fits = fits and e.actors * len(plan.checkpoints) <= have["GPU"]
    aside: dict[str, str] = {}
    # All models at once where the cluster holds them, else one after the other.
    for names in [list(groups)] if fits else [[name] for name in groups]:
        part = [u for u in units if u.group in names]
        of = "" if fits else f", {names[0]}"
        spec = {name: groups[name] for name in names}
        means = [Work(w, block_of(w)[0]) for w in plan.residual_work() if block_of(w)[0] in names]
        todo = [(f"attention{of}", part)] + ([(f"mean cells{of}", means)] if means else [])
        aside |= _stage(ray, root, plan, config, reporter, todo, spec)
    readings = {(b.model, b.category) for b in analyse.finished_blocks(plan, set(aside))}
    bases = {(plan.model(m).base, c) for m, c in readings}  # whose pair counts they share
    stages = [
        ("pair counts", [Work(w, "cpu") for w in plan.pairs_work() if block_of(w) in bases]),
        ("matrices", [Work(w, "cpu") for w in plan.matrix_work() if block_of(w) in readings]),
    ]
    cpus, most = int(have.get("CPU", 1)), max(len(works) for _, works in stages)
    memory = int(have.get("memory", 0) // plan.needs["actor_bytes"])  # of the whole cluster
    n = max(1, min(cpus, most, memory))
    return aside | _stage(ray, root, plan, config, reporter, stages, {"cpu": (None, n)})


def _base_block(plan: Plan, work: str) -> tuple[str, int]:
    name, category = block_of(work)
    return plan.model(name).base, category


def _stage(
    ray: Any,
    root: RunRoot,
    plan: Plan,
    config: RunConfig,
    reporter: Reporter,
    stages: list[tuple[str, list[Work]]],
    groups: dict[str, tuple[str | None, int]],
) -> dict[str, str]:
    """Run stages one after the other on one fleet; returns what was set aside and why."""

    def is_done(work: str) -> bool:
        return read_record(root, work, plan.hash) is not None

    e = config.execution
    needed = {w.group for _, works in stages for w in works if not is_done(w.id)}
    fleet = RayFleet(
        ray,
        str(root.path),
        {g: spec for g, spec in groups.items() if g in needed},
        threads={g: plan.threads if model else 1 for g, (model, _) in groups.items()},
        gpu={m.name for m in plan.checkpoints}
        if ray.cluster_resources().get("GPU", 0) > 0 and e.device in ("auto", "cuda")
        else set(),
        start_timeout=e.start_timeout,
        python={m.name: m.python for m in plan.bases if m.python is not None},
    )
    aside: dict[str, str] = {}
    try:
        for name, works in stages:
            reporter.stage(name, len(works))
            # what needs a piece that was set aside is not tried
            lost = {_base_block(plan, w) for w in aside}
            result = dispatch(
                [w for w in works if _base_block(plan, w.id) not in lost],
                fleet,
                is_done,
                attempts=e.attempts,
                timeout=e.unit_timeout,
                on_change=lambda work, what, stage=name: reporter.change(stage, work, what),  # type: ignore[misc]
            )
            aside |= result.set_aside
        return aside
    finally:
        fleet.stop()


def _analysis(
    root: RunRoot,
    plan: Plan,
    config: RunConfig,
    blocks: list[analyse.Block],
    reporter: Reporter,
    scheduler: Any,
) -> None:
    """Join phase 1 tables, then phase 2 and overlap through Dask with the scheduler given."""
    steps = [
        ("tables", lambda: analyse.collect(root, plan, blocks, config.network)),
        ("layers", lambda: analyse.layers(root, plan, blocks, scheduler)),
    ]
    if config.network is not None:
        network = config.network
        steps.append(("overlap", lambda: analyse.overlap(root, plan, blocks, network, scheduler)))
    reporter.stage("analysis", len(steps))
    for name, step in steps:
        reporter.change("analysis", Work(name, "dask"), "started")
        step()
        reporter.change("analysis", Work(name, "dask"), "done")


def _finish(root: RunRoot, plan: Plan, config: RunConfig, set_aside: dict[str, str]) -> None:
    """Provenance, report, manifest, ``_SUCCESS``; scratch goes only after that.

    Where work was set aside, scratch stays, so that `resume` can try it again.
    """
    from engine.report.page import write_report  # matplotlib: only when it is needed

    if root.exists("_SUCCESS"):
        return  # another driver finished the same plan; its manifest must not be replaced
    sweep(root, plan.works(), plan.hash)
    for path in root.files():
        if path.endswith(".partial"):  # of a writer that was killed inside a write
            root.at(path).unlink(missing_ok=True)
    root.replace("run.json", to_json(_provenance(root, plan, config, set_aside)))
    write_report(root)
    kept = [f for f in root.files() if tracked(f)]
    if not set_aside:
        kept = [f for f in kept if not _is_scratch(f, config)]
    write_manifest(root, plan, kept)
    crash_point("before-success")
    success = {
        "manifest": root.digest("manifest.json"),
        "exit_code": SET_ASIDE if set_aside else DONE,
        "set_aside": sorted(set_aside),
    }
    root.create_once("_SUCCESS", to_json(success))
    if not set_aside:
        _remove_scratch(root, config)


def _is_scratch(path: str, config: RunConfig) -> bool:
    """Unit sums always; dense matrices unless they are kept. Commit records stay."""
    if path.endswith("record.json"):
        return False
    if path.startswith(("units/", "residuals/")):
        return True
    dense = path.startswith(("pairs/", "matrices/"))
    return dense and not (config.keep_dense == "fp32" and ".zarr/" in path)


def _remove_scratch(root: RunRoot, config: RunConfig) -> None:
    for path in root.files():
        if _is_scratch(path, config):
            root.at(path).unlink(missing_ok=True)
    for top in ("units", "residuals", "pairs", "matrices"):
        folders = sorted(root.at(top).rglob("*"), key=lambda p: -len(p.parts))
        for folder in folders:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _provenance(
    root: RunRoot, plan: Plan, config: RunConfig, set_aside: dict[str, str]
) -> dict[str, Any]:
    cells = []
    for m in plan.bases:
        for c, category in enumerate(plan.categories):
            units = [u for h in (0, 1) for u in plan.units_of(m.name, c, h)]
            records = [read_record(root, u.work, plan.hash) for u in units]
            facts = [r.facts for r in records if r is not None]
            cells.append(
                {
                    "model": m.name,
                    "category": category.name,
                    "selected": sum(category.cells),
                    "used": sum(f["cells_used"] for f in facts),
                    "refused": [x for f in facts for x in f["cells_refused"]],
                    "tokens": sum(f["tokens"] for f in facts),
                    "seconds": round(sum(f["seconds"] for f in facts), 3),
                    "wait_seconds": round(sum(f["wait_seconds"] for f in facts), 3),
                }
            )
    return {
        "schema": "octoscope-run/1",
        "octoscope": __version__,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "plan": plan.hash,
        "config": plan.config_hash,
        "seed": plan.seed,
        "atlas": plan.atlas,
        "network": plan.network,
        "checkpoints": {m.name: m.digests for m in plan.checkpoints},
        "versions": plan.versions,
        "machine": {"system": platform.system(), "arch": platform.machine()},
        "cells": cells,
        "cells_not_selected": plan.refused_cells,
        "genes": {m.name: m.gene_report for m in plan.checkpoints},
        "set_aside": set_aside,
    }


def _exit_code(root: RunRoot) -> int:
    success = root.read_json("_SUCCESS")
    return int(success["exit_code"])
