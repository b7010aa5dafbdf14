"""Layers of one model against each other, ``mean_residual`` logits: ours against napistu-torch.

    python benchmarks/layer_comparison.py --genes 4000 --peer
    python benchmarks/layer_comparison.py --random-shapes 5 --peer

Random residual streams and projections. One fresh process a side and run, equal threads, median of
``--runs``; inputs are loaded before the clock starts, all outputs (top pairs, union values and
ranks, Spearman, rank agreement) are made before it stops. The peer is napistu-torch 0.4.0's
``compare_layer_attention_consistency`` in a virtual environment of its own, made on first use;
parity is checked inside it by the epsilon rule (docs/performance.md). Prints one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from measure import measured
from peer_environment import napistu

HERE = Path(__file__).parent


def make_inputs(shape: dict[str, int], absolute: bool, seed: int, path: Path) -> None:
    """Write a residual stream per layer and its projections, scaled as in trained models."""
    rng = np.random.default_rng(seed)
    n, d, layers = shape["genes"], shape["dim"], shape["layers"]
    residual = rng.standard_normal((layers, n, d), dtype=np.float32)
    residual[1:] += residual[0]  # layers share a part, so that they agree somewhere
    w_q, w_k = rng.standard_normal((2, layers, d, d), dtype=np.float32) / np.float32(np.sqrt(d))
    threads = os.cpu_count() or 1
    np.savez(
        path, residual=residual, w_q=w_q, w_k=w_k, heads=shape["heads"], k=shape["k"],
        absolute=absolute, threads=threads,
    )  # fmt: skip


def ours(inputs: Path, out: Path) -> dict[str, float]:
    import torch
    from factor_consistency import Consistency, compare_factors
    from octoscope.attention.low_rank import Factors

    data = dict(np.load(inputs))
    torch.set_num_threads(int(data["threads"]))

    def compare(data: dict[str, Any], k: int) -> Consistency:
        heads = int(data["heads"])

        def split(x: np.ndarray, w: np.ndarray) -> np.ndarray:
            projected = (torch.from_numpy(x) @ torch.from_numpy(w).T).numpy()
            return projected.reshape(len(x), heads, -1).transpose(1, 0, 2)

        class Layers(Mapping[int, Factors]):
            """Factors made when asked for: projecting is quick, holding all is not."""

            def __getitem__(self, i: int) -> Factors:
                x = data["residual"][i]
                q, k_heads = split(x, data["w_q"][i]), split(x, data["w_k"][i])
                return Factors.of_heads(q, k_heads, q.shape[2] ** -0.5)

            def __iter__(self) -> Iterator[int]:
                return iter(range(len(data["residual"])))

            def __len__(self) -> int:
                return len(data["residual"])

        return compare_factors(
            Layers(), k, by_absolute_value=bool(data["absolute"]), conventions="peer"
        )

    small = data | {"residual": data["residual"][:, :64]}
    compare(small, 10)  # compiled code is loaded from its cache, as after any first use
    compared, figures = measured(lambda: compare(data, int(data["k"])))
    layers, n = list(compared.top), data["residual"].shape[1]
    table = compared.agreement.sort_values(["query_layer", "eval_layer"])
    np.savez(
        out,
        query=compared.union["query"],
        key=compared.union["key"],
        values=np.stack([compared.union[f"value_{i}"] for i in layers]),
        ranks=np.stack([compared.union[f"rank_{i}"] for i in layers]),
        spearman=compared.spearman.to_numpy(),
        median_quantile=table["median_quantile"],
        mean_quantile=table["mean_quantile"],
        **{
            f"top_{i}": np.sort(t.query.astype(np.int64) * n + t.key)
            for i, t in compared.top.items()
        },
    )
    return figures


def compare(a: argparse.Namespace, shape: dict[str, int], seed: int) -> dict[str, Any]:
    """Run both sides on one shape; returns the figures."""
    figures: dict[str, Any] = {**shape, "by_absolute_value": not a.signed}
    with tempfile.TemporaryDirectory() as folder:
        inputs, out, peer_figures = (
            Path(folder) / n for n in ("inputs.npz", "ours.npz", "figures.json")
        )
        make_inputs(shape, not a.signed, seed, inputs)
        runs = []
        for _ in range(a.runs + 1):  # the first may compile
            command = [sys.executable, __file__, "--side", str(inputs), str(out)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
        mine = {n: float(np.median([r[n] for r in runs[1:]])) for n in runs[0]}
        figures |= {f"ours_{n}": v for n, v in mine.items()}
        if not a.peer:
            return figures
        runs = []
        for i in range(a.peer_runs or a.runs):
            command = [
                str(napistu()),
                str(HERE / "peer_napistu.py"),
                *map(str, (inputs, out, peer_figures)),
            ]
            subprocess.run(command + ["--no-parity"] * (i > 0), check=True)
            runs.append(json.loads(peer_figures.read_text()))
        theirs = {n: float(np.median([r[n] for r in runs])) for n in mine}
        figures |= {f"peer_{n}": v for n, v in theirs.items()}
        figures["parity"] = runs[0]["parity"]
        figures["speed_ratio"] = round(theirs["seconds"] / mine["seconds"], 1)
        figures["memory_ratio"] = round(mine["peak"] / theirs["peak"], 4)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, default in (("genes", 4000), ("layers", 6), ("dim", 128), ("heads", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--k", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peer-runs", type=int, help="runs of the peer, if not as many")
    parser.add_argument("--peer", action="store_true", help="run napistu-torch 0.4.0 too")
    parser.add_argument("--signed", action="store_true", help="order by value, not by |value|")
    parser.add_argument(
        "--random-shapes", type=int, nargs="?", const=4, metavar="N", help="N random shapes instead"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", nargs=2, type=Path, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.side:
        print(json.dumps(ours(*a.side)))
        return
    if not a.random_shapes:
        shape = {n: getattr(a, n) for n in ("genes", "layers", "dim", "heads", "k")}
        print(json.dumps({"benchmark": "layer_comparison", **compare(a, shape, a.seed)}))
        return
    rng = np.random.default_rng(a.seed)
    every = []
    for i in range(a.random_shapes):
        heads = int(rng.choice([2, 4, 8]))
        shape = {
            "genes": int(rng.integers(800, 6000)), "layers": int(rng.integers(2, 9)),
            "dim": heads * int(rng.choice([16, 24, 32, 64])), "heads": heads,
            "k": int(rng.integers(500, 20_000)),
        }  # fmt: skip
        every.append(compare(a, shape, i))
        print(json.dumps(every[-1]), flush=True)
    summary = {"benchmark": "layer_comparison", "shapes": len(every)}
    if a.peer:
        summary |= {
            "speed_ratio": min(e["speed_ratio"] for e in every),
            "memory_ratio": max(e["memory_ratio"] for e in every),
            "parity": all(e["parity"]["ok"] for e in every),
        }
    summary |= {
        f"{side}_{what}": [e[f"{side}_{what}"] for e in every]
        for side in ("ours", "peer")[: 1 + a.peer]
        for what in ("seconds", "peak")
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
