"""Tutorials: every block of a page, in its order, in one folder, as a reader runs them.

Also: that a test follows each tutorial, and passes over none of its code.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

TOP = Path(__file__).parents[2]
# made from first_run.md (tests/results/test_reference.py)
NOTEBOOK = TOP / "docs/tutorials/first_run.ipynb"
# the test that runs the blocks of a page, and the kinds of blocks that it runs
FOLLOWED = {
    "README.md": ("tests/docs/test_pages.py", {"bash", "python"}),
    "docs/tutorials/first_run.md": ("tests/docs/test_tutorials.py", {"python"}),
    "docs/tutorials/own_data.md": ("tests/docs/test_pages.py", {"bash", "python"}),
    "docs/guide.md": ("tests/test_guide.py", {"bash"}),
}


def passed_over(page: str, kinds: set[str]) -> list[str]:
    """Return the code of a page that a test would not run: other kinds, and indented blocks."""
    return [
        token.content
        for token in MarkdownIt("commonmark").parse(page)
        if token.type == "code_block"
        or (token.type == "fence" and (token.level or token.info not in kinds))
    ]


def test_a_test_runs_all_code_of_the_readme_and_of_every_tutorial() -> None:
    """Red: a tutorial that no test follows; a block that its test does not see."""
    nav = yaml.safe_load((TOP / "mkdocs.yml").read_text())["nav"]
    tutorials = next(part["Tutorials"] for part in nav if "Tutorials" in part)
    pages = {f"docs/{page}" for entry in tutorials for page in entry.values()}
    assert pages | {"README.md"} == set(FOLLOWED)
    for page, (test, kinds) in FOLLOWED.items():
        assert passed_over((TOP / page).read_text(), kinds) == [], page
        assert page.removeprefix("docs/") in (TOP / test).read_text()


@pytest.mark.parametrize(
    "page", ["```sh\nls\n```\n", "- a\n\n  ```bash\n  ls\n  ```\n", "a\n\n    ls\n"]
)
def test_code_that_a_test_does_not_run_is_seen(page: str) -> None:
    assert passed_over(page, {"bash", "python"}) == ["ls\n"]


@pytest.mark.slow
def test_the_first_run_in_python_can_be_followed(tmp_path: Path) -> None:
    """The notebook's own cells: Python alone, no magic of IPython and no command line."""
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 8
    script = tmp_path / "notebook.py"
    script.write_text("\n".join(code))  # `%%bash` would be no Python
    calls = [
        ast.unparse(n.func)
        for n in ast.walk(ast.parse(script.read_text()))
        if isinstance(n, ast.Call)
    ]
    assert [name for name in calls if re.search("subprocess|system|get_ipython", name)] == []
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    env |= {"MPLBACKEND": "agg", "PATH": f"{Path(sys.executable).parent}:{env['PATH']}"}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=env, capture_output=True, text=True,
        timeout=550, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert (tmp_path / "attention.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "runs/first/_SUCCESS").exists()
    assert "<Run path=" in done.stdout
    assert "state=finished" in done.stdout
