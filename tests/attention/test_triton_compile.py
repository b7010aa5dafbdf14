"""Kernels compile for GPUs that are not here: they fit and use tensor cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="Triton is not installed (octoscope[triton])")

SCRIPT = Path(__file__).with_name("compile_kernels.py")
# none with Triton 3.9, up to 32 with 3.7.1; blocks that are too large spill hundreds to thousands
SPILLED = 64  # bytes of a thread
SHARED = {80: 163 << 10, 90: 227 << 10}  # bytes of a block, CUDA programming guide
FEW = [
    "80:tf32x3:64:whole",
    "90:tf32x3:64:whole,part,part moments",
    "90:bf16:64:whole",
    "90:ieee:64:rows",
]
# with FEW every kernel in each variant, at least once, and both widths
OTHERS = [
    "80:tf32x3:32:peaks,part logits,whole max,part max",
    "90:bf16:32:rows,whole moments,whole logits",
]
EVERY = [f"{t}:{p}:{w}:all" for t in SHARED for p in ("tf32x3", "ieee", "bf16") for w in (32, 64)]


def compiled(kernels: list[str], folder: Path) -> list[Any]:
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *kernels],
        env=env | {"TRITON_CACHE_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def check(metrics: list[dict[str, Any]]) -> None:
    for kernel in metrics:
        assert kernel["spilled"] <= SPILLED, kernel
        assert 0 < kernel["registers"] <= 255, kernel
        assert kernel["shared"] <= SHARED[kernel["target"]], kernel
        assert kernel["atomics"] == 0, kernel
        promised = {"tf32x3": ".tf32.tf32", "bf16": ".bf16.bf16"}.get(kernel["precision"])
        if promised is None:
            assert kernel["products"] == [], kernel
        else:
            assert kernel["products"], kernel
            assert all(promised in name for name in kernel["products"]), kernel


def test_kernels_fit_and_multiply_on_tensor_cores(tmp_path: Path) -> None:
    kernels = compiled(FEW, tmp_path)
    assert len(kernels) == 6
    check(kernels)
    # on Hopper whole cells are multiplied by the warp-group instruction, out of shared memory
    hopper = next(k for k in kernels if (k["name"], k["target"]) == ("whole", 90))
    assert all(name.startswith("wgmma") for name in hopper["products"])


@pytest.mark.slow
def test_every_variant_compiles(tmp_path: Path) -> None:
    """Red: a type that only the compiler checks, in a branch that a few kernels take."""
    kernels = compiled(OTHERS, tmp_path)
    check(kernels)
    names = {name for one in FEW + OTHERS for name in one.split(":")[3].split(",")}
    assert names == set(compiled(["names"], tmp_path))


@pytest.mark.campaign
def test_every_kernel_fits(tmp_path: Path) -> None:
    check(compiled(EVERY, tmp_path))
