"""``python -m tests.fuzz.histories --n 200``: what may happen to a run, in any order.

A machine plans, kills, resumes, damages, verifies, repairs, copies, moves and reads one run, and a
model in memory says what each command must answer: which objects are damaged, whether the run is
finished, and that its tables have the bytes of a run to which nothing happened. Hypothesis draws
the orders and shortens one that fails. Commands run in children of this process, which die of real
signals; the workers of a run are objects of the child (:mod:`tests.here`).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.conftest import tables_of
from tests.fuzz.forked import Ended, command, forked, import_all
from tests.fuzz.run_history import RunHistory

POINTS = (
    "before-write@c0000.h0.00000004", "mid-layer@c0000.h1.00000000",
    "after-data@c0001.h0.00000000", "after-record@c0000.h0.00000000", "mid-reduce@c0001.l000",
    "mid-finalise@c0000.l000", "before-success",
)  # fmt: skip
DONE: Counter[str] = Counter()  # what was done, for the line at the end
KILLED = -9


def make_config(folder: Path) -> None:
    """Write 16 cells of two categories, and the configuration of a run of one layer."""
    from tests.conftest import small_tree
    from tests.fuzz.kinds import _zarr

    _zarr(3)(folder)
    tree: dict[str, Any] = small_tree(folder / "a.zarr")
    tree["models"][0]["layers"] = [1]
    tree["gene_sets"][0]["genes"] = tree["gene_sets"][0]["genes"][:20]
    tree |= {"min_cells": 2, "top_k": 20, "views": ["logit"], "keep_dense": "fp32"}
    del tree["network"]
    tree["execution"]["unit_cells"] = 4
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))


def octoscope(*arguments: str, crash: str = "") -> Ended:
    """Run a command in a child; ``crash``: the point at which it dies of SIGKILL."""

    def call() -> None:
        from tests.here import without_ray

        os.environ["OCTOSCOPE_CRASH_AT"] = crash
        os.environ["OCTOSCOPE_DRIVER_PID"] = str(os.getpid())
        with without_ray():
            command(*arguments)()

    return forked(call, cpu=120, wall=600)


class History(RunHistory):
    """One run, what is known of it, and what may happen to it."""

    top: Path  # configuration and the run to which nothing happened
    reference: dict[str, str]
    done = DONE

    def __init__(self) -> None:
        super().__init__(self.top)
        self.sealed = False

    def teardown(self) -> None:
        super().teardown()
        if DONE["sequences"] % 10 == 0:  # what was done before a campaign is stopped
            print(done(), file=sys.stderr, flush=True)

    def ask(self, *arguments: str, crash: str = "") -> Ended:
        """Run a command on the run; anything but an answer is a failure."""
        DONE[f"{arguments[0]}, killed" if crash else arguments[0]] += 1
        ended = octoscope(*arguments, crash=crash)
        assert "Traceback" not in ended.stderr, ended.stderr
        assert not ended.hung or ended.code == KILLED, arguments
        return ended

    def require_sound(self) -> None:
        """Compare a finished run with the one to which nothing happened."""
        assert tables_of(self.run) == self.reference
        self.sealed, self.damaged = True, {}

    @initialize()
    def plan(self) -> None:
        config = str(self.top / "config.yaml")
        assert self.ask("plan", config, "--out", str(self.run), "--no-calibrate").code == 0

    @precondition(lambda self: not self.sealed)
    @rule(point=st.sampled_from(POINTS))
    def kill(self, point: str) -> None:
        ended = self.ask("resume", str(self.run), crash=point)
        assert ended.code in (KILLED, 0), ended.stderr
        if ended.code == 0:  # the work of that point was done before
            self.require_sound()
        else:
            assert not (self.run / "_SUCCESS").exists()
            self.keep_records()

    @rule()
    def resume(self) -> None:
        ended = self.ask("resume", str(self.run))
        assert ended.code == 0, ended.stderr
        if not self.sealed:
            self.keep_records()
            self.require_sound()

    @rule()
    def verify(self) -> None:
        ended = self.ask("verify", str(self.run), "--json")
        faults = {f["object"]: f["what"] for f in json.loads(ended.stdout)}
        assert faults == self.damaged
        assert ended.code == int(bool(self.damaged))

    @precondition(lambda self: self.sealed)
    @rule(point=st.sampled_from(["", "", *POINTS]))
    def repair(self, point: str) -> None:
        ended = self.ask("repair", str(self.run), crash=point)
        if ended.code == KILLED:
            ended = self.ask("repair", str(self.run))
        assert ended.code == 0, ended.stderr
        self.require_sound()

    @rule(what=st.sampled_from(["report", "status", "export"]))
    def read(self, what: str) -> None:
        out = ["--out", str(self.folder / "e.tsv"), "--force"] if what == "export" else []
        ended = self.ask(what, str(self.run), *out)
        if what == "status" or (self.sealed and not self.damaged):
            assert ended.code == 0, ended.stderr
        elif not self.sealed:
            assert ended.code == 1
        else:  # what it reads may be sound, but what is damaged is never shown
            assert ended.code in (0, 1)
            assert ended.code == 1 or what != "report" or "report/index.html" not in self.damaged


def one_of_each() -> None:
    """Do everything once: the first orders that hypothesis draws are short."""
    history = History()
    history.plan()
    history.kill("mid-layer@c0000.h1.00000000")
    history.move(copied=False)
    history.kill("before-success")
    history.verify()
    history.resume()
    history.damage_one(3, "flip")
    history.damage_one(40, "remove")
    history.damage_one(0, "add")
    history.verify()
    history.read("report")
    history.read("export")
    history.move(copied=True)
    history.repair("before-success")
    history.teardown()


def run_histories(n: int, number: int, steps: int) -> None:
    """Run ``n`` sequences; raises AssertionError with the commands of one that fails."""
    import_all()
    with tempfile.TemporaryDirectory(prefix="histories-") as top:
        History.top = Path(top)
        completed = forked(lambda: make_config(Path(top)), cpu=60, wall=300)
        assert completed.code == 0, completed.stderr
        plain = Path(top) / "plain"
        completed = octoscope("run", str(Path(top) / "config.yaml"), "--out", str(plain))
        assert completed.code == 0, completed.stderr
        History.reference = tables_of(plain)
        assert History.reference
        one_of_each()
        phases = (Phase.generate, Phase.shrink)
        options = settings(
            max_examples=n, stateful_step_count=steps, deadline=None, database=None, phases=phases,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        run_state_machine_as_test(seed(number)(History), settings=options)


def done() -> str:
    """Return what was done so far in one line."""
    return ", ".join(f"{what} {n}" for what, n in sorted(DONE.items()))


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.histories")
    parser.add_argument("--n", type=int, default=200, help="sequences")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=8, help="of a sequence, at most")
    given = parser.parse_args(words)
    started = time.monotonic()
    run_histories(given.n, given.seed, given.steps)
    used = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(f"seed {given.seed}: {done()}; nothing lost; {time.monotonic() - started:.0f} s, of CPU "
          f"{sum(u.ru_utime + u.ru_stime for u in used):.0f} s")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
