"""The dispatcher under faults: a table of outcomes per piece of work, and a model of the store."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from octoscope.cluster.dispatch import Change, Outcome, Result, Work, dispatch
from octoscope.cluster.fleet import Group, together
from octoscope.errors import InputError, MassError, OctoscopeError, StoreFullError


class TableFleet:
    """Runs work in process. Each piece has a list of outcomes, one per attempt.

    ok: done; lost: effect happened, an error came back; fail: no effect, an error;
    hang: never answers; raise: the work's code raises; mass, input: errors of the engine.
    """

    def __init__(self, table: dict[str, list[str]], actors: int = 2) -> None:
        self.table, self.actors = table, actors
        self.store: dict[str, int] = {}
        self.calls: dict[str, int] = {}
        self.running: list[Work] = []
        self.ahead: dict[str, str | None] = {}  # at the first try
        self.at: dict[str, str] = {}  # where work runs
        self.now = 0.0

    def idle(self, group: str) -> list[str]:
        return [f"g.{i}" for i in range(self.actors) if f"g.{i}" not in self.at.values()]

    def submit(self, work: Work, actor: str, ahead: Work | None = None) -> None:
        assert actor in self.idle(work.group)
        self.at[work.id] = actor
        self.calls[work.id] = self.calls.get(work.id, 0) + 1
        self.running.append(work)
        self.ahead.setdefault(work.id, ahead.id if ahead else None)

    def wait(self, timeout: float) -> list[Outcome]:
        self.now += timeout
        for work in self.running:
            outcomes = self.table.get(work.id, [])
            call = self.calls[work.id]
            what = outcomes[call - 1] if call <= len(outcomes) else "ok"
            if what == "hang":
                continue
            self.running.remove(work)
            del self.at[work.id]
            if what in ("ok", "lost"):
                self.store[work.id] = self.store.get(work.id, 0) + 1
            error: dict[str, BaseException | None] = {
                "ok": None,
                "lost": ConnectionError("actor died"),
                "fail": ConnectionError("actor died"),
                "preempted": ConnectionError("its node was taken away"),
                "mass": MassError("sums to 2"),
                "input": InputError("atlas", "bad", "fix"),
                "raise": TypeError("no such layer\nin it"),
            }
            raised = what in ("mass", "input", "raise")
            preempted = what == "preempted"
            return [Outcome(work, error[what], preempted=preempted, raised=raised)]
        return []

    def abandon(self, work: Work) -> None:
        self.running.remove(work)
        del self.at[work.id]


def go(
    table: dict[str, list[str]], names: list[str], done: tuple[str, ...] = ()
) -> tuple[TableFleet, Result]:
    fleet = TableFleet(table)
    fleet.store |= dict.fromkeys(done, 1)
    result = dispatch(
        [Work(n, "g") for n in names],
        fleet,
        lambda work: work in fleet.store,
        attempts=3,
        timeout=5,
        clock=lambda: fleet.now,
    )
    return fleet, result


def test_failures_are_tried_again_and_poison_is_quarantined() -> None:
    fleet, result = go({"b": ["fail", "fail"], "c": ["fail"] * 9, "d": ["hang"]}, list("abcd"))
    assert sorted(result.done) == ["a", "b", "d"]
    assert list(result.quarantined) == ["c"]
    assert "ConnectionError" in result.quarantined["c"]
    assert fleet.calls == {"a": 1, "b": 3, "c": 3, "d": 2}


def test_a_node_that_was_taken_away_costs_no_try() -> None:
    fleet, result = go(
        {"a": ["preempted"] * 5, "b": ["preempted", "fail", "fail", "fail"]}, ["a", "b"]
    )
    assert result.done == ["a"]
    assert fleet.calls == {"a": 6, "b": 4}
    assert list(result.quarantined) == ["b"]


def test_an_effect_that_came_back_as_an_error_is_not_repeated() -> None:
    fleet, result = go({"a": ["lost"]}, ["a"])
    assert fleet.calls == {"a": 1}
    assert result.done == ["a"]


@pytest.mark.parametrize("n", [1, 40])
def test_code_that_raises_in_every_try_ends_the_run_after_three(n: int) -> None:
    names = [f"u{i}" for i in range(n)]
    fleet = TableFleet({name: ["raise"] * 3 for name in names})
    with pytest.raises(OctoscopeError, match="g: the first 3 tries failed.*: no such layer in it"):
        dispatch([Work(x, "g") for x in names], fleet, lambda _: False, attempts=3, timeout=5)
    assert sum(fleet.calls.values()) <= 4  # one more was running


def test_code_that_raises_for_some_pieces_alone_ends_nothing() -> None:
    works = {"a": ["raise"] * 3, "b": [], "c": ["raise", "raise"]}
    assert set(go(works, list(works))[1].quarantined) == {"a"}
    # nor where earlier drivers have done a piece, or the engine or the system is at fault
    bad = {"a": ["raise"] * 3, "b": ["raise"] * 3}
    assert set(go(bad, ["a", "b", "c"], ("c",))[1].quarantined) == {"a", "b"}
    assert set(go({x: ["mass"] for x in "abcd"}, list("abcd"))[1].quarantined) == set("abcd")
    assert set(go({x: ["fail"] * 3 for x in "abcd"}, list("abcd"))[1].quarantined) == set("abcd")


def test_what_is_done_is_not_run() -> None:
    fleet, result = go({}, ["a", "b"], done=("a",))
    assert fleet.calls == {"b": 1}
    assert result.existing == ["a"]


def test_broken_invariants_are_not_retried_and_bad_input_ends_the_run() -> None:
    fleet, result = go({"a": ["mass"]}, ["a", "b"])
    assert fleet.calls["a"] == 1
    assert list(result.quarantined) == ["a"]
    with pytest.raises(InputError):
        go({"a": ["input"]}, ["a", "b"])


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("abcdefg"),
        st.lists(st.sampled_from(["ok", "lost", "fail", "hang"]), max_size=4),
    )
)
def test_every_piece_ends_once_whatever_happens(table: dict[str, list[str]]) -> None:
    fleet, result = go(table, list("abcdefg"))
    ended = result.done + list(result.quarantined)
    assert sorted(ended) == list("abcdefg")
    assert set(result.done) == set(fleet.store)
    assert all(n == 1 for n in fleet.store.values())
    assert max(fleet.calls.values()) <= 3


def test_a_request_to_stop_starts_nothing_new_and_waits_for_what_runs() -> None:
    fleet = TableFleet({}, actors=2)
    result = dispatch(
        [Work(n, "g") for n in "abcdef"],
        fleet,
        lambda work: work in fleet.store,
        attempts=3,
        timeout=5,
        stop=lambda: bool(fleet.store),  # asked after the first is done, while another runs
        clock=lambda: fleet.now,
    )
    assert sorted(result.done) == ["a", "b"]
    assert not fleet.running
    assert not result.quarantined


def test_a_full_store_ends_the_run() -> None:
    class Full(TableFleet):
        def wait(self, timeout: float) -> list[Outcome]:
            return [Outcome(self.running.pop(), OSError(28, "No space left on device"))]

    with pytest.raises(StoreFullError, match="free some space, then `octoscope resume`"):
        dispatch([Work("a", "g")], Full({}), lambda _: False, attempts=3, timeout=5)


@pytest.mark.parametrize(("actors", "ahead"), [(1, "bcdef"), (2, "cdef"), (3, "def")])
def test_an_actor_is_told_what_it_will_get_next(actors: int, ahead: str) -> None:
    fleet = TableFleet({}, actors)  # ends pieces in the order in which they began
    dispatch(
        [Work(n, "g") for n in "abcdef"],
        fleet,
        lambda work: False,
        attempts=3,
        timeout=5,
        clock=lambda: fleet.now,
    )
    next_work = [fleet.ahead[n] for n in "abcdef"]
    assert next_work == [*ahead, *[None] * actors]


def test_an_actor_gets_what_it_has_read_for_in_whatever_order_actors_end() -> None:
    class Shuffled(TableFleet):
        """Any ends next, so the queue's head is often what another has read for."""

        def __init__(self) -> None:
            super().__init__({}, 3)
            self.chance = random.Random(0)
            self.read: dict[str, str | None] = {}
            self.wasted: list[str] = []

        def submit(self, work: Work, actor: str, ahead: Work | None = None) -> None:
            expected = self.read.get(actor)
            if expected is not None and expected != work.id:
                self.wasted.append(work.id)
            self.read[actor] = ahead.id if ahead else None
            super().submit(work, actor, ahead)

        def wait(self, timeout: float) -> list[Outcome]:
            self.chance.shuffle(self.running)
            return super().wait(0.01)

    fleet = Shuffled()
    names = [f"u{i:02d}" for i in range(30)]
    result = dispatch(
        [Work(n, "g") for n in names], fleet, lambda _: False, attempts=1, timeout=5,
        clock=lambda: fleet.now,
    )  # fmt: skip
    assert sorted(result.done) == names
    assert fleet.calls == dict.fromkeys(names, 1)
    assert len(fleet.wasted) <= 2  # at the end of the queue, where none is left for everybody


def test_what_a_busy_actor_has_read_for_is_not_kept_from_an_idle_one() -> None:
    seen: list[Change] = []
    fleet = TableFleet({"a": ["hang"]}, 2)  # a's actor is told to read for c
    dispatch(
        [Work(n, "g") for n in "abcd"], fleet, lambda _: False, attempts=2, timeout=5,
        on_change=seen.append, clock=lambda: fleet.now,
    )  # fmt: skip
    assert fleet.ahead["a"] == "c"
    started = [(c.work.id, c.actor) for c in seen if c.what == "started"]
    assert ("c", "g.1") in started
    assert started.index(("c", "g.1")) < started.index(("a", "g.0"), 1)


def test_changes_carry_the_actor_its_facts_and_the_error() -> None:
    seen: list[Change] = []
    fleet = TableFleet({"a": ["fail"]})
    dispatch(
        [Work("a", "g")], fleet, lambda work: False, attempts=2, timeout=5, on_change=seen.append
    )
    assert [c.what for c in seen] == ["started", "again", "started", "done"]
    assert {c.actor for c in seen} <= {"g.0", "g.1"}
    assert isinstance(seen[1].error, ConnectionError)
    assert seen[3].error is None


GROUPS = {
    "a": Group("a", actors=2, threads=2, gpus=0.5), "b": Group("b", actors=1, threads=8),
    "c": Group("c", actors=1, threads=1, gpus=1),
}  # fmt: skip


@pytest.mark.parametrize(
    ("have", "chosen"),
    [
        ({"CPU": 13.0, "GPU": 2.0}, "abc"),
        ({"CPU": 12.0, "GPU": 2.0}, "ab"),  # no CPU is left for c
        ({"CPU": 13.0, "GPU": 1.5}, "ab"),
        ({"CPU": 6.0, "GPU": 2.0}, "ac"),  # b is passed over
        ({"CPU": 13.0, "GPU": 2.0, "memory": 3.5e9}, "ab"),
        ({"CPU": 13.0, "GPU": 2.0, "memory": 2e9}, "a"),
        ({"CPU": 0.0}, "a"),  # nodes are yet to come: they are asked for
    ],
)
def test_models_that_fit_share_a_cluster(have: dict[str, float], chosen: str) -> None:
    assert "".join(together(GROUPS, have, 1e9)) == chosen
