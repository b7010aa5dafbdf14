"""The documentation's example analysis, installed beside the engine for one run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from octoscope.analysis.registry import analyses
from octoscope.config import parse_config
from octoscope.errors import InputError, OctoscopeError
from octoscope.planning.resolve import make_plan

from tests.conftest import octoscope, small_tree

EXAMPLE = Path(__file__).parents[2] / "docs/example-analysis"


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose Python finds the example, installed in a folder of its own."""
    folder = tmp_path_factory.mktemp("analysis")
    source = shutil.copytree(EXAMPLE, folder / "source")  # building leaves files behind
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-index", "--target", str(folder / "installed"), str(source)],
        check=True,
    )  # fmt: skip
    paths = [str(folder / "installed"), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(p for p in paths if p)}


@pytest.mark.slow
def test_an_installed_analysis_adds_its_table(
    beside: dict[str, str], small_atlas: Path, tmp_path: Path
) -> None:
    tree = small_tree(small_atlas) | {"analyses": ["hubs"], "compare": None}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    run = tmp_path / "run"
    done = octoscope("run", str(tmp_path / "run.yaml"), "--out", str(run), env=beside)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((run / "plan.json").read_text())["settings"]["analyses"] == ["hubs"]

    keys = ["model", "category", "layer", "gene_set", "view"]
    stored = pd.read_parquet(run / "tables/hubs.parquet").set_index(keys)
    stats = pd.read_parquet(run / "tables/stats.parquet").set_index(keys)
    assert len(stored) == len(stats) == 8  # two categories, layers and views
    joined = stored.join(stats["hub_query_share"])
    assert (joined["hub_share"] - joined["hub_query_share"]).abs().max() < 1e-12
    assert (stored["n_top"] == stats["n_top"].reindex(stored.index)).all()
    assert stored["hubs"].str.split().map(len).max() == 10

    assert "tables/hubs.parquet" in json.loads((run / "manifest.json").read_text())["objects"]
    verified = octoscope("verify", str(run), env=beside)
    assert verified.returncode == 0, verified.stdout + verified.stderr

    (run / "tables/hubs.parquet").write_bytes(b"damaged")
    assert octoscope("verify", str(run), env=beside).returncode == 1
    repaired = octoscope("repair", str(run), env=beside)
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    again = pd.read_parquet(run / "tables/hubs.parquet").set_index(keys)
    pd.testing.assert_frame_equal(again, stored)


# An analysis whose entry point has a name of its own; what it does wrong is written beside it.
BROKEN = """
from pathlib import Path
from octoscope.analysis.registry import Analysis, Needs

def fail(where):
    if Path(__file__).with_name("fails").read_text() == where:
        raise {"exit": SystemExit}.get(where, ValueError)("no such column\\nin it")

fail("import")
fail("exit")

def outputs(plan, finished):
    fail("outputs")
    return {"tables/own.parquet": finished}

def compute(context):
    fail("compute")
    yield from ()

OWN = Analysis(name="own table", needs=Needs(), outputs=outputs, compute=compute)
"""


@pytest.mark.parametrize("where", ["import", "exit", "outputs", "compute", ""])
def test_an_analysis_that_raises_is_named_in_one_line(
    where: str, small_atlas: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"broken_{where}"
    (tmp_path / f"{module}.py").write_text(BROKEN)
    (tmp_path / "fails").write_text(where)
    info = tmp_path / "own-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[octoscope.analyses]\nown = {module}:OWN\n")
    monkeypatch.syspath_prepend(tmp_path)

    def call() -> None:
        own = analyses(["own"])[-1]
        own.outputs(None, [])  # type: ignore[arg-type]
        list(own.compute(None))  # type: ignore[arg-type]

    if where:
        with pytest.raises(
            OctoscopeError, match=r"analysis own failed: .*no such column"
        ) as caught:
            call()
        assert "\n" not in str(caught.value)
    else:
        call()
        tree = small_tree(small_atlas) | {"analyses": ["own"]}
        plan = make_plan(parse_config(tree, "c"), None)
        assert plan.analyses == ["own"]  # the name by which it is found again
        assert analyses(plan.analyses)[-1].name == "own table"


def test_an_analysis_that_is_not_installed_is_refused(small_atlas: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="install the package that declares it"):
        analyses(["hubs"])
    tree = small_tree(small_atlas) | {"analyses": ["hubs"]}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    refused = octoscope("plan", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "run"))
    assert refused.returncode == 2
    assert "no installed package has the analysis 'hubs'" in refused.stderr
    assert "entry point group octoscope.analyses" in refused.stderr
    assert not (tmp_path / "run/plan.json").exists()
