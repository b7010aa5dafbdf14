"""The rooms of the package: which may import which, and how large a module may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "engine/octoscope"
# A room may import the rooms of its own line and of the lines above it, as listed here.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "jit": set(),
    "row_blocks": set(),
    "digests": set(),
    "safe_pickle": set(),
    "json_values": {"digests"},
    "genes": {"errors"},
    "config": {"errors"},
    "run_plan": {"config", "json_values"},
    "attention": {"config", "errors", "jit"},
    "store": {"row_blocks", "config", "digests", "errors", "json_values", "run_plan"},
    "atlas": {"config", "errors", "genes", "store"},
    "models": {"digests", "errors", "genes", "jit", "safe_pickle"},
    "octopus": {"config", "digests", "errors", "safe_pickle"},
    "analysis": {"attention", "row_blocks", "config", "errors", "jit", "octopus", "run_plan"},
    "results": {"analysis", "attention", "row_blocks", "config", "errors", "run_plan", "store"},
    "extract": {
        "analysis", "atlas", "attention", "row_blocks", "config", "errors", "models", "run_plan",
        "results", "store",
    },
    "probe": {"atlas", "config", "errors", "models"},
    "planning": {
        "analysis", "atlas", "attention", "config", "errors", "extract", "genes", "json_values",
        "models", "octopus", "run_plan", "probe", "store",
    },
    "report": {"config", "errors", "octopus", "run_plan", "results"},
    "pipeline": {
        "analysis", "config", "errors", "json_values", "run_plan", "planning", "report", "results",
        "store",
    },
    "cluster": {
        "config", "errors", "extract", "json_values", "pipeline", "run_plan", "planning", "store",
    },
}  # fmt: skip
EVERYWHERE = {"__version__"}


def modules() -> list[Path]:
    return [p for p in sorted(PACKAGE.rglob("*.py")) if "demo/data" not in str(p)]


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the modules that a file imports, also inside functions, with the line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((a.name, node.lineno) for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "octoscope":
                yield from ((f"octoscope.{a.name}", node.lineno) for a in node.names)
            else:
                yield node.module, node.lineno


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line} imports {name}"
        for path in modules()
        if room_of(path) == room
        for name, line in imports(path)
        if name.startswith("octoscope.")
        and (to := name.split(".")[1]) != room
        and to not in ALLOWED[room] | EVERYWHERE
    ]
    assert wrong == []


def test_the_arrows_between_rooms_have_no_cycle() -> None:
    done: set[str] = set()
    while left := {r for r in ALLOWED if r not in done}:
        ready = {r for r in left if ALLOWED[r] - {r} <= done}
        assert ready, f"a cycle among {sorted(left)}"
        done |= ready


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("ray", {"cluster", "cli"}),
        ("torch", {"attention", "models", "extract", "planning", "probe", "safe_pickle"}),
        ("jinja2", {"report"}),
        ("typer", {"cli"}),
    ],
)
def test_a_library_stays_in_its_rooms(library: str, rooms: set[str]) -> None:
    users = {
        room_of(path)
        for path in modules()
        for name, _ in imports(path)
        if name.split(".")[0] == library
    }
    assert users <= rooms


def test_modules_are_short() -> None:
    lengths = {str(p.relative_to(PACKAGE)): len(p.read_text().splitlines()) for p in modules()}
    assert {name: n for name, n in lengths.items() if n > 400} == {}
    cluster = sum(n for name, n in lengths.items() if name.startswith("cluster/"))
    assert cluster < 2500


def test_file_names_are_unique() -> None:
    """A name stands for one module; the command line's files are named after its commands."""
    seen: dict[str, list[str]] = {}
    for path in modules():
        if path.name != "__init__.py" and room_of(path) not in ("cli", "api"):
            seen.setdefault(path.name, []).append(str(path.relative_to(PACKAGE)))
    assert {name: paths for name, paths in seen.items() if len(paths) > 1} == {}


def test_reading_a_run_needs_no_heavy_library() -> None:
    script = (
        "import sys, octoscope as oc; oc.open_run; oc.open_network;"
        "print([m for m in ('torch', 'transformers', 'ray', 'numba', 'matplotlib', 'dask')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr[-2000:]
