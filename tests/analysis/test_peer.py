"""Layers compared as napistu-torch 0.4.0 compares them, on identical inputs, in its environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.analysis.conftest import BENCHMARKS


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "shape",
    [
        ["--genes=1200", "--layers=3", "--dim=32", "--heads=4", "--k=4000"],
        ["--genes=1000", "--layers=2", "--dim=64", "--heads=2", "--k=6000", "--signed"],
    ],
)
def test_layers_compared_equal_the_peers(peer: Path, shape: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "layer_comparison.py"), "--runs=1", "--peer", *shape],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env=os.environ | {"PYTHONPATH": str(BENCHMARKS.parent)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout.splitlines()[-1])["parity"]
    assert answer["ok"], answer
    assert answer["ranks_outside"] == answer["pairs_beyond_epsilon"] == 0
