"""docs/guide.md: every command on the page, in its order, in one shell, as newcomers do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def blocks(page: Path) -> list[str]:
    """Return the shell blocks of a page."""
    return re.findall(r"^```bash\n(.*?)^```$", page.read_text(), flags=re.M | re.S)


@pytest.mark.slow
@pytest.mark.alone  # its cluster has Ray's own ports, and `ray stop` stops every Ray
@pytest.mark.timeout(900)
def test_the_guide_can_be_followed_on_one_machine(tmp_path: Path) -> None:
    shown = blocks(ROOT / "docs/guide.md")
    assert len(shown) == 6
    (tmp_path / "engine").symlink_to(ROOT / "engine")
    home = tmp_path / "home"
    home.mkdir()
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    env |= {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{env['PATH']}"}
    script = "set -euo pipefail\n" + "\n".join(shown)
    try:
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True,
            timeout=850, check=False,
        )  # fmt: skip
    finally:
        ray = shutil.which("ray", path=env["PATH"])
        assert ray
        subprocess.run([ray, "stop", "--force"], env=env, capture_output=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-6000:]
    assert "the same tables\n" in done.stdout
    assert "the same tables after a stop\n" in done.stdout
    assert "verified: finished run" in done.stdout
    # the stopped job was in the middle, and the second one did the rest only
    assert "unfinished" in done.stdout
    # two replicas on two nodes
    assert (tmp_path / "runs/cluster/_SUCCESS").exists()
    assert not list((tmp_path / "first").glob("*token*"))
