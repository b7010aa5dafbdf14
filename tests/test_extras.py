"""An installation without extras: what needs one says which, in Python and on the command line."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from octoscope.extras import EXTRAS, MissingPackageError, extras_needed

ROOT = Path(__file__).parents[1]
IMPORT_NAMES = {"scikit-learn": "sklearn", "torch-geometric": "torch_geometric"}
# hides packages as if they were not installed; the path finder does not see them
HIDE = """
from importlib.machinery import PathFinder
import sys
hidden, true = set({names!r}), PathFinder.find_spec
PathFinder.find_spec = classmethod(
    lambda cls, name, path=None, target=None:
    None if path is None and name in hidden else true(name, path, target)
)
"""
CALLS = """
import pandas as pd
import octoscope as oc
from octoscope.errors import OctoscopeError
from octoscope.extras import MissingPackageError

def gnn():
    from octoscope.api.gnn import open_gnn

network = oc.open_network("demo")
pairs = pd.DataFrame({"query": ["LYZ"], "key": ["SPI1"]})
calls = {
    "plan": lambda: oc.plan(__import__("octoscope.api.plan").api.plan.demo_config(small=True)),
    "open_atlas": lambda: oc.open_atlas("demo", category="cell_type"),
    "open_model": lambda: oc.open_model("demo"),
    "gnn": gnn,
    "evaluate_links": lambda: network.evaluate_links(),
    "write_report": lambda: network.write_report("network.html"),
    "export": lambda: network.export("network.graphml", kind="graphml"),
    "annotate": lambda: network.annotate(pairs),
    "neighbours": lambda: network.neighbours("LYZ"),
}
for name, call in calls.items():
    try:
        call()
        print(name, "works")
    except MissingPackageError as error:
        print(name, error.extra, error.fix, error.exit_code, isinstance(error, OctoscopeError))
"""


def in_a_plain_install(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python where no package of any extra is installed."""
    names = sorted(name for packages in EXTRAS.values() for name in packages)
    return subprocess.run(
        [sys.executable, "-c", HIDE.format(names=names) + script],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_every_extra_of_a_run_is_known() -> None:
    """Red: a dependency that is added to an extra of pyproject.toml alone."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra, packages in EXTRAS.items():
        named = {
            IMPORT_NAMES.get(name, name)
            for text in declared["optional-dependencies"][extra]
            for name in re.findall(r"^[\w-]+", text)
        }
        assert named == set(packages), extra


def test_the_python_api_names_the_extra_that_is_missing(tmp_path: Path) -> None:
    done = in_a_plain_install(CALLS, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    needs = "run pip install 'octoscope[run]' 1 True"
    assert done.stdout.splitlines() == [
        f"plan {needs}", f"open_atlas {needs}", f"open_model {needs}", f"gnn {needs}",
        f"evaluate_links {needs}", f"write_report {needs}", f"export {needs}",
        "annotate works", "neighbours works",
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []  # no half-written file


@pytest.mark.parametrize("command", ["demo --small --out run", "gnn inspect demo"])
def test_a_command_names_the_extra_and_exits_with_1(command: str, tmp_path: Path) -> None:
    script = f"sys.argv[1:] = {command.split()!r}\nfrom octoscope.cli import main\nsys.exit(main())"
    done = in_a_plain_install(script, tmp_path)
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(
        r"error: this needs \w+, which is not installed. Fix: pip install 'octoscope\[run\]'", line
    )


def test_the_error_passes_between_processes_and_leaves_other_imports_alone() -> None:
    error = pickle.loads(pickle.dumps(MissingPackageError("torch_geometric")))
    assert (error.name, error.extra) == ("torch_geometric", "gnn")
    with pytest.raises(ModuleNotFoundError) as seen, extras_needed():
        import no_such_package_of_a_plugin  # noqa: F401
    assert not isinstance(seen.value, MissingPackageError)
