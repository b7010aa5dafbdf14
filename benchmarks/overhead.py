"""Ray against plain processes: the same units, the same runners, the same store, in one job.

    python benchmarks/overhead.py [--cells 200000] [--categories 16] [--panel 256]
        [--expressed 2000] [--take 2] [--turn 1] [--memory 2.5GB]

A synthetic atlas larger than the memory limit (``RLIMIT_DATA`` of every worker process) is read by
scGPT's demonstration checkpoint on a panel of genes, zeros included, one layer, one torch thread.
Two pools are there all the time and take turns of ``--turn`` categories, the first alternating:
Ray actors behind the real dispatcher, and plain processes that have the units dealt out beforehand.
Each commits to a run directory of its own; the records must agree.

Times are from the first unit handed out to the last one back; starting the pools is told apart.
``overhead``: Ray over plain with two of each, from the sums. ``efficiency``: one actor's seconds
over twice those of two actors, on the first turns; ``efficiency_plain`` the same of plain
processes, which is what the machine itself allows. ``cpu``: seconds of CPU of a pool's processes,
of this one (the driver) and of all others below it (Ray's own, the other pool) during the pool's
turns; ``unit_seconds``: the units' own seconds, committing not counted.

At the end of a turn one of two idles for half a unit on average, whoever hands them out: long turns
(42 units) tell what handing out costs. ``overhead_interval``: 95 % of bootstrap means over turns.
One JSON line last.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import queue
import statistics
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import synthetic_atlas
import zarr
from octoscope.cluster.connect import ray_cluster
from octoscope.cluster.dispatch import Work, dispatch
from octoscope.cluster.fleet import Group, RayFleet
from octoscope.config import RunConfig
from octoscope.config.byte_sizes import parse_bytes
from octoscope.demo.demo import data
from octoscope.models import load_model
from octoscope.planning.freeze import prepare
from octoscope.planning.frozen_config import run_config
from octoscope.run_plan.values import Plan
from octoscope.store.commits import each_record, read_record
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot

MODEL = "panel"


def configuration(atlas: Path, panel: int, unit_cells: int, take: int) -> RunConfig:
    checkpoint = data("checkpoints/scgpt-demo")
    model = load_model(str(checkpoint), family="scgpt", device="cpu")
    listed = set(synthetic_atlas.genes_of(20_000).ensembl)
    genes = [g for g in map(str, model.genes.ensembl) if g in listed][:panel]
    assert len(genes) == panel, f"the checkpoint has {len(genes)} of the atlas's genes"
    recipe = {"recipe": "preprocessor", "include_zero_gene": True, "filter_gene_by_counts": 0}
    return RunConfig.model_validate({
        "atlas": {"path": str(atlas), "category_key": ["cell_type"],
                  "categories": [f"type {i:02d}" for i in range(take + 1)]},
        "models": [{
            "name": MODEL, "family": "scgpt", "path": str(checkpoint), "tokens": "panel",
            "panel": "panel", "layers": [0], "options": recipe,
        }],
        "gene_sets": [{"name": "panel", "genes": genes}],
        "accumulate": "panel", "views": ["marginal"], "top_k": 1000,
        "execution": {"threads": 1, "unit_cells": unit_cells, "device": "cpu",
                      "advanced": {"readers": 1}},
    })  # fmt: skip


def plain(run: str, orders: Any, answers: Any) -> None:
    """A plain process: units in the order in which they come, the next one known."""
    from octoscope.extract.unit_work import UnitRunner

    root = RunRoot(run)
    plan, config = load_plan(root), run_config(root)
    zarr.config.set({"threading.max_workers": config.execution.advanced.readers})  # as actors do
    runner = UnitRunner(root, plan, config, MODEL)
    by_id = {u.id: u for u in plan.units}
    answers.put("ready")
    while (units := orders.get()) is not None:
        for i, unit in enumerate(units):
            following = by_id[units[i + 1]] if i + 1 < len(units) else None
            runner.run(by_id[unit], 0, following)
        answers.put("done")


class Pool(ABC):
    """Processes that compute units."""

    pids: list[int]

    @abstractmethod
    def seconds(self, units: list[str]) -> float:
        """Return the seconds from the first unit handed out to the last one back."""

    @abstractmethod
    def stop(self) -> None:
        """End them."""

    def limit(self, data: int) -> None:
        """Bound what each may allocate from now on."""
        for pid in self.pids:
            psutil.Process(pid).rlimit(psutil.RLIMIT_DATA, (data, data))

    def peak(self) -> int:
        """Return the most that one had resident, in bytes."""
        return max(resident_peak(pid) for pid in self.pids)


class Plain(Pool):
    """Plain processes."""

    def __init__(self, run: str, n: int) -> None:
        started = time.perf_counter()
        spawn = multiprocessing.get_context("spawn")
        self._answers = spawn.Queue()
        self._orders = [spawn.Queue() for _ in range(n)]
        self._all = [
            spawn.Process(target=plain, args=(run, o, self._answers)) for o in self._orders
        ]
        for process in self._all:
            process.start()
        self.pids = [p.pid for p in self._all if p.pid]
        self._wait()
        self.start_seconds = time.perf_counter() - started

    def seconds(self, units: list[str]) -> float:
        """Compute units, dealt out in turn."""
        started = time.perf_counter()
        for i, orders in enumerate(self._orders):
            orders.put(units[i :: len(self._orders)])
        self._wait()
        return time.perf_counter() - started

    def _wait(self) -> None:
        """Wait for one answer of each process."""
        n_waiting = len(self._all)
        while n_waiting:
            try:
                self._answers.get(timeout=5)
                n_waiting -= 1
            except queue.Empty:
                assert all(p.is_alive() for p in self._all), "a plain process died"

    def stop(self) -> None:
        for orders in self._orders:
            orders.put(None)
        for process in self._all:
            process.join()


class Actors(Pool):
    """Ray actors behind the dispatcher."""

    def __init__(self, ray: Any, root: RunRoot, plan: Plan, n: int) -> None:
        started = time.perf_counter()
        self.pids: list[int] = []
        self._root, self._plan, self._started = root, plan, 0
        self._fleet = RayFleet(
            ray, root.url, {MODEL: Group(MODEL, n)}, start_timeout=300, on_actor=self._note
        )
        while self._started < n:
            self._fleet.wait(1)
        self.start_seconds = time.perf_counter() - started

    def _note(self, name: str, what: str, process: dict[str, Any]) -> None:
        if what == "started":
            self._started += 1
            self.pids.append(process["pid"])

    def seconds(self, units: list[str]) -> float:
        """Compute units through the dispatcher."""
        started = time.perf_counter()
        result = dispatch(
            [Work(f"units/{u}", MODEL) for u in units],
            self._fleet,
            lambda work: read_record(self._root, work, self._plan.hash) is not None,
            attempts=1,
            timeout=3600,
        )
        assert len(result.done) == len(units), result.quarantined
        return time.perf_counter() - started

    def stop(self) -> None:
        self._fleet.stop()


def resident_peak(pid: int) -> int:
    """Return the most that a process had resident, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise ValueError(pid)


def cpu_seconds(pool: Pool) -> np.ndarray:
    """Return seconds of CPU so far: of the pool's processes, of this one, of all others below."""
    used = np.zeros(3)
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            owner = 0 if process.pid in pool.pids else 1 if process == me else 2
            used[owner] += times.user + times.system
    return used


def same(a: RunRoot, b: RunRoot, works: list[str], plan: str) -> bool:
    """Tell whether two runs hold the same units, to the byte."""
    one, other = ({d.work: d for d in each_record(r, works, plan)} for r in (a, b))
    return all(
        {k[len(one[w].folder) :]: v for k, v in one[w].objects.items()}
        == {k[len(other[w].folder) :]: v for k, v in other[w].objects.items()}
        for w in works
    )


def nonzero(atlas: Path) -> int:
    """Return the counts of an atlas, each 8 bytes decoded with its gene."""
    return int(zarr.open_group(atlas, mode="r")["X/data"].shape[0])


def interval(ratios: list[float]) -> list[float] | None:
    """Return where the mean overhead of the turns lies (95 %, percentile bootstrap)."""
    if len(ratios) < 2:
        return None
    drawn = np.random.default_rng(0).choice(ratios, (10_000, len(ratios))).mean(1) - 1
    return [round(float(x), 4) for x in np.percentile(drawn, [2.5, 97.5])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cells", type=int, default=200_000)
    parser.add_argument("--expressed", type=int, default=2000)
    parser.add_argument("--categories", type=int, default=16)
    parser.add_argument("--take", type=int, default=2, help="categories that are computed")
    parser.add_argument("--turn", type=int, default=1, help="categories of a turn")
    parser.add_argument("--single", type=int, default=1, help="turns with one actor too")
    parser.add_argument("--panel", type=int, default=256)
    parser.add_argument("--unit-cells", type=int, default=1024)
    parser.add_argument("--memory", default="2.5GB")
    parser.add_argument("--atlas", help="an atlas that is there already")
    a = parser.parse_args()
    limit = int(parse_bytes(a.memory))
    with tempfile.TemporaryDirectory(prefix="octoscope-overhead-") as folder:
        atlas = Path(a.atlas or f"{folder}/atlas.zarr")
        if not atlas.exists():
            shape = synthetic_atlas.Shape(
                cells=a.cells, categories=a.categories, expressed=a.expressed
            )
            synthetic_atlas.write_zarr(atlas, shape)
        config = configuration(atlas, a.panel, a.unit_cells, a.take)
        took: dict[str, list[float]] = {n: [] for n in ("ray", "plain", "one", "plain one")}
        roots = {}
        for name in took:
            roots[name], plan = prepare(config, f"{folder}/{name}")
        by_category = [
            [u.id for h in (0, 1) for u in plan.units_of(MODEL, c, h)]
            for c in range(len(plan.categories))
        ]
        *measured, first_calls = by_category
        turns = [sum(measured[i : i + a.turn], []) for i in range(0, len(measured), a.turn)]
        cpu = {name: np.zeros(3) for name in ("ray", "plain")}
        with ray_cluster() as ray:
            pools: dict[str, Plain | Actors] = {
                "plain": Plain(roots["plain"].url, 2),
                "ray": Actors(ray, roots["ray"], plan, 2),
            }
            starts = {name: pool.start_seconds for name, pool in pools.items()}
            for pool in pools.values():
                pool.limit(limit)
            for pool in pools.values():  # the first calls compile
                pool.seconds(first_calls[:4])
            for i, turn in enumerate(turns):
                for name in ("ray", "plain") if i % 2 else ("plain", "ray"):
                    before = cpu_seconds(pools[name])
                    took[name].append(pools[name].seconds(turn))
                    cpu[name] += cpu_seconds(pools[name]) - before
                print(
                    f"turn {i}: {len(turn)} units, "
                    f"Ray {took['ray'][-1]:.1f} s, plain {took['plain'][-1]:.1f} s",
                    flush=True,
                )
            peaks = {name: pool.peak() for name, pool in pools.items()}
            driver = psutil.Process().memory_info().rss
            for pool in pools.values():
                pool.stop()
            for name in ("one", "plain one"):
                alone: Pool = (
                    Actors(ray, roots[name], plan, 1)
                    if name == "one"
                    else Plain(roots[name].url, 1)
                )
                alone.limit(limit)
                alone.seconds(first_calls[:2])
                took[name] = [alone.seconds(turn) for turn in turns[: a.single]]
                alone.stop()
        ratios = [r / p for r, p in zip(took["ray"], took["plain"], strict=True)]
        two, plain_two = (sum(took[name][: a.single]) for name in ("ray", "plain"))
        decoded = 8 * nonzero(atlas)
        done = [u.work for turn in turns for u in plan.units if u.id in turn]
        metrics = {
            name: [r.metrics for r in each_record(roots[name], done, plan.hash)]
            for name in ("ray", "plain")
        }
        waited = [f["wait_seconds"] / f["seconds"] for f in metrics["ray"]]
        print(json.dumps({
            "benchmark": "overhead",
            "cells": sum(sum(c.cells) for c in plan.categories[:-1]),
            "cells_of_atlas": a.cells,
            "units": len(done),
            "overhead": round(sum(took["ray"]) / sum(took["plain"]) - 1, 4),
            "overhead_per_turn": [round(r - 1, 4) for r in ratios],
            "overhead_median": round(statistics.median(ratios) - 1, 4),
            "overhead_interval": interval(ratios),
            "efficiency": round(sum(took["one"]) / (2 * two), 4) if two else None,
            "efficiency_plain":
                round(sum(took["plain one"]) / (2 * plain_two), 4) if plain_two else None,
            "cpu": {name: dict(zip(("pool", "driver", "others"), np.round(c, 2), strict=True))
                    for name, c in cpu.items()},
            "cells_per_second": round(sum(sum(c.cells) for c in plan.categories[:-1])
                                      / sum(took["ray"]), 1),
            "seconds": {name: round(sum(t), 2) for name, t in took.items()},
            "unit_seconds": {name: round(sum(f["seconds"] for f in of), 2)
                             for name, of in metrics.items()},
            "start_seconds": {name: round(t, 2) for name, t in starts.items()},
            "parity": same(roots["ray"], roots["plain"], done, plan.hash),
            "waited_for_data": round(statistics.mean(waited), 4),
            "atlas_bytes_decoded": decoded,
            "memory_limit": limit,
            "atlas_over_limit": round(decoded / limit, 2),
            "peak_resident": peaks | {"driver": driver},
        }))  # fmt: skip


if __name__ == "__main__":
    main()
