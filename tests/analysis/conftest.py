"""The peer's environment, for the parity tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from peer_environment import napistu  # noqa: E402


@pytest.fixture(scope="session")
def peer() -> Path:
    """Return the Python of napistu-torch 0.4.0, made where there is none yet; offline: skip."""
    try:
        return napistu()
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"napistu-torch 0.4.0 cannot be installed here: {error}")
