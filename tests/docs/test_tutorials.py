"""Tutorials: every block of a page, in its order, in one folder, as a reader runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/tutorials/first_run.md"


@pytest.mark.slow
def test_the_first_run_in_python_can_be_followed(tmp_path: Path) -> None:
    blocks = re.findall(r"^```(python|bash)\n(.*?)^```$", PAGE.read_text(), flags=re.M | re.S)
    assert [kind for kind, _ in blocks].count("python") >= 8
    # one interpreter for all Python blocks, as in a notebook
    lines = ["import subprocess"]
    for kind, text in blocks:
        if kind == "bash":
            lines.append(f"subprocess.run(['bash', '-euc', {text!r}], check=True)")
        else:
            lines.append(text)
    script = tmp_path / "page.py"
    script.write_text("\n".join(lines))
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
