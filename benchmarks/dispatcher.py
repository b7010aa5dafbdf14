"""The dispatcher at scale: units without science through the real dispatcher, records and lease.

    python benchmarks/dispatcher.py [--units 100000] [--actors 64] [--store s3]

Fake actors load the plan and commit real records, as threads of a few processes beside the
driver's own, which is fresh in each phase: a first run; a resume with all done; one with 1 %
missing; the manifest. Calls of all processes are counted. The roofline is the same client asking
the same server for nothing else. ``--latency`` (ms) puts a proxy before the server that answers
that much later, as a distant store does. With ``--store memory`` all is one process, and its CPU
seconds and memory are not the driver's alone. Prints one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing import Pipe, get_context
from multiprocessing.connection import wait as ready_of
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psutil
from counted_store import opened, run_location, server_cpu
from measure import status
from octoscope.cluster.dispatch import Outcome, Work, dispatch
from octoscope.cluster.progress import Reporter
from octoscope.run_plan.settings import ResolvedSettings
from octoscope.run_plan.values import CategoryPlan, ModelPlan, Plan, Unit
from octoscope.store.backends import objects_at
from octoscope.store.commits import Attempt, done_among, each_record, read_record, record_path
from octoscope.store.lease import Lease
from octoscope.store.manifest import write_manifest
from octoscope.store.plan_file import load_plan, save_plan
from octoscope.store.run_dir import RunRoot
from rich.console import Console

FACTS = {"cells_used": 64, "cells_refused": [], "tokens": 9, "seconds": 0.1, "wait_seconds": 0.0}
CELLS, PER_HALF = 64, 100  # of a unit, and units of one half of a category
MODEL = "geneformer"


def made_plan(units: int) -> Plan:
    """Return a plan of one model and many units."""
    n = -(-units // (2 * PER_HALF))
    categories = [
        CategoryPlan(name=f"type {c}", cells=(6400, 6400), donors=None, min_cells=5)
        for c in range(n)
    ]
    model = ModelPlan(
        name=MODEL, base=MODEL, estimator="per_cell", heads="mean", projection=None, views=["raw"],
        family=MODEL, path="model", python=None, package="octoscope", digests={},
        checkpoint_bytes=0,
        options={}, input_genes=None, layers=[0], n_layers=1, n_heads=1, d=8, mass_columns=[],
        axis=["ENSG0"], symbols=["G0"], gene_sets={}, gene_sets_absent={}, dtype="float32",
        max_tokens=8, unit_cells=64, micro_batch=8, batch_cells=8, demonstration=True,
        gene_report={},
    )  # fmt: skip
    every = (
        Unit(
            id=f"{MODEL}.c{c:04d}.h{h}.{i:08d}",
            model=MODEL,
            category=c,
            half=h,
            start=i,
            stop=i + CELLS,
        )
        for c in range(n)
        for h in (0, 1)
        for i in range(0, PER_HALF * CELLS, CELLS)
    )
    return Plan(
        config_hash="0" * 64, settings=ResolvedSettings.model_validate(
            {"execution": {"advanced": {"working_set": "2GB"}}}
        ),
        atlas={}, network=None, categories=categories, refused_cells={}, models=[model],
        units=list(islice(every, units)), threads=1, versions={}, needs={},
    )  # fmt: skip


def host(conn: Any, url: str, actors: int) -> None:
    """Be several actors: commit what comes, tell of it; None ends it, and brings the counts."""
    root, counts = opened(url)
    started = time.perf_counter()
    plan = load_plan(root)
    conn.send(time.perf_counter() - started)
    loaded = time.process_time()
    todo: SimpleQueue[str | None] = SimpleQueue()
    lock = threading.Lock()

    def act() -> None:
        while (work := todo.get()) is not None:
            error: Exception | None = None
            try:
                Attempt(root, work).commit(plan.hash, FACTS)
            except Exception as met:  # noqa: BLE001  the dispatcher's to judge
                error = met
            with lock:
                conn.send((work, error))

    threads = [threading.Thread(target=act) for _ in range(actors)]
    for thread in threads:
        thread.start()
    while (work := conn.recv()) is not None:
        todo.put(work)
    for _ in threads:
        todo.put(None)
    for thread in threads:
        thread.join()
    conn.send((dict(counts), time.process_time() - loaded))


class Apart:
    """A call in a process of its own, or (``here``) in a thread, with a pipe to it."""

    def __init__(self, call: Callable[..., None], *args: Any, here: bool = False) -> None:
        self.conn, other = Pipe()
        start = threading.Thread if here else get_context("spawn").Process
        self._run = start(target=call, args=(other, *args))
        self._run.start()
        if not here:
            other.close()  # so that its death is an end of file

    def end(self) -> Any:
        """Return the last that it sends."""
        answer = self.conn.recv()
        self._run.join()
        return answer


class Hosts:
    """A fleet of fake actors, one answer per host and look."""

    def __init__(self, url: str, actors: int, hosts: int, here: bool) -> None:
        self._hosts = [Apart(host, url, actors // hosts, here=here) for _ in range(hosts)]
        self._running: dict[str, tuple[Work, str]] = {}
        self._at = {f"fake.{i}": h for i, h in enumerate(self._hosts * (actors // hosts))}
        self._idle = dict.fromkeys(self._at)
        self.load_seconds = max(h.conn.recv() for h in self._hosts)

    def idle(self, group: str) -> list[str]:
        return list(self._idle)

    def submit(self, work: Work, actor: str, ahead: Work | None = None) -> None:
        del self._idle[actor]
        self._running[work.id] = work, actor
        self._at[actor].conn.send(work.id)

    def wait(self, timeout: float) -> list[Outcome]:
        outcomes = []
        for conn in ready_of([h.conn for h in self._hosts], timeout):
            name, error = conn.recv()  # type: ignore[union-attr]
            work, actor = self._running.pop(name)
            self._idle[actor] = None
            outcomes.append(Outcome(work, error))
        return outcomes

    def abandon(self, work: Work) -> None:
        raise AssertionError(f"{work.id} hangs")

    def stop(self) -> tuple[Counter[str], float]:
        """Return what the actors asked of the store, and their CPU seconds."""
        for h in self._hosts:
            h.conn.send(None)
        ends = [h.end() for h in self._hosts]
        return sum((Counter(c) for c, _ in ends), Counter()), sum(s for _, s in ends)


def drive(conn: Any, url: str, actors: int, hosts: int, here: bool) -> None:
    """Run or resume as the driver does."""
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    root, counts = opened(url)
    times = [(time.perf_counter(), time.process_time())]

    def lap() -> dict[str, float]:
        times.append((time.perf_counter(), time.process_time()))
        (a, b), (c, d) = times[-2:]
        return {"seconds": c - a, "cpu": d - b}

    figures: dict[str, Any] = {"cores": psutil.cpu_count()}
    console = Console(file=open(os.devnull, "w"))  # noqa: SIM115
    with Lease(root, 600), Reporter(root, console) as reporter:
        plan = load_plan(root)
        works = [Work(u.work, MODEL) for u in plan.units]
        assert plan.hash
        figures["load"] = lap()
        have = done_among(root, [w.id for w in works], plan.hash)
        figures["ask"] = lap()
        figures["ask_counts"] = dict(counts)
        if len(have) < len(works):
            fleet = Hosts(url, actors, hosts, here)
            lap()
            reporter.stage("attention", works)
            result = dispatch(
                works,
                fleet,
                lambda work: read_record(root, work, plan.hash) is not None,
                known=have,
                attempts=3,
                timeout=600,
                on_change=partial(reporter.change, "attention"),
            )
            figures["run"] = lap()
            assert len(result.done) + len(have) == len(works), result.quarantined
            figures["actor_load_seconds"] = fleet.load_seconds
            figures["actor_counts"], figures["actor_cpu"] = fleet.stop()
    figures |= {"have": len(have), "driver_counts": dict(counts)}
    conn.send(figures | {"peak": status("VmHWM") - before})


def seal(conn: Any, url: str) -> None:
    """Write the manifest from the records, as the end of a run does."""
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    started = time.perf_counter()
    root = RunRoot(url)
    plan = load_plan(root)
    works = [u.work for u in plan.units]
    kept = {record_path(r.work): r.digest for r in each_record(root, works, plan.hash)}
    write_manifest(root, plan, kept)
    seconds = time.perf_counter() - started
    records = sum(d["bytes"] for d in kept.values()) / len(kept)
    conn.send({"seconds": seconds, "peak": status("VmHWM") - before, "record_bytes": records})


def client(conn: Any, url: str, names: list[str], threads: int) -> None:
    """Put and get through the client alone."""
    objects = objects_at(url)
    objects.read("none")  # connects
    conn.send(None)
    for call in (lambda n: objects.create(n, b"x" * 500), objects.read):
        conn.recv()  # all begin together
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(call, names))
        conn.send(None)
    conn.send(None)


def roofline(url: str, actors: int, hosts: int, n: int, here: bool) -> dict[str, float]:
    """Return creates and gets per second that ``hosts`` processes get of the store."""
    shares = [[f"{hosts}/{h}/{i}/record.json" for i in range(n // hosts)] for h in range(hosts)]
    runs = [Apart(client, f"{url}/client", s, actors // hosts, here=here) for s in shares]
    rates = {}
    for run in runs:
        run.conn.recv()
    for kind in ("create", "get"):
        started = time.perf_counter()
        for run in runs:
            run.conn.send(None)
        for run in runs:
            run.conn.recv()
        rates[kind] = n / (time.perf_counter() - started)
    for run in runs:
        run.end()
    return rates


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main(a: argparse.Namespace) -> dict[str, Any]:
    here = a.store == "memory"
    with run_location(a.store, a.latency) as base:
        url = f"{base}/run"
        root = RunRoot(url)
        plan = made_plan(a.units)
        save_plan(root, plan)
        raw = root.read("plan.json") or b""

        def phase(name: str) -> dict[str, Any]:
            busy = server_cpu()
            driven = Apart(drive, url, a.actors, a.hosts, here, here=here).end()
            ran = a.units - driven["have"]
            out: dict[str, Any] = {
                "load_plan_seconds": driven["load"]["seconds"],
                "ask_seconds": driven["ask"]["seconds"],
                "asked_per_second": a.units / driven["ask"]["seconds"],
                "driver_cpu_us_per_unit_asked": 1e6 * driven["ask"]["cpu"] / a.units,
                "driver_peak_mb": driven["peak"] / 1e6,
                "driver_calls": driven["driver_counts"],
                "driver_calls_per_unit": {k: v / a.units for k, v in driven["ask_counts"].items()},
            }
            if ran:
                out |= {
                    "units_per_second": ran / driven["run"]["seconds"],
                    "driver_cpu_us_per_unit_run": 1e6 * driven["run"]["cpu"] / ran,
                    "actor_cpu_us_per_unit": 1e6 * driven["actor_cpu"] / ran,
                    "actor_load_plan_seconds": driven["actor_load_seconds"],
                    "actor_calls_per_unit": {k: v / ran for k, v in driven["actor_counts"].items()},
                }
            out["server_cpu_seconds"] = server_cpu() - busy
            print(name, rounded(out), flush=True)
            return out

        n = min(a.units, 4000)
        actors = roofline(base, a.actors, a.hosts, n, here)
        driver = roofline(base, a.actors, 1, n, here)
        unit = 1 / (1 / actors["create"] + 1 / actors["get"])
        print("roofline", rounded({"actors": actors, "one process": driver}), flush=True)
        first = phase("first run")
        resume = phase("resume, all done")
        root.remove([record_path(u.work) for u in plan.units[::100]])
        again = phase("resume, 1 % missing")
        sealed = Apart(seal, url, here=here).end()
        sealed["bytes_per_unit"] = (root.size("manifest.json") or 0) / a.units
        return {
            "units": a.units,
            "actors": a.actors,
            "store": a.store,
            "latency_ms": a.latency,
            "plan": {"bytes": len(raw), "bytes_per_unit": len(raw) / a.units},
            "first": first,
            "resume": resume,
            "missing": again,
            "manifest": sealed,
            "roofline": {"actors": actors, "one_process": driver, "units_per_second": unit},
            "ratios": {
                "run_of_roofline": first["units_per_second"] / unit,
                "resume_of_roofline": resume["asked_per_second"] / driver["get"],
            },
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--actors", type=int, default=64)
    parser.add_argument("--hosts", type=int, default=2, help="processes that hold the actors")
    parser.add_argument("--store", choices=["s3", "folder", "memory"], default="s3")
    parser.add_argument("--latency", type=float, default=0, help="of the S3 server, ms")
    print(json.dumps(rounded(main(parser.parse_args()))))
