"""Runs that earlier versions wrote: read, or refused with what reads them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from octoscope.cluster.progress import summary
from octoscope.errors import InputError
from octoscope.planning.freeze import replan as resume
from octoscope.report.page import page
from octoscope.results.run_results import Results
from octoscope.store.commits import each_record
from octoscope.store.manifest import verify
from octoscope.store.parquet import read_table
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot

STORES = Path(__file__).parents[1] / "data" / "stores"
# plan-3: before attempts digested what they write; plan-3b: since
READ = ("plan-3", "plan-3b")
REFUSED = ("plan-1", "plan-2")


def test_every_store_is_tested() -> None:
    assert sorted(p.name for p in STORES.iterdir() if p.is_dir()) == sorted(READ + REFUSED)


@pytest.mark.parametrize("name", READ)
def test_stores_of_this_format_are_read(name: str) -> None:
    root = RunRoot(STORES / name)
    assert verify(root) == []
    plan = load_plan(root)
    # the plan still hashes to what they say
    records = each_record(root, plan.works(), plan.hash)
    assert sorted(r.work for r in records) == sorted(plan.works())
    top = read_table(root, "topk/tiny.parquet")
    assert len(top.query("part == 'total'")) == 10
    assert set(top["category"]) == {"T cell"}
    assert top["in_network"].notna().all()
    assert b"T cell" in page(Results.open(root))


@pytest.mark.parametrize("name", REFUSED)
def test_stores_of_earlier_formats_are_refused_with_what_reads_them(name: str) -> None:
    root = RunRoot(STORES / name)
    number = name.rpartition("-")[2]
    with pytest.raises(InputError) as caught:
        load_plan(root)
    assert f"octoscope-plan/{number}" in caught.value.problem
    assert "read it with octoscope 0.1.0" in caught.value.fix
    assert f"octoscope run {root.at('config.yaml')} --out NEW" in caught.value.fix
    for command in (resume, summary):
        with pytest.raises(InputError, match="--out NEW"):
            command(root)
    assert verify(root) == []  # the manifest and the page are read whatever the plan
    assert Results.open(root).report.endswith("report/index.html")


def test_a_store_of_a_later_version_asks_for_it(tmp_path: Path) -> None:
    run = Path(shutil.copytree(STORES / "plan-3b", tmp_path / "run"))
    plan = json.loads((run / "plan.json").read_text())
    later = plan | {"schema_version": "octoscope-plan/99"}
    later["versions"] = plan["versions"] | {"octoscope": "9.0"}
    (run / "plan.json").write_text(json.dumps(later))
    with pytest.raises(InputError, match=r"written by octoscope 9\.0.*pip install --upgrade"):
        load_plan(RunRoot(run))
