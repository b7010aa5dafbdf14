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
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["parity"] is True
    assert answer["cells"] == 800
    assert answer["units"] == 8
    assert len(answer["overhead_per_turn"]) == 2
    for pool in ("ray", "plain"):
        assert answer["unit_seconds"][pool] <= 2 * answer["seconds"][pool] + 0.1
        assert answer["cpu"][pool]["pool"] > 0
