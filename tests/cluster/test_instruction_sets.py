"""Which instruction set planned a run and which computed it: recorded, told, and never refused."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import pytest
from octoscope.cluster.progress import Reporter
from octoscope.cluster.worker import Worker
from octoscope.config import parse_config
from octoscope.pipeline.seal import _provenance
from octoscope.planning.resolve import make_plan
from octoscope.run_plan.values import Plan
from octoscope.store.commits import Attempt
from octoscope.store.instruction_set import instruction_set
from octoscope.store.plan_file import load_plan, save_plan
from octoscope.store.run_dir import RunRoot
from rich.console import Console

from tests.conftest import small_tree

OTHER = "znver3 avx2"


@pytest.fixture(scope="module")
def plan(small_atlas: Path) -> Plan:
    return make_plan(parse_config(small_tree(small_atlas), "c"), None)


def ready(plan: Plan, device: str = "cpu") -> dict[str, Any]:
    """Return what a worker of a plan tells about itself, without its model."""
    worker = Worker.__new__(Worker)
    worker._run, worker._name, worker._gpus, worker._failure = "run", "a.0", 0, None
    worker._plan, worker._device = plan, device
    return worker.ready()


def test_the_instruction_set_names_the_processor_and_what_limits_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("ATEN_CPU_CAPABILITY", "NUMBA_CPU_NAME"):
        monkeypatch.delenv(name, raising=False)
    whole = instruction_set()
    assert len(whole.split()) >= 2
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    assert instruction_set() != whole
    assert instruction_set().startswith(" ".join(whole.split()[:2]))
    assert "ATEN_CPU_CAPABILITY=avx2" in instruction_set()


def test_a_plan_names_it_and_goes_on_elsewhere_under_the_same_hash(
    plan: Plan, tmp_path: Path
) -> None:
    assert plan.instruction_set == instruction_set()
    root = RunRoot(str(tmp_path / "run"))
    save_plan(root, plan)
    elsewhere = plan.model_copy(update={"instruction_set": OTHER})
    assert elsewhere.hash == plan.hash
    save_plan(root, elsewhere)  # as a resume on another machine does
    assert load_plan(root).instruction_set == instruction_set()
    # a plan of an earlier version has none, and keeps its bytes and its hash
    earlier = plan.model_copy(update={"instruction_set": None})
    assert "instruction_set" not in earlier.model_dump(mode="json")
    assert earlier.hash == plan.hash


def test_a_worker_with_another_one_says_so(plan: Plan, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="octoscope"):
        assert "planned_with" not in ready(plan)
        assert "planned_with" not in ready(plan.model_copy(update={"instruction_set": None}))
        elsewhere = plan.model_copy(update={"instruction_set": OTHER})
        assert "planned_with" not in ready(elsewhere, "NVIDIA H200")  # its products are the GPU's
        assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
        process = ready(elsewhere)
    assert (process["planned_with"], process["instruction_set"]) == (OTHER, instruction_set())
    (warning,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert "instruction set" in warning.message


@pytest.mark.parametrize("log", ["text", "json"])
def test_the_driver_warns_once_of_each_other_one(tmp_path: Path, plan: Plan, log: str) -> None:
    output = io.StringIO()
    root = RunRoot(str(tmp_path / "run"))
    with Reporter(root, Console(file=output, width=300), log) as reporter:
        reporter.actor("a.0", "started", ready(plan))
        for name in ("a.1", "a.2"):
            reporter.actor(
                name, "started", ready(plan.model_copy(update={"instruction_set": OTHER}))
            )
    assert output.getvalue().count("last bits of results may differ") == 1
    assert OTHER in output.getvalue()


def test_records_and_provenance_tell_what_computed(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = RunRoot(str(tmp_path / "run"))
    works = plan.matrix_work()[:2]
    first = Attempt(root, works[0]).commit(plan.hash, {"cells": 3})
    assert first.metrics == {"cells": 3, "instruction_set": instruction_set()}
    here = instruction_set()
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    second = Attempt(root, works[1]).commit(plan.hash, {})
    metrics = {r.work: r.metrics for r in (first, second)}
    sets = _provenance(plan, metrics | {"pairs/of-an-earlier-version": {}}, {})["instruction_sets"]
    assert sets == {"planned": here, "computed": {here: 1, instruction_set(): 1}}
