"""Steps of the reduction and of ranks with AVX-512, and limited to AVX2 by environment variables.

    python benchmarks/instruction_sets.py [--tokens 1200] [--turns 3]

On a machine with AVX-512. Processes of the two sets run in turn, on one thread. Times are CPU
seconds of that thread, the least of several, so that other processes disturb little. The ratio is
AVX2 over AVX-512. A processor without AVX-512 has other caches and clocks: the ratio says what the
instructions cost. Prints a table and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

AVX2 = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx,+avx2,+bmi,+bmi2,+fma,+lzcnt,+movbe,+popcnt,+sse4.2",
}
HEADS, WIDTH, ROWS, KEYS = 8, 64, 64, 60_000


def cpu_seconds(call: Callable[[], Any], repeat: int = 5) -> float:
    """Return the least CPU seconds of this thread that a call takes, after one that compiles."""
    call()
    seconds = []
    for _ in range(repeat):
        started = time.thread_time()
        call()
        seconds.append(time.thread_time() - started)
    return min(seconds)


def steps(tokens: int) -> dict[str, float]:
    """Return nanoseconds of a score (or of a value that is counted) in each step, on one thread."""
    import numpy as np
    import torch
    from octoscope.attention.cpu_kernels import add_heads, scatter
    from octoscope.attention.gemm import Keys
    from octoscope.attention.ranks import RankTable

    torch.set_num_threads(1)
    torch.manual_seed(0)
    q, k = torch.randn(HEADS, ROWS, WIDTH), torch.randn(tokens, WIDTH)
    keys = Keys(k, 1000)
    scores = torch.randn(HEADS, ROWS, tokens)
    one, n = ROWS * tokens, HEADS * ROWS * tokens
    probability, logit = np.zeros((2, ROWS, tokens), np.float32)
    mass, none = np.zeros((ROWS, 1)), np.zeros(0, np.int64)
    given = scores.numpy().copy()

    def compiled_pass() -> None:
        given[:] = scores.numpy()
        add_heads(
            given, tokens, tokens, none, none, np.float32(1 / HEADS), probability, logit, mass
        )

    values = np.random.default_rng(0).normal(size=(400, tokens)).astype(np.float32)
    table = RankTable(np.sort(np.random.default_rng(1).normal(size=KEYS)).astype(np.float32))
    sums, genes = np.zeros((2 * ROWS, 2 * tokens)), np.arange(0, 2 * tokens, 2)
    rows = np.arange(0, 2 * ROWS, 2)
    return {
        "product (oneDNN)": 1e9 * cpu_seconds(lambda: [keys.products(x) for x in q]) / n,
        "product (torch.mm)": 1e9 * cpu_seconds(lambda: [x @ k.T for x in q]) / n,
        "softmax and sums (numba)": 1e9 * cpu_seconds(compiled_pass) / n,
        "exp (torch)": 1e9 * cpu_seconds(lambda: torch.exp(scores)) / n,
        "softmax (torch)": 1e9 * cpu_seconds(lambda: torch.softmax(scores, -1)) / n,
        "scatter (numba)": 1e9
        * cpu_seconds(lambda: scatter(probability, rows, genes, np.float32(1), sums)) / one,
        "counting (numba)": 1e9 * cpu_seconds(lambda: table.count(0, values, None)) / values.size,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tokens", type=int, default=1200)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--one", action="store_true", help="of a child process")
    a = parser.parse_args()
    if a.one:
        from octoscope.store.instruction_set import instruction_set

        print(json.dumps({"set": instruction_set(), "ns": steps(a.tokens)}))
        return
    command = [sys.executable, __file__, "--one", "--tokens", str(a.tokens)]
    least: dict[str, dict[str, float]] = {"AVX-512": {}, "AVX2": {}}
    processors = {}
    for _ in range(a.turns):
        for name, limits in (("AVX-512", {}), ("AVX2", AVX2)):
            done = subprocess.run(
                command, env=os.environ | limits, stdout=subprocess.PIPE, text=True, check=True
            )
            answer = json.loads(done.stdout.splitlines()[-1])
            processors[name] = answer["set"]
            for step, ns in answer["ns"].items():
                least[name][step] = min(ns, least[name].get(step, ns))
    ratio = {step: least["AVX2"][step] / ns for step, ns in least["AVX-512"].items()}
    for step, times in ratio.items():
        both = (least[name][step] for name in least)
        print(f"{step:26} {' '.join(f'{ns:7.3f}' for ns in both)} ns   {times:.2f} x")
    print(json.dumps({"benchmark": "instruction_sets", "tokens": a.tokens, "ns": least,
                      "ratio": ratio, "sets": processors}))  # fmt: skip


if __name__ == "__main__":
    main()
