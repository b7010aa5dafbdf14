"""The documentation's example family, installed in an environment of its own.

Nothing of the engine is touched, and the engine's own environment does not know the family.
"""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from octoscope.config import parse_config
from octoscope.errors import InputError
from octoscope.models import families
from octoscope.planning.resolve import make_plan

from tests.conftest import octoscope, small_tree

EXAMPLE = Path(__file__).parents[2] / "docs/example-family"
FIXTURE = EXAMPLE / "fixture"


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment that sees this one's packages, with the example installed."""
    folder = tmp_path_factory.mktemp("plugin")
    source = Path(shutil.copytree(EXAMPLE, folder / "source"))  # building leaves files behind
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv/bin/python"
    own = sysconfig.get_paths(vars={"base": str(folder / "venv")})["purelib"]
    here = [*site.getsitepackages(), str(Path(__file__).parents[2])]
    lines = "".join(f"import site; site.addsitedir({path!r})\n" for path in here)
    (Path(own) / "beside.pth").write_text(lines)
    subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-index", str(source)],
        check=True,
    )  # fmt: skip
    return python


def in_environment(python: Path, *arguments: str) -> Any:
    return subprocess.run(
        [str(python), "-c", "from octoscope.cli import main; main()", *arguments],
        capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip


@pytest.mark.slow
def test_the_example_equals_its_fixture(elsewhere: Path, tmp_path: Path) -> None:
    assert "setformer" not in families()
    listed = in_environment(elsewhere, "models", "list", "--json")
    assert "setformer" in {row["family"] for row in json.loads(listed.stdout)}
    ours = str(tmp_path / "ours.npz")
    for given in ([], ["--tokens", str(FIXTURE / "dump.npz")]):
        completed = in_environment(
            elsewhere, "attention", "dump", str(FIXTURE / "checkpoint"),
            str(FIXTURE / "cells.h5ad"), "--out", ours, "--force", *given,
        )  # fmt: skip
        assert completed.returncode == 0, completed.stderr
        judged = in_environment(
            elsewhere, "attention", "diff", ours, str(FIXTURE / "dump.npz"), "--json"
        )
        assert judged.returncode == 0, judged.stdout
        names = {r["array"] for r in json.loads(judged.stdout)}
        assert names >= {"attn_1", "logits_0", "lse_1", "hidden_1", "output", "token_row"}


@pytest.mark.slow
def test_a_run_gives_each_model_its_own_environment(
    elsewhere: Path, small_atlas: Path, tmp_path: Path
) -> None:
    tree = small_tree(small_atlas)
    tree["models"][0]["layers"] = [1]
    mine = {"name": "mine", "family": "setformer", "path": str(FIXTURE / "checkpoint")}
    tree["models"].append(mine | {"python": str(elsewhere)})
    tree["gene_sets"] = [{"name": "common", "kind": "intersection"}]
    tree["accumulate"] = "common"
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    run = tmp_path / "run"
    done = octoscope("run", str(tmp_path / "run.yaml"), "--out", str(run))
    assert done.returncode == 0, done.stdout + done.stderr
    plan = json.loads((run / "plan.json").read_text())
    ours, other = plan["models"]
    assert other["package"].startswith("octoscope-setformer 0.1.0, torch ")
    assert ours["package"].startswith("octoscope ")
    assert other["axis"] == ours["axis"]
    stats = pd.read_parquet(run / "tables/stats.parquet")
    assert set(stats["model"]) == {"tiny", "mine"}
    stored = pd.read_parquet(run / "tables/vocabulary.parquet")
    matched = stored[(stored["model"] == "mine") & (stored["what"] == "matched")]
    assert len(matched) == other["gene_report"]["matched"] == 14
    assert octoscope("verify", str(run)).returncode == 0


def test_an_unusable_environment_is_refused_while_planning(
    small_atlas: Path, tmp_path: Path
) -> None:
    tree = small_tree(small_atlas)
    mine = {"name": "mine", "family": "setformer", "path": str(FIXTURE / "checkpoint")}
    for python, message in (
        ("/nowhere/python", r"models.mine.python: /nowhere/python: No such file"),
        (shutil.which("true"), "models.mine.python.*failed: no message"),
        (sys.executable, "models.*.family: 'setformer' is not installed"),
        (None, "models.*.family: 'setformer' is not installed"),
    ):
        tree["models"] = [mine | {"python": python}]
        with pytest.raises(InputError, match=message):
            make_plan(parse_config(tree, "c"), tmp_path)
