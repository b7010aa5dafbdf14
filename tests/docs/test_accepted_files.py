"""Every row of the table of network files names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TOP = Path(__file__).parents[2]


def test_the_tests_of_network_files_exist() -> None:
    page = (TOP / "docs/formats/README.md").read_text()
    section = page.partition("## Files of a network\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    for row in rows:
        cell = row.rstrip(" |").rpartition(" | ")[2]
        assert cell.startswith("`test_"), row
        for part in cell.split("; "):
            file, *names = re.findall(r"`([^`]+)`", part)
            text = (TOP / "tests/octopus" / file).read_text()
            assert names, row
            for name in names:
                assert f"def test_{name}(" in text, (file, name)
