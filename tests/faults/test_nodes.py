"""Several nodes and any number of actors: the same units and bytes, also when a node is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from octoscope.demo.demo import data
from octoscope.store.commits import each_record
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot

from tests.conftest import octoscope, small_tree, tables_of
from tests.faults.runs import KEEP, crash, ray_nodes, start, until
from tests.here import here

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head with two CPUs by name, and a node with two; one test takes the node away."""
    with ray_nodes(cpus=2) as nodes:
        nodes.lost = nodes.add_node(num_cpus=2)
        nodes.wait_for_nodes()
        yield nodes


def written(run: Path) -> dict[str, Any]:
    """Return what each piece of work wrote, whatever its attempt was called."""
    root = RunRoot(run)
    plan = load_plan(root)
    records = list(each_record(root, plan.works(), plan.hash))
    assert sorted(r.work for r in records) == sorted(plan.works())
    return {
        record.work: {name[len(record.folder) :]: digest for name, digest in record.objects.items()}
        for record in records
    }


def test_a_run_of_two_actors_resumed_on_four_has_the_units_and_bytes_of_one(
    cluster: Any, small_config: Path, finished_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    where = ("--address", cluster.address)
    crash(small_config, run, "after-record@h1.00000000", *where, "--set", "execution.actors=2")
    assert (run / "plan.json").read_bytes() == (finished_run / "plan.json").read_bytes()
    before = {p: p.read_bytes() for p in run.glob("units/*/record.json")}
    assert before
    # how a run executes may change on resume, its result may not
    refused = here("resume", str(run), "--set", "top_k=51")
    assert refused.returncode == 2
    assert "--set top_k" in refused.stderr
    resumed = octoscope("resume", str(run), *where, "--set", "execution.actors=4")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert all(p.read_bytes() == body for p, body in before.items())
    assert written(run) == written(finished_run)  # the finished run had one actor
    assert tables_of(run) == tables_of(finished_run)


def test_a_node_that_is_lost_takes_nothing_with_it(
    cluster: Any, small_config: Path, finished_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    # three actors: they do not all fit on the head, so some are on the node that is lost
    process = start(
        "run", str(small_config), "--out", str(run), *KEEP, "--address", cluster.address,
        "--set", "execution.actors=3",
    )  # fmt: skip
    until(lambda: list(run.glob("units/*/attempt-*")))
    raylet = cluster.lost.all_processes["raylet"][0].process
    cluster.remove_node(cluster.lost, allow_graceful=False)
    assert raylet.poll() is not None  # it died
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    assert b"quarantined" not in out
    assert json.loads((run / "attention.json").read_text()) == {"quarantined": {}}
    assert written(run) == written(finished_run)
    assert tables_of(run) == tables_of(finished_run)


def test_a_node_that_joins_gets_the_actors_that_had_no_place(cluster: Any, tmp_path: Path) -> None:
    config, run = tmp_path / "config.yaml", tmp_path / "run"
    tree = small_tree(data("immune559.zarr"))
    n_actors = 2 * len(cluster.list_all_nodes())
    tree["models"][0]["layers"] = [0, 1, 2]
    tree["atlas"]["categories"] = ["T cell", "macrophage"]
    tree |= {"compare": None, "network": None, "edges": None}  # the units are what is asked about
    tree["execution"] |= {"unit_cells": 1, "actors": n_actors + 2, "log": "json"}
    config.write_text(yaml.safe_dump(tree))
    process = start("run", str(config), "--out", str(run), *KEEP, "--address", cluster.address)

    def started(event: str, what: str) -> list[dict[str, Any]]:
        lines = [json.loads(x) for x in out.splitlines() if x.startswith(b"{")]
        return [e for e in lines if e["event"] == event and e["what"] == what]

    def at_work() -> bool:
        body = RunRoot(run).read_json("progress.json") if run.exists() else None
        return (
            body is not None
            and sum(a["state"] in ("idle", "running") for a in body["actors"]) == n_actors
        )

    until(at_work)
    added = time.time()
    joined = cluster.add_node(num_cpus=2)
    try:
        out, err = process.communicate(timeout=300)
    finally:
        cluster.remove_node(joined)
    assert process.returncode == 0, out + err
    done = {
        e["unit"]: e["actor"] for e in started("work", "done") if e["unit"].startswith("units/")
    }
    assert len(done) == 335
    late = {e["actor"] for e in started("actor", "started") if e["time"] > added}
    assert len(late & set(done.values())) == 2  # the two that had no place came, and worked
