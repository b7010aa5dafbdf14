"""The peer's environment, for the parity tests."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from peer_environment import napistu  # noqa: E402


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of napistu-torch 0.4.0, made where there is none yet; offline: skip."""
    top = tmp_path_factory.getbasetemp()
    top = top.parent if "PYTEST_XDIST_WORKER" in os.environ else top
    try:
        with (top / "peer.lock").open("w") as lock:  # of two processes the second waits
            fcntl.flock(lock, fcntl.LOCK_EX)
            return napistu()
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"napistu-torch 0.4.0 cannot be installed here: {error}")
