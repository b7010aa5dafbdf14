"""Accumulating per-cell attention: ours against eager attention and this machine's own rates.

    python benchmarks/accumulate.py [--tokens 1200] [--heads 8] [--dim 64] [--ragged 0.4]
    python benchmarks/accumulate.py --sizes

Each side runs in processes of its own, with equal threads, three times; medians are compared. Eager
is softmax(q k^T / sqrt(d)) of every cell, averaged over heads and added up, as one would write it
(head by head where [heads, tokens, tokens] exceeds 2 GB). Both touch their accumulator before the
clock starts, as a unit does once for hundreds of cells. The roofline is the same matrix
products in the same blocks, by the fastest library here (oneDNN's; torch.mm's rate is told too),
and torch.exp over as many numbers, with as many threads. `--ragged s` gives each cell a random
share s of the genes; its rate per score is compared with that of full sets. `logits_alone` is how
many times faster a run is whose only view is the logit (no softmax). `--sizes` goes through
1,200 to 19,264 tokens (these once), fixed and ragged sets. Prints one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import status

# tokens, heads, d_head, cells, cells in a micro-batch: a panel, two models' lengths, AIDO.Cell
SIZES = [
    (1200, 8, 64, 128, 16),
    (3000, 8, 64, 64, 16),
    (6000, 16, 16, 16, 8),
    (19264, 20, 32, 2, 2),
]
PARITY = 1e-5  # of the probability and the mean probability together


def cell_of(a: argparse.Namespace, c: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Return q, k [heads, tokens, dim] and the ascending genes of cell ``c``."""
    rng = np.random.default_rng(c)
    n = a.tokens if a.share == 1 else int(a.tokens * a.share * rng.uniform(0.8, 1.2))
    genes = np.sort(rng.permutation(a.tokens)[:n])
    g = torch.Generator().manual_seed(c)
    # tokens before heads in memory, as a model's projections are
    q, k = torch.randn(2, n, a.heads, a.dim, generator=g).transpose(1, 2)
    return q, k, genes


def ours(a: argparse.Namespace) -> tuple[float, np.ndarray, int]:
    from octoscope.attention.accumulate import BatchLayout, LayerSums, QKBatch
    from octoscope.extract.malloc_trim import MallocTrim

    def batch(q: torch.Tensor, k: torch.Tensor, genes: np.ndarray) -> QKBatch:
        layout = BatchLayout(genes[None], np.full((1, len(genes)), -1))
        mask = torch.ones((1, len(genes)), dtype=torch.bool)
        return QKBatch(q[None], k[None], a.dim**-0.5, mask, layout)

    MallocTrim()  # as in every process that computes units
    warm = LayerSums(64, ("kept",), tile=512, device=torch.device("cpu"))
    whole = batch(*torch.randn(2, a.heads, 64, a.dim), np.arange(64))
    part = batch(*torch.randn(2, a.heads, 40, a.dim), np.arange(40))
    warm.add([whole])  # compiled code of both ways is loaded, as after any first use
    warm.add([whole, part] * 4)
    base = status("VmRSS")
    cpu = torch.device("cpu")
    sums = LayerSums(a.tokens, ("kept",), tile=512, device=cpu, logits_alone=a.side == "logits")
    sums.sums.zero_()
    took, scores = 0.0, 0
    with torch.inference_mode():
        for first in range(0, a.cells, a.micro):
            parts = [batch(*cell_of(a, c)) for c in range(first, min(first + a.micro, a.cells))]
            started = time.perf_counter()
            sums.add(parts)
            took += time.perf_counter() - started
            scores += sum(a.heads * p.q.shape[2] ** 2 for p in parts)
    print(json.dumps({"peak": status("VmHWM") - base}))
    return took, sums.sums[0, 0].numpy(), scores


def eager(a: argparse.Namespace) -> tuple[float, np.ndarray, int]:
    base = status("VmRSS")
    total = torch.zeros((a.tokens, a.tokens), dtype=torch.float64)
    logit = torch.zeros_like(total)
    for x in (total, logit):
        x.zero_()
    took, scores = 0.0, 0
    at_once = a.heads if a.heads * a.tokens**2 * 4 <= 2e9 else 1
    with torch.inference_mode():
        for c in range(a.cells):
            q, k, genes = cell_of(a, c)
            at = torch.from_numpy(genes)
            started = time.perf_counter()
            for h in range(0, a.heads, at_once):
                s = q[h : h + at_once] @ k[h : h + at_once].transpose(1, 2) * a.dim**-0.5
                p = torch.softmax(s, -1)
                if len(at) == a.tokens:
                    total += p.sum(0) / a.heads
                    logit += s.sum(0) / a.heads
                else:
                    total[at[:, None], at] += p.sum(0) / a.heads
                    logit[at[:, None], at] += s.sum(0) / a.heads
            took += time.perf_counter() - started
            scores += a.heads * len(at) ** 2
    print(json.dumps({"peak": status("VmHWM") - base}))
    return took, total.numpy(), scores


def roofline(a: argparse.Namespace) -> tuple[float, np.ndarray, int]:
    from concurrent.futures import ThreadPoolExecutor

    from octoscope.attention.cpu_reduce import _ROWS, _SCORES
    from octoscope.attention.gemm import Keys

    q, k, _ = cell_of(a, 0)
    tokens = q.shape[1]
    rows = int(np.clip(_SCORES // tokens, *_ROWS))
    keys = [Keys(k[h], -(-tokens // rows)) for h in range(a.heads)]
    blocks = [(h, r) for h in range(a.heads) for r in range(0, tokens, rows)]

    def run(kind: str) -> float:
        def block(at: tuple[int, int]) -> None:
            h, r = at
            x = q[h, r : r + rows]
            mine = threading.get_ident()
            if mine not in buffers:
                buffers[mine] = torch.zeros(rows * tokens)
            out = buffers[mine]
            s = out[: len(x) * tokens].view(len(x), tokens)
            with torch.inference_mode():  # a mode of the thread
                if kind == "product":
                    keys[h].products(x)
                elif kind == "torch.mm":
                    torch.mm(x, k[h].T, out=s)
                else:  # of ordinary numbers: exp of infinity is three times slower
                    torch.exp(scores[: s.numel()].view_as(s), out=s)

        import threading

        buffers: dict[int, torch.Tensor] = {}
        scores = -5 * torch.rand(rows * tokens)
        with ThreadPoolExecutor(a.threads, initializer=torch.set_num_threads, initargs=(1,)) as p:
            list(p.map(block, blocks))
            buffers = {i: torch.zeros_like(x) for i, x in buffers.items()}
            started = time.perf_counter()
            list(p.map(block, blocks))
            return time.perf_counter() - started

    with torch.inference_mode():
        took = {k: min(run(k) for _ in range(3)) * a.cells for k in ("product", "torch.mm", "exp")}
    print(json.dumps({name.removeprefix("torch."): t for name, t in took.items()}))
    return took["product"] + took["exp"], np.zeros(0), a.cells * a.heads * tokens**2


SIDES = {"ours": ours, "logits": ours, "eager": eager, "roofline": roofline}


def measure(a: argparse.Namespace, side: str, share: float, folder: Path) -> dict[str, float]:
    """Run a side in a process of its own, as often as asked for; return medians."""
    runs = []
    for _ in range(a.runs):
        done = subprocess.run(
            [sys.executable, __file__, "--side", side, "--out", str(folder / f"{side}.npy"),
             "--share", str(share), *(f"--{n}={getattr(a, n)}" for n in
             ("tokens", "heads", "dim", "cells", "micro", "threads"))],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        merged: dict[str, float] = {}
        for line in done.stdout.splitlines():
            merged |= json.loads(line)
        runs.append(merged)
    return {key: float(np.median([f[key] for f in runs])) for key in runs[0]}


def compare(a: argparse.Namespace) -> dict[str, Any]:
    """Run every side on one shape; returns the figures."""
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)

        def parity() -> float:
            x, y = (np.load(folder / f"{side}.npy") for side in ("ours", "eager"))
            size = np.abs(y)  # both sides are of fp32: large values differ by more
            return float((np.abs(x - y) / (size + size.mean())).max())

        sides = {side: measure(a, side, 1.0, folder) for side in SIDES}
        roof, own = sides["roofline"], sides["ours"]
        row = {
            "benchmark": "accumulate", "tokens": a.tokens, "heads": a.heads, "dim": a.dim,
            "cells": a.cells, "micro": a.micro, "threads": a.threads, "runs": a.runs,
            "speed_ratio": round(sides["eager"]["seconds"] / own["seconds"], 2),
            "memory_ratio": round(own["peak"] / sides["eager"]["peak"], 3),
            "roofline_share": round(roof["seconds"] / own["seconds"], 3),
            "logits_alone": round(own["seconds"] / sides["logits"]["seconds"], 2),
            "roofline_share_of_mm": round((roof["mm"] + roof["exp"]) / own["seconds"], 3),
            "parity": parity(),
        }  # fmt: skip
        row["parity_ok"] = row["parity"] <= PARITY
        for side, figures in sides.items():
            row |= {f"{side}_{key}": value for key, value in figures.items() if key != "scores"}
        if a.ragged:
            part = measure(a, "ours", a.ragged, folder)
            rate, full = (f["scores"] / f["seconds"] for f in (part, own))
            other = measure(a, "eager", a.ragged, folder)
            row |= {
                "ragged_share_of_genes": a.ragged,
                "ragged_rate": round(rate / full, 3),
                "ragged_speed_ratio": round(other["seconds"] / part["seconds"], 2),
                "ragged_parity": parity(),
            }
            row["parity_ok"] = row["parity_ok"] and row["ragged_parity"] <= PARITY
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    names = ("tokens", "heads", "dim", "cells", "micro")
    for name, default in zip(names, SIZES[0], strict=True):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ragged", type=float, default=0.0)
    parser.add_argument("--sizes", action="store_true", help="all sizes, fixed and ragged sets")
    parser.add_argument("--share", type=float, default=1.0, help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    if a.side:
        took, values, scores = SIDES[a.side](a)
        np.save(a.out, values)
        print(json.dumps({"seconds": took, "scores": scores}))
        return
    if not a.sizes:
        print(json.dumps(compare(a)))
        return
    rows = []
    for size in SIZES:
        shape = vars(a) | dict(zip(names, size, strict=True)) | {"ragged": a.ragged or 0.4}
        if size == SIZES[-1]:
            shape["runs"] = 1
        rows.append(compare(argparse.Namespace(**shape)))
        print(json.dumps(rows[-1]), flush=True)
    summary: dict[str, Any] = {"benchmark": "accumulate", "tokens": [r["tokens"] for r in rows]}
    least = ("speed_ratio", "roofline_share", "ragged_rate", "ragged_speed_ratio")
    summary |= {name: min(r[name] for r in rows) for name in least}
    summary["memory_ratio"] = max(r["memory_ratio"] for r in rows)
    summary["parity_ok"] = all(r["parity_ok"] for r in rows)
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
