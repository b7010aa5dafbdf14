"""Every row of the tables of accepted inputs names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]


def tables(page: str) -> dict[str, list[str]]:
    """Return folder of tests -> rows of all tables whose heading names it."""
    tables: dict[str, list[str]] = {}
    rows: list[str] = []
    for line in page.splitlines():
        folder = re.search(r"test in `(tests/\w+)/` \|$", line)
        if folder:
            rows = tables.setdefault(folder.group(1), [])
        elif not line.startswith("|"):
            rows = []
        elif not set(line) <= set("|- "):
            rows.append(line)
    return tables


@pytest.mark.parametrize(
    ("page", "folder", "least"),
    [
        ("docs/formats/README.md", "tests/atlas", 25),
        ("docs/formats/README.md", "tests/octopus", 20),
        ("docs/models.md", "tests/models", 15),
    ],
    ids=["atlas", "network", "checkpoint"],
)
def test_the_tests_of_accepted_files_exist(page: str, folder: str, least: int) -> None:
    rows = tables((TOP / page).read_text())[folder]
    assert len(rows) >= least
    file = ""
    for row in rows:
        cell = row.rstrip(" |").rpartition(" | ")[2]
        names = re.findall(r"`([^`]+)`", cell)
        assert names, row
        for name in names:  # of a name that ends with an ellipsis, the beginning
            if name.endswith(".py"):
                file = name
            text = (TOP / folder / file).read_text()
            begins = re.escape(name.removesuffix("…"))
            ends = "" if name.endswith("…") else r"\("
            assert name == file or re.search(rf"def test_{begins}{ends}", text), (file, name)
