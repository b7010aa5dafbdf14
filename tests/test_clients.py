"""Who is a client of the Python API: the commands and jobs are, and the report reads its value."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.test_rooms import PACKAGE, imports, wrong


def defined_in(module: str) -> set[str]:
    """Return the functions, classes and constants that a module of the package itself defines."""
    path = PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {t.id for t in targets if isinstance(t, ast.Name)}
    return names


def around_the_api(path: Path) -> list[str]:
    """Return what a module of the command line takes from the engine past the Python API.

    What an API module has only imported counts: it would be the engine under another name. Types
    for the type checker do not.
    """
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return [
        f"{path.name}:{node.lineno} imports {alias.name} of {node.module}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("octoscope.api")
        for alias in node.names
        if alias.name not in defined_in(str(node.module))
    ]


def test_the_command_line_is_a_client_of_the_python_api() -> None:
    """Beside leaf modules for files and errors; ALLOWED has the other half of the rule."""
    commands = sorted((PACKAGE / "cli").glob("*.py"))
    assert [module for path in commands for module in around_the_api(path)] == []
    # names of private parts are not asked for, either: `run.results` is not the API's
    beyond = [
        f"{path.name}:{node.lineno} reads {ast.unparse(node)}"
        for path in commands
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("results", "_root", "reader")
    ]
    assert beyond == []


def test_jobs_call_the_command_line_alone() -> None:
    jobs = sorted((PACKAGE.parents[1] / "jobs").glob("*.py"))
    assert len(jobs) == 4
    taken = {name for path in jobs for name, _ in imports(path) if name.startswith("octoscope")}
    assert taken == {"octoscope.cli"}


def test_the_report_reads_the_value_that_the_python_api_reads() -> None:
    """`Results`: the report is a part of the sealed run, which `octoscope.api` can only open."""
    assert wrong({"report"}, {"octoscope.store", "zarr", "pyarrow"}) == []
    assert "octoscope.results.run_results" in {n for n, _ in imports(PACKAGE / "report/page.py")}
    assert "octoscope.results.run_results" in {n for n, _ in imports(PACKAGE / "api/opened_run.py")}
