"""docs/guide.md: every command on the page, in its order, in one shell, as newcomers do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A machine of its own where the kernel lends one: the guide's cluster has Ray's own ports, and its
# `ray stop` stops every Ray.
OWN = ["unshare", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", "bash", "-c"]


def can_be_apart() -> bool:
    """Tell whether this process may start others in namespaces of their own."""
    try:
        tried = subprocess.run([*OWN, "ip link set lo up"], capture_output=True, check=False)
    except OSError:
        return False
    return tried.returncode == 0


APART = can_be_apart()
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), *([] if APART else [pytest.mark.alone])]


def blocks(page: Path) -> list[str]:
    """Return the shell blocks of a page."""
    return re.findall(r"^```bash\n(.*?)^```$", page.read_text(), flags=re.M | re.S)


def test_the_guide_can_be_followed_on_one_machine(tmp_path: Path) -> None:
    shown = blocks(ROOT / "docs/guide.md")
    assert len(shown) == 6
    (tmp_path / "engine").symlink_to(ROOT / "engine")
    home = tmp_path / "home"
    home.mkdir()
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    env |= {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{env['PATH']}"}
    script = "set -euo pipefail\n" + "\n".join(shown)
    command = ["bash", "-c", script]
    if APART:
        env["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="g", dir="/tmp")  # short: sockets lie in it
        command = [*OWN, f"ip link set lo up\n{script}"]
    try:
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True,
            timeout=850, check=False,
        )  # fmt: skip
    finally:
        if APART:  # its processes ended with the first of them
            shutil.rmtree(env["RAY_TMPDIR"], ignore_errors=True)
        else:
            ray = shutil.which("ray", path=env["PATH"])
            assert ray
            subprocess.run([ray, "stop", "--force"], env=env, capture_output=True, check=False)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-6000:]
    assert "the same tables\n" in done.stdout
    assert "the same tables after a stop\n" in done.stdout
    assert "verified: finished run" in done.stdout
    # the stopped job was in the middle, and the second one did the rest only
    assert "unfinished" in done.stdout
    # two replicas on two nodes
    assert (tmp_path / "runs/cluster/_SUCCESS").exists()
    assert not list((tmp_path / "first").glob("*token*"))
