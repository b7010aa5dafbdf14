"""Follow a page: every bash and Python block in its order, in one folder, as a reader does.

`octoscope` commands run in this process (`tests/here.py`), all else in bash. The Python blocks of a
page share their names, as in a notebook. A command ends with 0, or as its comment says:
`octoscope verify RUN    # exit code 1`.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.here import here

DOCS = Path(__file__).parents[2] / "docs"


def follow(page: str, instead: Mapping[str, str] | None = None) -> str:
    """Run the blocks of a page in the current folder; returns what they printed.

    Parameters
    ----------
    page
        Path under ``docs/``.
    instead
        Texts of the page and what stands for them here, such as the URL of a bucket.
    """
    text = (DOCS / page).read_text()
    for old, new in (instead or {}).items():
        assert old in text
        text = text.replace(old, new)
    blocks = re.findall(r"^```(python|bash)\n(.*?)^```$", text, flags=re.M | re.S)
    assert blocks
    names: dict[str, object] = {}
    output = io.StringIO()
    for kind, block in blocks:
        if kind == "python":
            with contextlib.redirect_stdout(output):
                exec(compile(block, page, "exec"), names)
        elif all(line.startswith("octoscope ") for line in block.splitlines()):
            output.write(run_commands(block.splitlines()))
        else:
            subprocess.run(["bash", "-euc", block], check=True)
    return output.getvalue()


def run_commands(lines: list[str]) -> str:
    """Run `octoscope` commands, one a line, in this process; returns what they printed.

    A command ends with 0, or as its comment says; `> FILE` takes what it prints.
    """
    printed = ""
    for line in lines:
        words, file = shlex.split(line, comments=True)[1:], None
        if ">" in words:
            words, file = words[: words.index(">")], words[-1]
        done = here(*words)
        code = re.search(r"# exit code (\d)$", line)
        assert done.returncode == int(code[1] if code else 0), (line, done)
        if file is None:
            printed += done.stdout + done.stderr
        else:
            Path(file).write_text(done.stdout)
    return printed
