"""Any schedule of drivers, workers, deaths and zombies: one result per unit, and always the same.

The real dispatcher and the real records run under a hypothesis state machine; the model is a
table unit -> digest.
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from octoscope.cluster.dispatch import Outcome, Work, dispatch
from octoscope.digests import digest_of
from octoscope.errors import StoreFullError
from octoscope.store.commits import Attempt, read_record, record_path, sweep
from octoscope.store.run_dir import RunRoot

PLAN = "plan"
UNITS = [f"units/u{i}" for i in range(6)]
CONTENT = {unit: unit.encode() * 9 for unit in UNITS}  # a unit's bytes depend on the unit alone


class Killed(Exception):
    """The driver died."""


class Fleet:
    """Actors that run real attempts; what happens to each is drawn."""

    def __init__(self, machine: Schedules, draw: Any, actors: int, lives: int) -> None:
        self.machine, self.draw, self.actors, self.lives = machine, draw, actors, lives
        self.running: list[tuple[Work, Attempt]] = []
        self.now = 0.0

    def idle(self, group: str) -> list[str]:
        return [f"{group}.{i}" for i in range(self.actors - len(self.running))]

    def submit(self, work: Work, actor: str, ahead: Work | None = None) -> None:
        attempt = Attempt(self.machine.root, work.id)
        attempt.write("sums", CONTENT[work.id])
        self.running.append((work, attempt))
        self.machine.tries[work.id] = self.machine.tries.get(work.id, 0) + 1

    def wait(self, timeout: float) -> list[Outcome]:
        self.lives -= 1
        if not self.lives:
            raise Killed
        self.now += timeout
        if not self.running:
            return []
        at = self.draw(st.integers(0, len(self.running) - 1))
        how = self.draw(st.sampled_from(["ok", "lost answer", "fail", "zombie", "nothing", "full"]))
        if how == "nothing":
            return []
        work, attempt = self.running.pop(at)
        if how in ("ok", "lost answer"):
            attempt.commit(PLAN, {})
        if how == "zombie":  # reported dead; still writing
            self.machine.zombies.append(attempt)
        errors: dict[str, BaseException | None] = {
            "ok": None, "full": OSError(28, "No space left on device"),
        }  # fmt: skip
        return [Outcome(work, errors.get(how, ConnectionError("the actor died")))]

    def abandon(self, work: Work) -> None:
        """Kill the actor; it may have been past the point of no return."""
        for at, (running, attempt) in enumerate(self.running):
            if running == work:
                del self.running[at]
                self.machine.zombies.append(attempt)
                return


class Schedules(RuleBasedStateMachine):
    """Two drivers, one store."""

    @initialize()
    def begin(self) -> None:
        self.root = RunRoot(f"memory://schedules-{uuid.uuid4().hex}/run")
        self.zombies: list[Attempt] = []
        self.records: dict[str, bytes] = {}  # unit -> the record that was seen first
        self.tries: dict[str, int] = {}

    def run(self, fleet: Fleet, order: list[str]) -> Any:
        self.tries = {}
        return dispatch(
            [Work(u, "g") for u in order],
            fleet,
            lambda unit: read_record(self.root, unit, PLAN) is not None,
            attempts=3,
            timeout=6,
            clock=lambda: fleet.now,
        )

    @rule(
        data=st.data(),
        order=st.permutations(UNITS),
        actors=st.integers(1, 8),
        lives=st.integers(1, 40),
    )
    def drive(self, data: st.DataObject, order: list[str], actors: int, lives: int) -> None:
        fleet = Fleet(self, data.draw, actors, lives)
        try:
            result = self.run(fleet, order)
        except (Killed, StoreFullError):
            for _, attempt in fleet.running:  # actors die with their driver, or a moment later
                if data.draw(st.booleans()):
                    self.zombies.append(attempt)
            return
        ended = result.done + result.existing + list(result.quarantined)
        assert sorted(ended) == UNITS
        assert max(self.tries.values(), default=0) <= 3
        for unit in result.done + result.existing:
            assert read_record(self.root, unit, PLAN) is not None

    @rule(data=st.data())
    def a_zombie_wakes(self, data: st.DataObject) -> None:
        if self.zombies:
            at = data.draw(st.integers(0, len(self.zombies) - 1))
            self.zombies.pop(at).commit(PLAN, {})

    @rule(unit=st.sampled_from(UNITS))
    def a_repair_withdraws(self, unit: str) -> None:
        self.root.remove([record_path(unit)])
        self.records.pop(unit, None)

    @invariant()
    def every_record_is_right_and_stays(self) -> None:
        for unit in UNITS:
            record = read_record(self.root, unit, PLAN)
            if record is None:
                assert unit not in self.records, "a record went"
                continue
            name = f"{record.folder}/sums"
            assert record.objects == {name: digest_of(CONTENT[unit])}
            assert self.root.digest(name) == digest_of(CONTENT[unit])
            raw = self.root.read(record_path(unit))
            assert raw is not None
            assert self.records.setdefault(unit, raw) == raw, "a record changed"

    def teardown(self) -> None:
        class Calm(Fleet):
            def wait(self, timeout: float) -> list[Outcome]:
                work, attempt = self.running.pop()
                attempt.commit(PLAN, {})
                return [Outcome(work)]

        result = self.run(Calm(self, None, 3, 10**6), UNITS)
        assert not result.quarantined
        for zombie in self.zombies:
            zombie.commit(PLAN, {})
        sweep(self.root, PLAN, self.root.files("units"))
        rest = [f for f in self.root.files() if not f.endswith("record.json")]
        assert {digest_of(self.root.read(f) or b"")["sha256"] for f in rest} == {
            digest_of(c)["sha256"] for c in CONTENT.values()
        }
        assert len(rest) == len(UNITS)
        self.root.remove(self.root.files("units"))


TestSchedules = Schedules.TestCase
TestSchedules.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


@pytest.mark.parametrize("attempts", [1, 3])
def test_attempts_are_bounded_by_the_setting(attempts: int) -> None:
    calls: list[str] = []

    class Failing:
        def idle(self, group: str) -> list[str]:
            return [] if self.at else ["g.0"]

        def __init__(self) -> None:
            self.at: list[Work] = []

        def submit(self, work: Work, actor: str, ahead: Work | None = None) -> None:
            calls.append(work.id)
            self.at.append(work)

        def wait(self, timeout: float) -> list[Outcome]:
            return [Outcome(self.at.pop(), ValueError("bad"))]

        def abandon(self, work: Work) -> None:
            raise AssertionError

    result = dispatch(
        [Work("units/u0", "g")], Failing(), lambda _: False, attempts=attempts, timeout=9
    )
    assert len(calls) == attempts
    assert result.quarantined == {"units/u0": "ValueError: bad"}
