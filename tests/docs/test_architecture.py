"""docs/architecture.md: its table, its picture and its rules are those of the code."""

from __future__ import annotations

import re

from tests import test_rooms
from tests.test_rooms import PACKAGE, RULES, imports, modules, room_of

DOCS = PACKAGE.parents[1] / "docs"


def rooms_read() -> dict[str, set[str]]:
    """Return the rooms (packages) that each room imports."""
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    imported: dict[str, set[str]] = {room: set() for room in rooms}
    for path in modules():
        if (room := room_of(path)) in rooms:
            names = (name.split(".") for name, _ in imports(path) if name.startswith("octoscope."))
            imported[room] |= {parts[1] for parts in names} & (rooms - {room})
    return imported


def test_the_table_of_rooms_is_true() -> None:
    page = (DOCS / "architecture.md").read_text()
    rows = [line.split("|")[1:4] for line in page.splitlines() if line.startswith("| `")]
    listed = {room.strip(" `"): set(re.findall("`([a-z_]+)`", names)) for room, _, names in rows}
    true = rooms_read()
    rooms = [room for room in listed if room in true]
    assert set(rooms) == set(true)
    # the two that say "all rooms above"
    listed["api"] = set(rooms[: rooms.index("api")])
    listed["planning"] = set(rooms[: rooms.index("planning")]) - listed["planning"]
    assert {room: listed[room] for room in rooms} == true | {"api": listed["api"]}
    assert true["api"] <= listed["api"]


def test_the_picture_of_rooms_is_true() -> None:
    """Its arrows are the imports that do not follow from others."""
    true = rooms_read()

    def reached(room: str, without: str) -> set[str]:
        arrows: set[str] = set()
        todo = true[room] - {without}
        while todo:
            arrows |= todo
            todo = {to for r in todo for to in true[r]} - arrows
        return arrows

    picture = (DOCS / "architecture.svg").read_text()
    box = r'<rect x="(\d+)" y="(-?\d+)" width="(\d+)" height="(\d+)" rx.*?/>\n<text[^>]*>(\w+)<'
    boxes = {m[4]: tuple(map(int, m[:4])) for m in re.findall(box, picture)}

    def at(x: int, y: int) -> str:
        return next(n for n, (u, v, w, h) in boxes.items() if u <= x <= u + w and v <= y <= v + h)

    drawn = set()
    for path in re.findall(r'<path d="(M[^"zZ]+)"/>', picture):
        x, y, *rest = map(int, re.findall(r"-?\d+", path))
        drawn.add((at(x, y), at(rest[0] if len(rest) > 1 else x, rest[-1])))
    assert drawn == {(a, b) for a in true for b in true[a] if b not in reached(a, b)}


def rules_of(page: str) -> list[str]:
    """Return the rules of the page, each as one line."""
    text = page.partition("Five rules keep the rooms apart")[2].partition("\n\n")[2]
    items = re.split(r"^- ", text.partition("\n\n")[0], flags=re.MULTILINE)
    return [" ".join(item.split()) for item in items if item.strip()]


def test_the_rules_are_those_of_the_page() -> None:
    """Word by word, and each names a test that there is."""
    page = (DOCS / "architecture.md").read_text()
    assert rules_of(page) == list(RULES)
    assert rules_of(page.replace("rank of what it reads", "rank of what it keeps")) != list(RULES)
    assert len(RULES) == 5
    for tests in RULES.values():
        assert all(callable(getattr(test_rooms, name)) for name in tests)
    # the leaf modules of the page are those of the package
    leaves = page.partition("Every room may import the leaf modules")[2].partition("`jobs/`")[0]
    files = {path.stem for path in PACKAGE.glob("[a-z]*.py")}
    assert set(re.findall("`([a-z0-9_]+)`", leaves)) == files
