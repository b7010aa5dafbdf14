"""The reduction on a GPU: parity, kernels against the device's own rates and peers, an actor.

    python benchmarks/gpu.py [--minutes 9] [--trace FILE]    on a machine with a GPU
    python benchmarks/gpu.py --smoke [--trace FILE]          without one: tiny, interpreted

One run of less than ten minutes: what no longer fits into the time is named as left out. The share
of the roofline is the least time that products, exponentials and accumulators take at the rates
measured here in the same run (tensor-core products, exp2 in registers, a copy), over its time.
Eager is softmax(q k^T) of every cell, averaged over heads and added up in float64. Two further
peers do the same under torch.compile and with FlexAttention (gpu_peers.py); --smoke traces them
without generating code. SDPA is torch's attention on the same queries and keys, which keeps no
scores. The actor computes a unit of AIDO.Cell's shape (random weights), as a run does; --trace
computes one more under torch's profiler and keeps its trace (chrome://tracing, ui.perfetto.dev),
and says in which share of the time the device ran a kernel. Prints a table and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from gpu_model import PRODUCTS, Card, Model, times
from gpu_peers import FLEX_NOTE, Averaged, add_averages, peers, written_out
from octoscope.attention.accumulate import BatchLayout, Heads, LayerSums, QKBatch
from octoscope.attention.reductions import Precision
from octoscope.attention.triton_reduce import TritonTiles

SMOKE = "--smoke" in sys.argv
DEVICE = torch.device("cpu" if SMOKE else "cuda")
# tokens, heads, cells of a micro-batch
SIZES = [(40, 2, 2)] if SMOKE else [(1200, 8, 32), (2200, 8, 16), (6000, 8, 8), (19264, 4, 2)]
WIDTHS = (32,) if SMOKE else (32, 64)
PARITY = 1e-5  # of the mean magnitude


def settled() -> float:
    """Return the time when everything that was asked of the device is done."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def timed(call: Callable[[], Any], most: float = 3.0) -> float:
    """Return the median seconds of a call, after one that compiles; fewer if they are long."""
    call()
    seconds: list[float] = []
    while len(seconds) < (1 if SMOKE else 5) and sum(seconds) < most:
        started = settled()
        call()
        seconds.append(settled() - started)
    return float(np.median(seconds))


@triton.jit
def exponentials(out, times, BLOCK: tl.constexpr):
    """Raise 2 to powers that stay in registers, ``times`` times."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(out + at)
    for _ in range(times):
        x = tl.exp2(-x)  # converges to a number between 0 and 1
    tl.store(out + at, x)


def rates() -> Card:
    """Return what this device does in a second: products by precision, exponentials, bytes."""
    n = 64 if SMOKE else 8192
    x = torch.randn(n, n, device=DEVICE)
    half = x.bfloat16()
    torch.backends.cuda.matmul.allow_tf32 = False
    fp32 = 2 * n**3 / timed(lambda: x @ x)
    torch.backends.cuda.matmul.allow_tf32 = True
    tf32 = 2 * n**3 / timed(lambda: x @ x)
    torch.backends.cuda.matmul.allow_tf32 = False
    bf16 = 2 * n**3 / timed(lambda: half @ half)
    count, block, again = (2, 16, 2) if SMOKE else (132 * 64, 1024, 4096)
    numbers = torch.rand(count * block, device=DEVICE)
    exp = count * block * again / timed(lambda: exponentials[(count,)](numbers, again, BLOCK=block))
    large = torch.zeros((2, 1 << (12 if SMOKE else 30)), dtype=torch.uint8, device=DEVICE)
    memory = large.numel() / timed(lambda: large[0].copy_(large[1]))
    return Card("here", tf32, bf16, fp32, memory, exp)


def cells_of(
    tokens: int, heads: int, width: int, cells: int, share: float, seed: int = 0
) -> tuple[QKBatch, list[np.ndarray]]:
    """Return a micro-batch of cells with a share of the genes, and the genes of each."""
    rng = np.random.default_rng(seed)
    sizes = [
        tokens if share == 1 else int(tokens * share * rng.uniform(0.8, 1.2)) for _ in range(cells)
    ]
    genes = [np.sort(rng.permutation(tokens)[:n]) for n in sizes]
    longest = max(sizes)
    panel = np.full((cells, longest), -1)
    for row, of_cell in zip(panel, genes, strict=True):
        row[: len(of_cell)] = of_cell
    g = torch.Generator(DEVICE).manual_seed(seed)
    q, k = torch.randn(2, cells, longest, heads, width, generator=g, device=DEVICE).transpose(2, 3)
    layout = BatchLayout(panel, np.full(panel.shape, -1))
    mask = torch.from_numpy(panel >= 0).to(DEVICE)
    return QKBatch(q, k, width**-0.5, mask, layout), genes


def sums_of(
    tokens: int, precision: Precision, heads: tuple[Heads, ...] = ("mean",), moments: int = 1
) -> LayerSums:
    return LayerSums(
        tokens, ("kept",), tile=512, device=DEVICE, heads=heads, moments=moments,
        reduction=TritonTiles(precision),
    )  # fmt: skip


def parity() -> list[dict[str, Any]]:
    """Return the largest error of each precision, of the mean magnitude, against float64."""
    rows = []
    tokens, heads, cells = (24, 2, 2) if SMOKE else (700, 4, 6)
    for share in (1.0, 0.3):
        batch, genes = cells_of(tokens, heads, 64 if not SMOKE else 16, cells, share, 1)
        want = torch.zeros((tokens, tokens), dtype=torch.float64, device=DEVICE)
        add_averages(written_out, batch, genes, want, torch.float64)
        for precision in PRODUCTS:
            both = [sums_of(tokens, precision) for _ in range(2)]  # type: ignore[arg-type]
            for sums in both:
                sums.add([batch])
            gap = float((both[0].sums[0, 0] - want).abs().max() / want[want > 0].mean())
            wide = sums_of(tokens, precision, ("max",), 2)  # type: ignore[arg-type]
            wide.add([batch])
            wide.check_mass("largest over heads")
            both[0].check_mass("parity", 1e-4)
            rows.append({
                "share": share, "precision": precision, "error": gap,
                "same_bits": torch.equal(both[0].sums, both[1].sums),
                "ok": gap <= (PARITY if precision != "bf16" else 0.1),
            })  # fmt: skip
    return rows


def kernel(
    tokens: int, heads: int, cells: int, width: int, share: float, precision: Precision, card: Card
) -> dict[str, Any]:
    """Return time of a micro-batch, its share of the roofline, and that of the peers."""
    batch, genes = cells_of(tokens, heads, width, cells, share)
    sums = sums_of(tokens, precision)
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    own = timed(lambda: sums.add([batch]))
    peak = torch.cuda.max_memory_allocated() - before if DEVICE.type == "cuda" else 0
    mean = int(np.mean([len(of_cell) for of_cell in genes]))
    shape = Model("", 1, heads * width, heads, mean, tokens if share < 1 else mean, cells)
    least = cells * times(shape, card, precision)["roof"]
    total = torch.zeros((tokens, tokens), dtype=torch.float64, device=DEVICE)
    other = timed(lambda: add_averages(written_out, batch, genes, total, torch.float32))
    q, k = (x.bfloat16() for x in (batch.q, batch.k))
    forward = timed(lambda: torch.nn.functional.scaled_dot_product_attention(q, k, k))
    if SMOKE:
        least = own = other = forward = math.nan
    return {
        "tokens": tokens, "heads": heads, "cells": cells, "width": width, "share": share,
        "precision": precision, "ms": 1e3 * own, "roofline_share": least / own,
        "eager_ratio": other / own, "forward_ratio": own / forward, "peak_bytes": peak,
    }  # fmt: skip


def peer(
    name: str, averaged: Averaged, tokens: int, heads: int, cells: int, width: int, share: float
) -> dict[str, Any]:
    """Return a peer's time of a micro-batch against the reduction's, its error, or why it failed.

    ``error``: the largest, of the mean magnitude, against eager attention in float64 (of one cell).
    """
    row = {
        "peer": name, "tokens": tokens, "heads": heads, "cells": cells, "width": width,
        "share": share,
    }  # fmt: skip
    batch, genes = cells_of(tokens, heads, width, cells, share)
    total = torch.zeros((tokens, tokens), dtype=torch.float64, device=DEVICE)
    started = settled()
    try:
        add_averages(averaged, batch, genes[:1], total, torch.float32)
        first = settled() - started
        want = torch.zeros_like(total)
        add_averages(written_out, batch, genes[:1], want, torch.float64)
        error = float((total - want).abs().max() / want[want > 0].mean())
        del want
        seconds = timed(lambda: add_averages(averaged, batch, genes, total, torch.float32))
    except Exception as fault:  # noqa: BLE001  of a compiler: the figures of the others still count
        return row | {"failed": f"{type(fault).__name__}: {str(fault).splitlines()[0][:200]}"}
    sums = sums_of(tokens, "tf32x3")
    own = timed(lambda: sums.add([batch]))
    row["error"] = error
    if SMOKE:  # the interpreter's times say nothing
        return row
    return row | {"ms": 1e3 * seconds, "ratio": seconds / own, "first_cell_seconds": first}


def busy_share(profile: torch.profiler.profile) -> float:
    """Return the share of the time, from the first kernel to the last, in which one ran."""
    cuda = torch.autograd.DeviceType.CUDA
    spans = [e.time_range for e in profile.events() if e.device_type == cuda]
    busy, stop = 0.0, -math.inf
    for span in sorted(spans, key=lambda s: s.start):
        busy += max(0.0, span.end - max(stop, span.start))
        stop = max(stop, span.end)
    return busy / (stop - min(s.start for s in spans)) if spans else math.nan


def traced(call: Callable[[], Any], file: Path) -> dict[str, Any]:
    """Write a trace of a call; on a GPU also return the share of the time that it was busy."""
    on_gpu = DEVICE.type == "cuda"
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if on_gpu else []
    with torch.profiler.profile(activities=kinds) as profile:
        call()
        settled()
    profile.export_chrome_trace(str(file))
    return {"busy_share": busy_share(profile)} if on_gpu else {}


def actor(trace: Path | None) -> dict[str, Any]:
    """Return cells per second of a unit, the share of it that waited for data, and memory."""
    from aidocell_full_length import panel, write_checkpoint
    from octoscope.config import dump_config, parse_config
    from octoscope.demo.demo import demo_tree
    from octoscope.extract.unit_work import UnitRunner
    from octoscope.planning.resolve import make_plan
    from octoscope.store.plan_file import save_plan
    from octoscope.store.run_dir import RunRoot

    layers, cells, genes = (1, 1, 40) if SMOKE else (6, 24, 2000)
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)
        write_checkpoint(folder / "checkpoint", "3M", layers)
        tree = demo_tree()
        tree |= {
            "models": [{"name": "big", "family": "aidocell", "path": str(folder / "checkpoint")}],
            "gene_sets": [{"name": "panel", "kind": "panel", "genes": panel(genes)}],
            "accumulate": "panel", "network": None, "edges": None, "compare": None,
            "estimators": ["per_cell"],
            "execution": {"unit_cells": cells, "device": DEVICE.type},
        }  # fmt: skip
        tree["atlas"]["categories"] = ["macrophage"]
        if SMOKE:  # 19,266 tokens take a minute on a CPU: the panel alone
            tree["models"][0] |= {"tokens": "panel", "panel": "panel"}
        root = RunRoot(str(folder / "run"))
        config = parse_config(tree, "benchmark")
        plan = make_plan(config, folder / "run")
        root.create_once("config.yaml", dump_config(config).encode())
        save_plan(root, plan)
        runner = UnitRunner(root, plan, config, "big")
        first, *rest = plan.units
        runner.run(first)  # compiles
        if DEVICE.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        metrics = runner.run(rest[0] if rest else first).metrics
        peak = torch.cuda.max_memory_allocated() if DEVICE.type == "cuda" else 0
        more = {} if trace is None else traced(lambda: runner.run(first), trace)
    return {
        "cells": metrics["cells_used"], "layers": layers,
        "cells_per_second": metrics["cells_used"] / max(metrics["seconds"], 1e-9),
        "wait_share": metrics["wait_seconds"] / max(metrics["seconds"], 1e-9),
        "peak_bytes": peak, "planned_bytes": plan.needs["device_bytes"], **more,
    }  # fmt: skip


def measure(summary: dict[str, Any], ends: float, cases: list[Any], card: Card) -> None:
    """Measure and print the kernels of some cases, as long as there is time."""
    for case in cases:
        if time.monotonic() > ends:
            summary["left_out"].append(case)
            continue
        row = kernel(*case, card)
        summary["kernels"].append(row)
        if SMOKE:  # the interpreter's times say nothing
            print({name: row[name] for name in ("tokens", "width", "share", "precision")})
            continue
        print(
            f"{row['tokens']} tokens, {row['heads']} x {row['width']}, share {row['share']}, "
            f"{row['precision']}: {row['ms']:.3g} ms, {row['roofline_share']:.0%} of the "
            f"roofline, eager {row['eager_ratio']:.1f} x, SDPA {row['forward_ratio']:.2f} x",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, without a GPU")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--trace", type=Path, help="file for a trace of one more unit")
    a = parser.parse_args()
    if SMOKE and os.environ.get("TRITON_INTERPRET") != "1":  # read when kernels are imported
        os.execve(
            sys.executable, [sys.executable, *sys.argv], os.environ | {"TRITON_INTERPRET": "1"}
        )
    if DEVICE.type == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU is visible; --smoke checks the script without one")
    ends = time.monotonic() + 60 * a.minutes
    summary: dict[str, Any] = {
        "benchmark": "gpu", "smoke": SMOKE, "torch": torch.__version__,
        "triton": triton.__version__,
        "device": platform.processor() if SMOKE else torch.cuda.get_device_name(),
    }  # fmt: skip
    with torch.inference_mode():
        summary["parity"] = parity()
        card = rates()
        summary["rates"] = {k: v for k, v in vars(card).items() if k != "name"}
        if not SMOKE:
            print(" ".join(f"{k} {v:.3g}" for k, v in summary["rates"].items()), flush=True)
        summary["kernels"], summary["peers"], summary["left_out"] = [], [], []
        summary["flex_note"] = FLEX_NOTE
        summary["actor"] = actor(a.trace)
        sizes = [
            (*size, width, share) for size in SIZES for width in WIDTHS for share in (1.0, 0.4)
        ]
        measure(summary, ends, [(*size, "tf32x3") for size in sizes], card)
        against = peers("eager" if SMOKE else "inductor", flex_compiled=not SMOKE)
        for size in (size for size in sizes if size[3] == WIDTHS[-1]):
            for name, averaged in against.items():
                if time.monotonic() > ends:
                    summary["left_out"].append((*size, name))
                    continue
                summary["peers"].append(row := peer(name, averaged, *size))
                print(row, flush=True)
        measure(summary, ends, [(*size, "bf16") for size in sizes], card)
    if SMOKE:
        del summary["rates"], summary["actor"]["cells_per_second"], summary["actor"]["wait_share"]
        summary["kernels"] = len(summary["kernels"])
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
