"""What a run of many units costs its driver: store calls, requests in flight, memory per unit."""

from __future__ import annotations

import gc
import sys
import threading
import time
import tracemalloc
import uuid
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest
from octoscope.cluster.dispatch import Outcome, Result, Work, dispatch
from octoscope.cluster.progress import Reporter, summary
from octoscope.json_values import to_json
from octoscope.run_plan import values as plans
from octoscope.run_plan.values import Plan
from octoscope.store.backends import AT_ONCE, LocalObjects
from octoscope.store.commits import (
    Attempt,
    done_among,
    each_record,
    read_record,
    record_path,
    sweep,
)
from octoscope.store.lease import Lease
from octoscope.store.plan_file import load_plan, save_plan
from octoscope.store.run_dir import RunRoot
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import dispatcher

UNITS = 2000


class Fleet:
    """64 actors that commit real records when they are waited for."""

    def __init__(self, root: RunRoot, plan: str) -> None:
        self.root, self.plan = root, plan
        self.running: list[tuple[Work, str]] = []
        self.waiting = [f"g.{i}" for i in range(64)]

    def idle(self, group: str) -> list[str]:
        return self.waiting.copy()

    def submit(self, work: Work, actor: str, ahead: Work | None = None) -> None:
        self.waiting.remove(actor)
        self.running.append((work, actor))

    def wait(self, timeout: float) -> list[Outcome]:
        work = self.ended()
        Attempt(self.root, work.id).commit(self.plan, {})
        return [Outcome(work)]

    def ended(self) -> Work:
        work, actor = self.running.pop(0)
        self.waiting.append(actor)
        return work

    def abandon(self, work: Work) -> None:
        raise AssertionError


@pytest.fixture(scope="module")
def plan() -> Plan:
    return dispatcher.made_plan(UNITS)


@pytest.fixture
def stored_plan(plan: Plan) -> Iterator[tuple[RunRoot, Counter[str]]]:
    """A run in memory whose calls are counted."""
    root, counts = dispatcher.opened(f"memory://scale-{uuid.uuid4().hex}/run")
    save_plan(root, plan)
    counts.clear()
    yield root, counts
    fsspec.filesystem("memory").store.clear()


def drive(root: RunRoot, plan: Plan, **more: Any) -> Result:
    """Ask what is done and run the rest, as the driver does."""
    works = [Work(u.work, dispatcher.MODEL) for u in plan.units]
    return dispatch(
        works,
        Fleet(root, plan.hash),
        lambda work: read_record(root, work, plan.hash) is not None,
        known=done_among(root, (w.id for w in works), plan.hash),
        attempts=3,
        timeout=600,
        **more,
    )


def test_a_run_and_a_resume_ask_once_by_key_and_list_nothing(
    stored_plan: tuple[RunRoot, Counter[str]], plan: Plan
) -> None:
    root, counts = stored_plan
    assert len(drive(root, plan).done) == UNITS
    # driver: is it done? actor: create the record, read who won
    assert counts == {"get": 2 * UNITS, "create": UNITS}
    counts.clear()
    assert len(drive(root, plan).existing) == UNITS
    assert counts == {"get": UNITS}
    root.remove([record_path(u.work) for u in plan.units[::100]])
    counts.clear()
    result = drive(root, plan)
    assert (len(result.existing), len(result.done)) == (UNITS - 20, 20)
    assert counts == {"get": UNITS + 20, "create": 20}


def test_lease_and_progress_cost_by_time_and_not_by_unit(
    stored_plan: tuple[RunRoot, Counter[str]], plan: Plan
) -> None:
    root, counts = stored_plan
    n = UNITS // 4
    some = plan.model_copy(update={"units": plan.units[:n]})
    with Lease(root, 600), Reporter(root, Console(quiet=True)) as reporter:
        reporter.stage("attention", [Work(u.work, dispatcher.MODEL) for u in some.units])
        drive(root, some, on_change=partial(reporter.change, "attention"))
    beside = counts - Counter(get=2 * n, create=n)
    assert 0 < beside.total() < n / 20


def with_objects(root: RunRoot, plan: Plan, works: list[str], objects: int) -> None:
    """Write records that list objects, as those of real units do."""
    for work in works:
        listed = {
            f"{work}/attempt-{'0' * 32}/sums.zarr/layer_{i:03d}/c/0": {
                "bytes": i, "sha256": f"{i:064d}"
            }
            for i in range(objects)
        }  # fmt: skip
        root.create_once(record_path(work), to_json({
            "schema": "octoscope-record/1", "work": work, "attempt": f"attempt-{'0' * 32}",
            "plan": plan.hash, "objects": listed, "facts": {},
        }))  # fmt: skip


def grown(call: Callable[[], Any], units: int = UNITS) -> tuple[float, float]:
    """Return the bytes per unit that a call's result holds, and its peak: the least of three.

    The whole process is measured, in which threads of earlier tests may allocate.
    """
    sizes = []
    for _ in range(3):
        gc.collect()
        tracemalloc.start()
        try:
            kept = call()
            sizes.append(tracemalloc.get_traced_memory())
            del kept
        finally:
            tracemalloc.stop()
    retained, peak = (min(column) for column in zip(*sizes, strict=True))
    return retained / units, peak / units


def test_memory_per_unit_is_that_of_names_whatever_a_record_holds(
    stored_plan: tuple[RunRoot, Counter[str]], plan: Plan
) -> None:
    root, _ = stored_plan
    n = UNITS // 2
    works = [u.work for u in plan.units[:n]]
    with_objects(root, plan, works, 10)
    whole, _ = grown(lambda: list(each_record(root, works, plan.hash)), n)
    assert whole > 4000  # what it is about
    retained, peak = grown(lambda: done_among(root, works, plan.hash), n)
    assert retained < 200
    assert peak < 2000  # with what is in flight
    _, peak = grown(lambda: sum(1 for _ in each_record(root, works, plan.hash)), n)
    assert peak < 2000


def test_a_loaded_plan_takes_a_few_hundred_bytes_per_unit(
    stored_plan: tuple[RunRoot, Counter[str]], plan: Plan
) -> None:
    retained, _ = grown(lambda: load_plan(stored_plan[0]))
    assert retained < 500
    assert (stored_plan[0].size("plan.json") or 0) / UNITS < 200


def test_the_dispatcher_holds_little_beside_the_names(plan: Plan) -> None:
    class Nothing(Fleet):
        def wait(self, timeout: float) -> list[Outcome]:
            return [Outcome(self.ended())]

    works = [Work(u.work, "g") for u in plan.units]
    fleet = Nothing(RunRoot("memory://nothing"), "")
    retained, peak = grown(
        lambda: dispatch(works, fleet, lambda _: False, known=set(), attempts=3, timeout=9)
    )
    assert retained < 100
    assert peak < 400


class Meeting(LocalObjects):
    """Answers a read once as many wait for theirs as may be in flight."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.barrier = threading.Barrier(AT_ONCE, timeout=20)

    def read(self, name: str) -> bytes | None:
        self.barrier.wait()
        return super().read(name)


@pytest.mark.parametrize("what", ["done", "sweep"])
def test_many_gets_are_in_flight_at_once(what: str, tmp_path: Path) -> None:
    root = RunRoot(tmp_path, Meeting(tmp_path))
    works = [f"units/u{i}" for i in range(3 * AT_ONCE)]
    if what == "done":
        assert done_among(root, works, "plan") == set()
    else:
        assert sweep(root, "plan", [f"{w}/attempt-1/sums" for w in works]) == len(works)


def test_s3_keeps_a_connection_for_each_and_the_users_own_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def settings() -> Mapping[str, Any]:
        objects: Any = RunRoot("s3://nowhere/run").objects
        return dict(objects.system.config_kwargs)

    assert settings() == {"max_pool_connections": AT_ONCE}
    own = {"s3": {"addressing_style": "path"}}
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": own})
    assert settings() == {"max_pool_connections": AT_ONCE, **own}


def test_what_follows_from_a_plan_is_derived_once_and_again_for_a_changed_copy(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, expected = [], plan.hash  # hashed before calls are counted
    real = plans.hash_json
    monkeypatch.setattr(plans, "hash_json", lambda body: calls.append(1) or real(body))
    fresh = Plan.model_validate(plan.model_dump(mode="json"))
    assert {fresh.hash for _ in range(5)} == {expected}
    assert len(calls) == 1
    name = dispatcher.MODEL
    for category, half in ((0, 0), (3, 1), (99, 0)):
        by_hand = [u for u in fresh.units if (u.category, u.half) == (category, half)]
        assert fresh.units_of(name, category, half) == by_hand
    short = fresh.model_copy(update={"units": fresh.units[:3]})
    assert short.units_of(name, 0, 0) == fresh.units[:3]
    assert not short.units_of(name, 1, 0)
    assert short.hash != fresh.hash
    assert fresh == plan  # what is derived takes no part


def test_status_believes_a_driver_at_work_and_asks_the_store_without_one(
    plan: Plan, stored_plan: tuple[RunRoot, Counter[str]]
) -> None:
    root, counts = stored_plan
    for unit in plan.units[:3]:
        Attempt(root, unit.work).commit(plan.hash, {})
    stages = {
        "attention, a": {"done": 40},
        "attention, b + c": {"done": 2},
        "matrices": {"done": 9},
    }

    def status_line(status: str, ago: float) -> str:
        seen = {"status": status, "updated": time.time() - ago, "stages": stages}
        root.replace("progress.json", to_json(seen))
        counts.clear()
        return str(summary(root)["units"])

    assert status_line("running", 1) == f"42 of {UNITS} committed or more, says the driver"
    assert counts["get"] < 100
    for status, ago in (("running", 3600), ("stopped", 1)):
        assert status_line(status, ago) == f"3 of {UNITS} committed"
        assert counts["get"] >= UNITS


def test_the_benchmark_runs_small() -> None:
    figures = dispatcher.main(Namespace(units=300, actors=8, hosts=2, store="memory", latency=0))
    assert figures["first"]["actor_calls_per_unit"]["create"] == 1
    assert figures["resume"]["driver_calls"]["get"] < 1.1 * 300
    assert set(figures["ratios"]) == {"run_of_roofline", "resume_of_roofline"}
