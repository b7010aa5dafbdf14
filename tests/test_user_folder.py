"""A user's own folders and modules in the working directory: no command imports them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from octoscope.cli.app import app
from octoscope.demo.demo import data

COMMAND = str(Path(sys.executable).parent / "octoscope")
ROOT = Path(__file__).parents[1]


def hostile_folder(folder: Path) -> Path:
    """Make a folder of packages and modules that raise when they are imported."""
    for name in ("engine", "jobs", "octopus", "models", "cluster", "atlas", "store"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise RuntimeError('imported {name}')\n")
    for name in ("config", "run", "check", "dataset", "errors"):
        (folder / f"{name}.py").write_text(f"raise RuntimeError('imported {name}')\n")
    (folder / "octoscope").mkdir()  # of results
    (folder / "octoscope" / "results.csv").write_text("")
    return folder


def call(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command there, as a user of the installed package does."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, (command, done.stdout + done.stderr)
    return done


# Every command, with arguments for a folder of `hostile_folder` and `inputs`. One process runs
# those of the first two lists; a command of its own runs each of the third, as a user does.
LIGHT = """
config explain
config schema
models inspect {data}/scgpt/checkpoint
attention dump {data}/scgpt/checkpoint {data}/scgpt/cells.h5ad --out dump.npz
attention diff dump.npz dump.npz
atlas info {demo}/immune559.zarr --category cell_type --quick
atlas check {demo}/immune559.zarr --category cell_type
octopus info demo
octopus import {data}/octopus/store imported
octopus build build.yaml built
octopus lookup demo pairs.csv annotated.tsv
octopus rate demo pairs.csv --permutations 10
octopus genes demo genes.txt among.tsv
octopus export imported network.parquet --format parquet
gnn inspect {demo}/gnn-demo
gnn graph imported graph
gnn convert {data}/octopus/models/mlp model --graph {data}/octopus/store
gnn score {demo}/gnn-demo --graph demo --pairs pairs.csv --no-cache --out scores.csv
gnn relations {data}/octopus/models/distmult --permutations 99
gnn perturbations effects.csv --out effects.parquet
status {data}/stores/plan-3b
verify {data}/stores/plan-3b
verdict {data}/stores/plan-3b
repair {data}/stores/plan-3b --dry-run
"""
HEAVY = """
models list
models check {data}/scgpt/checkpoint {data}/scgpt/cells.h5ad
atlas convert {demo}/immune559.zarr own.zarr --category cell_type
octopus import {data}/octopus/store imported
octopus report imported network.html
gnn train training.yaml --graph imported --out training
gnn evaluate demo --out evaluation --positives 200 --queries 20 --candidates 20 --floors mirror
gnn report evaluation --out evaluation.html
report demo --out report.html
export demo --out consensus.parquet
compare show demo models
compare layers demo
compare models demo
compare runs planned planned
pool planned --category T_cell --category macrophage --out pool
"""
ELSEWHERE = "gnn planted"  # half a minute: tests/gnn_training/test_planted_checks.py runs it there
ON_RAY = """
demo --small --out demo
plan {config} --out planned --set keep_dense=fp32
run {config} --out planned --set keep_dense=fp32 --stage attention
overlap planned
resume planned --stage analysis
repair demo
import-napistu {stores}/scGPT stores
"""
DATA = ROOT / "tests/data"
# In the console script the first entry is the script's folder; here it is the working directory.
IN_ONE_PROCESS = """
import json, sys
from octoscope.cli import main
assert sys.path[0] == ""
for words in json.loads(sys.argv[1]):
    sys.argv = ["octoscope", *words]
    try:
        main()
    except SystemExit as end:
        code = end.code
    if code != 0:
        raise SystemExit(f"{words}: exit {code}")
"""


def inputs(folder: Path) -> None:
    """Write the small files that commands read there."""
    for name, text in {
        "pairs.csv": "query,key\nLYZ,CD74\nSTAT1,IRF1\n",
        "genes.txt": "LYZ\nCD74\n",
        "edges.csv": "source,target\nENSG00000090382,ENSG00000019582\n",
        "build.yaml": "name: own\n"
        "sources: {edge_lists: [{name: own, path: edges.csv, ids: ensembl_gene}]}\n",
        "effects.csv": "perturbed,target,effect\nSTAT1,IRF1,1\nJUN,FOS,-1\n",
        "training.yaml": "epochs: 1\nwidth: 4\nhidden: 4\n",
    }.items():
        (folder / name).write_text(text)


def words_of(cases: str, **paths: Path) -> list[list[str]]:
    """Return the words of each case; T_cell stands for a name with a space."""
    lines = cases.format(data=DATA, demo=data(""), **paths).strip().splitlines()
    return [[w.replace("T_cell", "T cell") for w in line.split(" ")] for line in lines]


def commands_of(group: Any, *names: str) -> Iterator[str]:
    """Yield the names of all commands, as ``compare show``."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, *names, name)
        else:
            yield " ".join((*names, name))


def test_every_command_has_a_case() -> None:
    """Red: a command that is added, and so not tried beside packages of the user's own."""
    commands = sorted(commands_of(typer.main.get_command(app)))
    cases = (LIGHT + HEAVY + ON_RAY + ELSEWHERE).splitlines()
    assert [c for c in commands if not any(f"{case} ".startswith(f"{c} ") for case in cases)] == []


def in_one_process(folder: Path, cases: str) -> None:
    """Run commands one after the other, with the working directory first on the path."""
    call(folder, sys.executable, "-c", IN_ONE_PROCESS, json.dumps(words_of(cases)))


def test_light_commands_run_beside_packages_of_the_same_names(tmp_path: Path) -> None:
    folder = hostile_folder(tmp_path / "mine")
    inputs(folder)
    in_one_process(folder, LIGHT)


@pytest.mark.slow
def test_the_demonstration_and_all_other_commands_run_beside_packages_of_the_same_names(
    small_config: Path, napistu_stores: Path, tmp_path: Path
) -> None:
    folder = hostile_folder(tmp_path / "mine")
    inputs(folder)
    printed = [
        call(folder, COMMAND, *words).stdout
        for words in words_of(ON_RAY, config=small_config, stores=napistu_stores)
    ]
    assert "finished" in printed[0]
    in_one_process(folder, HEAVY)


@pytest.mark.slow
def test_no_module_of_the_package_is_taken_from_the_working_directory(tmp_path: Path) -> None:
    """The folder is first on the path, as for ``python -m`` and for workers of Ray.

    Every module of the package is imported, so this holds for every command and option.
    """
    script = (
        "import importlib, pkgutil, sys, octoscope\n"
        "assert sys.path[0] == ''\n"
        "names = [m.name for m in pkgutil.walk_packages(octoscope.__path__, 'octoscope.')]\n"
        "for name in names:\n"
        "    importlib.import_module(name)\n"
        "print(len(names))"
    )
    done = call(hostile_folder(tmp_path / "mine"), sys.executable, "-c", script)
    assert int(done.stdout) > 400


def test_a_script_of_jobs_says_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-E", str(ROOT / "jobs" / "attention.py")],  # no installed packages
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "error: octoscope is not installed in this Python. Fix: pip install octoscope\n"
    )
