"""``python -m tests.fuzz.store_histories --n 200``: histories of the store, with tiny work.

As :mod:`tests.fuzz.histories`, at a tenth of the time: the driver, the dispatcher, attempts,
records, leases, the manifest, verify, repair and the checked readers are the product's, on real
Zarr and Parquet files. What computes is replaced: units write a few numbers, matrices add them up,
two analyses tabulate them, and the report is a line. A process dies of SIGKILL before any change of
a file, and a power cut takes what was not flushed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from octoscope.cluster import driver, repair
from octoscope.errors import DamagedRunError, InputError, OctoscopeError
from octoscope.results.run_results import Results
from octoscope.store.commits import Attempt
from octoscope.store.lease import Lease
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot

from tests.conftest import tables_of
from tests.fuzz import tiny_work
from tests.fuzz.damages import fault_of, faults
from tests.fuzz.file_deaths import cut_power, die_at, stamps_of
from tests.fuzz.run_history import RunHistory
from tests.here import here

DONE: Counter[str] = Counter()  # what was done, for the line at the end


class StoreHistory(RunHistory):
    """One run, what is known of it, and what may happen to it."""

    plans: dict[str, Path]  # planned runs, and finished ones, by what they keep
    reference: dict[str, str]  # tables of a run to which nothing happened
    page: bytes  # its report
    changes: int  # of files, in such a run
    done = DONE

    def __init__(self) -> None:
        super().__init__(next(iter(self.plans.values())).parent)
        self.code: int | None = None  # of a finished run
        self.sleepers: list[tuple[str, Attempt]] = []  # attempts whose workers were stopped

    root = property(lambda self: RunRoot(self.run))
    sealed = property(lambda self: self.code == 0)

    @initialize(begin=st.sampled_from(["none", "fp32", "none, finished", "fp32, finished"]))
    def begin(self, begin: str) -> None:
        if "finished" in begin:
            shutil.copytree(self.plans[begin], self.run)
            self.code = 0
        else:
            DONE["plan"] += 1
            assert tiny_work.plan(self.folder.parent, begin, self.run).returncode == 0

    @precondition(lambda self: not self.damaged)
    @rule(keep=st.sampled_from(["none", "fp32"]))
    def plan(self, keep: str) -> None:
        """Plan into the same place: what is there stays, and another configuration is refused."""
        DONE["plan again"] += 1
        before = self.content()
        kept = yaml.safe_load((self.run / "config.yaml").read_text())["keep_dense"]
        planned = tiny_work.plan(self.folder.parent, keep, self.run)
        assert planned.returncode == (0 if keep == kept else 2), planned.stderr
        assert self.content() == before

    # what a driver does

    def drive(self, failing: str = "") -> int:
        """Run the driver in this process; returns its exit code."""
        root = self.root
        plan = load_plan(root)
        had = {w for w in plan.works() if (self.run / w / "record.json").exists()}
        tiny_work.COMPUTED.clear()
        tiny_work.FAILING = failing
        code = driver.execute(root, plan, tiny_work.NOWHERE)
        if not self.damaged:  # only what has no record is computed, and nothing twice
            done = [w for w in tiny_work.COMPUTED if w != failing]
            assert len(done) == len(set(done))
            assert not had & set(done)
        return code

    def finished(self, code: int) -> None:
        """Note that the run is sealed, and compare it with the one to which nothing happened."""
        self.code = code
        self.records = {}
        if code == 0:
            assert tables_of(self.run) == self.reference
            known = json.loads((self.run / "manifest.json").read_text())["objects"]
            self.damaged = {n: what for n, what in self.damaged.items() if n in known}

    @precondition(lambda self: self.code != 0 and not self.damaged)
    @rule(shares=st.lists(st.floats(0, 1), min_size=1, max_size=3))
    def kill(self, shares: list[float]) -> None:
        """Die before any change of a file, again and again."""
        for share in shares:
            if self.code != 0:
                DONE["killed"] += 1
                self.die(share, None)

    @precondition(lambda self: self.code != 0 and not self.damaged)
    @rule(share=st.floats(0, 1), number=st.integers(0, 99))
    def lose_power(self, share: float, number: int) -> None:
        """Die before any change of a file, and lose what was not flushed."""
        DONE["power cut"] += 1
        self.die(share, Random(number))

    def die(self, share: float, lost: Random | None) -> None:
        before = stamps_of(self.run)
        nth = 1 + int(share * self.changes)
        death = die_at(lambda: sys.exit(self.drive()), self.run, nth)
        if not death.died:  # there was less to do
            assert death.ended.code == 0, death.ended.stderr
            self.finished(0)
            return
        torn = cut_power(self.run, before | death.flushed, lost) if lost else []
        self.keep_records()
        success = self.run / "_SUCCESS"
        self.code = json.loads(success.read_text())["exit_code"] if success.exists() else None
        self.note_torn(torn)
        if self.code == 0:  # it died while it took away scratch
            self.finished(0)

    def note_torn(self, torn: list[str]) -> None:
        """Know which torn files belong to the run: those that a record, or the manifest, lists."""
        known: dict[str, Any] = {}
        if self.code is None:
            for raw in self.records.values():
                known |= json.loads(raw)["objects"]
        else:
            known = json.loads((self.run / "manifest.json").read_text())["objects"]
        for name in torn:
            # Only chunks of arrays may be lost: all else is flushed before it has its name.
            assert ".zarr/" in name or name.endswith(".partial"), name
            if name in known:
                self.damaged[name] = fault_of(self.run / name, known[name]["bytes"])
                DONE["chunk torn"] += 1

    @precondition(lambda self: self.code != 0)
    @rule()
    def resume(self) -> None:
        DONE["resume"] += 1
        if self.damaged and self.code is None:
            self.resume_damaged()
            return
        assert self.drive() == 0
        self.keep_records()
        self.finished(0)
        assert faults(self.root) == self.damaged

    def resume_damaged(self) -> None:
        """Resume where chunks were lost: never with other tables; then repair."""
        with suppress(OctoscopeError):
            code = self.drive()
            self.finished(code)
            assert faults(self.root).items() <= self.damaged.items()
        self.repair(0.0)

    @precondition(lambda self: self.code is None and not self.damaged)
    @rule(nth=st.integers(0, 99))
    def fail(self, nth: int) -> None:
        """A piece of work fails each time: the rest is finished, and it is named."""
        plan = load_plan(self.root)
        works = [w for w in plan.works() if not (self.run / w / "record.json").exists()]
        if not works:
            return
        DONE["piece that fails"] += 1
        failing = works[nth % len(works)]
        assert self.drive(failing) == 3
        assert failing in json.loads((self.run / "_SUCCESS").read_text())["quarantined"]
        self.keep_records()
        self.finished(3)

    @precondition(lambda self: self.code == 0)
    @rule(share=st.floats(0, 1), killed=st.booleans())
    def repair_sealed(self, share: float, killed: bool) -> None:
        self.repair(share if killed else 0.0)

    def repair(self, share: float) -> None:
        """Repair, after a repair that was killed if ``share`` is more than 0."""
        DONE["killed repair" if share else "repair"] += 1
        nth = 1 + int(share * self.changes)
        tiny_work.FAILING = ""
        if share:
            death = die_at(lambda: repair.repair_run(self.root, tiny_work.NOWHERE), self.run, nth)
            assert death.died or death.ended.code == 0, death.ended.stderr
        repair.repair_run(self.root, tiny_work.NOWHERE)
        driver.execute(self.root, load_plan(self.root), tiny_work.NOWHERE)  # of unfinished runs
        self.damaged = {}
        self.finished(0)
        assert faults(self.root) == {}

    # what others do

    def second_driver(self) -> None:
        """While a driver holds the run another one is refused, and changes nothing."""
        before = self.content()
        with Lease(self.root, 60):
            for call in (
                lambda: driver.execute(self.root, load_plan(self.root), tiny_work.NOWHERE),
                lambda: repair.repair_run(self.root, tiny_work.NOWHERE),
            ):
                with pytest.raises(InputError, match="works on this run"):
                    call()
        assert self.content() == before

    @precondition(lambda self: self.code is None)
    @rule(nth=st.integers(0, 99))
    def sleep(self, nth: int) -> None:
        """A worker writes its data and is stopped before its record."""
        plan = load_plan(self.root)
        work = plan.units[nth % len(plan.units)].work
        if not (self.run / work / "record.json").exists():
            DONE["sleeper"] += 1
            attempt = Attempt(self.root, work)
            attempt.write("sums", b"of a sleeper")
            self.sleepers.append((str(self.run), attempt))

    @precondition(lambda self: self.sleepers)
    @rule()
    def wake(self) -> None:
        """The sleeper commits; its record loses if there is another."""
        run, attempt = self.sleepers.pop()
        record = Path(run) / attempt.work / "record.json"
        if run != str(self.run) or not record.exists():
            return
        DONE["sleeper woke"] += 1
        raw = record.read_bytes()
        won = attempt.commit(load_plan(self.root).hash, {})
        assert won.attempt != attempt.name
        assert record.read_bytes() == raw
        assert not (Path(run) / attempt.folder).exists()

    @rule()
    def report(self) -> None:
        """Write the report elsewhere: that of a sound run, or a refusal that names the damage."""
        DONE["report"] += 1
        tiny_work.forget()
        page = self.folder / f"report{DONE['report']}.html"
        done = here("report", str(self.run), "--out", str(page))
        if done.returncode == 0:
            assert self.code == 3 or (self.code == 0 and page.read_bytes() == self.page)
        else:
            assert done.returncode == 1 and not page.exists()  # noqa: PT018
            assert self.code is None or any(name in done.stderr for name in self.damaged)

    @rule(what=st.sampled_from(["verify", "read", "status", "second driver", "finished"]))
    def look(self, what: str) -> None:
        DONE[what] += 1
        if what == "verify":
            assert faults(self.root) == self.damaged
        elif what == "status":  # which never needs what is damaged
            done = here("status", str(self.run))
            assert done.returncode == 0, done.stderr
        elif what == "finished" and self.code == 0:
            assert self.drive() == 0
            assert tiny_work.COMPUTED == []
        else:
            self.read() if what == "read" else self.second_driver()

    def read(self) -> None:
        """Each part is as it was written, or the reader names what is wrong."""
        tiny_work.forget()
        if self.code is None:
            with pytest.raises(DamagedRunError, match="not finished"):
                Results.open(self.run)
            return
        results = Results.open(self.run)
        known = json.loads((self.run / "manifest.json").read_text())["objects"]
        for name in sorted(known):
            if name.startswith(("tables/", "topk/", "report/")):
                self.read_one(results, name)
        for name in self.damaged:
            self.read_one(results, name)

    def read_one(self, results: Results, name: str) -> None:
        root = results._root
        if name in self.damaged:
            with pytest.raises(DamagedRunError, match=re.escape(name)):
                root.read(name)
        else:
            assert root.read(name) == (self.run / name).read_bytes()

    def content(self) -> dict[str, bytes]:
        files = (p for p in self.run.rglob("*") if p.is_file() and p.name != "lease.json")
        return {str(p): p.read_bytes() for p in files}


def one_of_each() -> None:
    """Do everything once: the first orders that hypothesis draws are short."""
    for keep in ("none", "fp32"):
        history = StoreHistory()
        history.begin(keep)
        history.plan("none")
        history.sleep(1)
        history.kill([0.2, 0.4])
        history.look("second driver")
        history.fail(7)
        history.look("read")
        history.report()
        if keep == "none":  # damage, and a piece that was quarantined: one repair does both
            history.damage_one(5, "flip")
            history.repair(0.0)
        else:
            history.resume()
        history.wake()
        for nth, how in enumerate(["flip", "remove", "add"]):
            history.damage_one(20 * nth, how)
        history.look("verify")
        history.look("read")
        history.move(copied=True)
        history.repair_sealed(0.3, killed=True)
        for nth in range(200):  # every object, and more than there are: each is named
            history.damage_one(nth, "flip")
        history.look("verify")
        history.report()
        history.repair_sealed(0.0, killed=False)
        history.teardown()


def run_histories(n: int, number: int, steps: int, shrink: bool) -> None:
    """Run ``n`` sequences; raises AssertionError with the steps of one that fails."""
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a flush costs nothing there
    with (
        tempfile.TemporaryDirectory(prefix="store-histories-", dir=shared) as top,
        ExitStack() as on,
    ):
        StoreHistory.plans = tiny_work.plans(Path(top))
        on.enter_context(tiny_work.instead())
        plain = Path(top) / "plain"
        shutil.copytree(StoreHistory.plans["none"], plain)
        undisturbed = die_at(
            lambda: driver.execute(RunRoot(plain), load_plan(RunRoot(plain)), tiny_work.NOWHERE),
            plain, 0,
        )  # fmt: skip
        assert undisturbed.ended.code == 0, undisturbed.ended.stderr
        StoreHistory.reference, StoreHistory.changes = tables_of(plain), undisturbed.changes
        StoreHistory.page = (plain / "report/index.html").read_bytes()
        for keep, planned in list(StoreHistory.plans.items()):
            finished = planned.with_name(f"finished-{keep}")
            shutil.copytree(planned, finished)
            root = RunRoot(finished)
            assert driver.execute(root, load_plan(root), tiny_work.NOWHERE) == 0
            assert tables_of(finished) == StoreHistory.reference
            StoreHistory.plans[f"{keep}, finished"] = finished
        assert StoreHistory.reference
        one_of_each()
        options = settings(
            max_examples=n, stateful_step_count=steps, deadline=None, database=None,
            phases=(Phase.generate, Phase.shrink)[: 1 + shrink],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        run_state_machine_as_test(seed(number)(StoreHistory), settings=options)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.store_histories")
    parser.add_argument("--n", type=int, default=200, help="sequences")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=10, help="of a sequence, at most")
    parser.add_argument("--shrink", action="store_true", help="shorten a sequence that fails")
    given = parser.parse_args(words)
    started = time.monotonic()
    run_histories(given.n, given.seed, given.steps, given.shrink)
    used = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    did = ", ".join(f"{what} {n}" for what, n in sorted(DONE.items()))
    print(f"seed {given.seed}: {did}; nothing lost; {time.monotonic() - started:.0f} s, of CPU "
          f"{sum(u.ru_utime + u.ru_stime for u in used):.0f} s")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
