"""The benchmark for GPUs runs where there is none: tiny sizes, kernels interpreted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

gpu = pytest.importorskip("gpu", reason="Triton is not installed", exc_type=ImportError)


def test_a_device_is_busy_while_any_kernel_runs() -> None:
    spans = [("CUDA", 10, 20), ("CUDA", 15, 30), ("CUDA", 16, 18), ("CPU", 0, 99), ("CUDA", 40, 50)]
    events = [
        SimpleNamespace(
            device_type=getattr(torch.autograd.DeviceType, kind),
            time_range=SimpleNamespace(start=start, end=end),
        )
        for kind, start, end in spans
    ]
    assert gpu.busy_share(SimpleNamespace(events=lambda: events)) == 0.75


@pytest.mark.slow
def test_the_benchmark_runs_without_a_gpu_and_keeps_a_trace(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    done = subprocess.run(
        [sys.executable, gpu.__file__, "--smoke", "--trace", str(file)],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads(done.stdout.splitlines()[-1])
    assert len(summary["parity"]) == 6
    assert all(row["ok"] and row["same_bits"] for row in summary["parity"])
    assert summary["kernels"] == 4
    assert len(summary["peers"]) == 6
    assert not [row for row in summary["peers"] if "failed" in row or row["error"] > 1e-5]
    assert summary["left_out"] == []
    assert summary["actor"]["cells"] == 1
    events = json.loads(file.read_text())["traceEvents"]
    assert "aten::scaled_dot_product_attention" in {e.get("name") for e in events}
