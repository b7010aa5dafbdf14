"""The benchmark of Ray against plain processes, small: both compute the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks/overhead.py"


@pytest.mark.slow
def test_both_pools_compute_the_same_units_and_tell_what_they_took() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--cells", "1200", "--categories", "3", "--expressed",
         "300", "--panel", "64", "--unit-cells", "100", "--take", "2", "--memory", "8GB"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["parity"] is True
    assert told["cells"] == 800
    assert told["units"] == 8
    assert len(told["overhead_per_turn"]) == 2
    for pool in ("ray", "plain"):
        assert told["unit_seconds"][pool] <= 2 * told["seconds"][pool] + 0.1
        assert told["cpu"][pool]["pool"] > 0
