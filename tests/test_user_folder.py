"""A user's own folders and modules in the working directory: no command imports them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.slow
def test_the_demonstration_and_every_command_run_beside_packages_of_the_same_names(
    small_config: Path, small_atlas: Path, tmp_path: Path
) -> None:
    folder = hostile_folder(tmp_path / "mine")

    def octoscope(*arguments: str) -> str:
        return call(folder, COMMAND, *arguments).stdout

    octoscope("demo", "--small", "--out", "demo")
    assert "finished" in octoscope("status", "demo")
    assert "verified" in octoscope("verify", "demo")
    octoscope("repair", "demo", "--dry-run")
    octoscope("report", "demo")
    octoscope("compare", "models", "demo")
    octoscope("export", "demo", "--out", "net.tsv", "--category", "T cell")
    octoscope("plan", str(small_config), "--out", "planned")
    octoscope("run", str(small_config), "--out", "planned", "--stage", "attention")
    octoscope("overlap", "planned")
    octoscope("resume", "planned", "--stage", "analysis")
    octoscope("atlas", "info", str(small_atlas), "--category", "cell_type")
    octoscope("models", "list")
    octoscope("octopus", "--help")


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
