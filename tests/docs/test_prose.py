"""The prose check: what it finds in a page, what it leaves alone, and what CI runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
SCRIPT = TOP / "scripts/check_prose.py"

WORDS = " ".join(f"word{n}" for n in range(20))  # of one sentence

BAD = f"""# A page

It is is a page.

The models count as
one voice.

- Who finds the name taken reads the record.
- A list of {WORDS}; it goes on with {WORDS}.

Of mean cells what their matrices are computed from stays.
"""

GOOD = f"""# A page

{WORDS} {WORDS}. `code` is a word of [a sentence](kin.md).

| a table | {WORDS} {WORDS} {WORDS} |
|---|---|
| its rows | their kin |

```bash
echo "the the voices"
```
"""


def check(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_faults_are_named_with_their_lines(tmp_path: Path) -> None:
    page = tmp_path / "bad.md"
    page.write_text(BAD)
    done = check(page)
    assert done.returncode == 1
    lines = [line.removeprefix(f"{page}:") for line in done.stdout.splitlines()]
    assert [line.partition(": ")[0] for line in lines] == ["3", "6", "8", "9", "11"]
    for line, part in zip(
        lines, ("is is", "voice", "Who finds", "47 words", "Of mean"), strict=True
    ):
        assert part in line


def test_code_tables_and_addresses_are_no_prose(tmp_path: Path) -> None:
    page = tmp_path / "good.md"
    page.write_text(GOOD)
    done = check(page)
    assert done.returncode == 0, done.stdout + done.stderr


MODULE = f'''"""A module.

The the first.
"""

def public(kin):
    """Return it.

    Who finds the name taken reads the record: {WORDS} {WORDS}.

    Parameters
    ----------
    kin
        {WORDS} {WORDS}

    >>> the the example
    """
    raise ValueError(f"{{kin}}: its rivals {{kin}}")

def _private():
    """The the."""
'''


def test_docstrings_and_messages_are_prose(tmp_path: Path) -> None:
    """Red: names of parameters, examples and lists of columns taken for sentences."""
    module = tmp_path / "module.py"
    module.write_text(MODULE)
    done = check(module)
    assert done.returncode == 1
    lines = [line.removeprefix(f"{module}:") for line in done.stdout.splitlines()]
    assert [line.partition(": ")[0] for line in lines] == ["3", "9", "9", "18"]
    for line, part in zip(lines, ("The the", "Who finds", "48 words", "rivals"), strict=True):
        assert part in line


def test_ci_checks_the_documentation() -> None:
    lint = (TOP / ".ci/run").read_text().partition('"== lint"')[2].partition("echo")[0]
    assert "\n  python scripts/check_prose.py\n" in lint


@pytest.mark.slow
def test_the_documentation_has_no_fault() -> None:
    done = check()
    assert done.returncode == 0, done.stdout + done.stderr
