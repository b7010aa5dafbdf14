"""List which room of the engine imports which; fails if the imports form a cycle.

A room is a package directly under ``engine/octoscope``. Imports inside functions count too.

    python scripts/room_imports.py
"""

from __future__ import annotations

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ENGINE = Path(__file__).parents[1] / "engine/octoscope"


def imports(engine: Path = ENGINE) -> dict[str, set[str]]:
    """Return the rooms that each room imports."""
    rooms = {p.parent.name for p in engine.glob("*/__init__.py")}
    imported: dict[str, set[str]] = {room: set() for room in rooms}
    for file in engine.rglob("*.py"):
        room = file.relative_to(engine).parts[0]
        if room not in rooms:
            continue  # a leaf module
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [f"{node.module}.{a.name}" for a in node.names]
            elif isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            else:
                continue
            parts = [name.split(".") for name in names]
            imported[room] |= {p[1] for p in parts if p[0] == "octoscope" and len(p) > 1}
        imported[room] &= rooms - {room}
    return imported


def main() -> int:
    """Print a line per room, the rooms that import nothing first."""
    imported = imports()
    try:
        order = list(TopologicalSorter(imported).static_order())
    except CycleError as error:
        print(f"rooms import each other: {' -> '.join(error.args[1])}", file=sys.stderr)
        return 1
    for room in order:
        print(f"{room}: {', '.join(sorted(imported[room])) or '-'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
