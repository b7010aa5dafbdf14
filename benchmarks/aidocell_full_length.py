"""Memory and time of AIDO.Cell's 100M shape at its published length, random weights, this machine.

    python benchmarks/aidocell_full_length.py [--cells 2] [--layers 18] [--genes 1000]

Writes a checkpoint of the published shape with random weights, plans a run over embedded cells and
computes one unit in this process, exactly as an actor does: layer by layer, over every cell of the
unit. Prints one JSON line: peak of this process above its imports, what the plan projected, and the
size of one cell's [heads, tokens, tokens], which is never held.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from measure import status
from octoscope.config import dump_config, parse_config
from octoscope.demo.demo import data, demo_tree
from octoscope.extract.unit_work import UnitRunner
from octoscope.models.aidocell import expected_shapes
from octoscope.planning.resolve import make_plan
from octoscope.store.plan_file import save_plan
from octoscope.store.run_dir import RunRoot

SHAPES = {"3M": (6, 128, 4, 320), "10M": (8, 256, 8, 640), "100M": (18, 640, 20, 1664)}


def write_checkpoint(folder: Path, size: str, n_layers: int) -> None:
    layers, d, heads, ff = SHAPES[size]
    demo = json.loads((data("checkpoints/aidocell-demo") / "config.json").read_text())
    config = demo | {
        "hidden_size": d, "num_attention_heads": heads, "intermediate_size": ff,
        "num_hidden_layers": min(layers, n_layers), "bin_num": 100,
    }  # fmt: skip
    g = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in expected_shapes(config).items():
        norm = len(shape) == 1 and name.endswith("weight")
        scale = 1.0 if "embedding" in name else 1.5
        random = torch.randn(shape, generator=g) * scale / shape[-1] ** 0.5
        state[f"bert.{name}"] = torch.ones(shape) if norm else random
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(state, folder / "pytorch_model.bin")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SHAPES, default="100M")
    parser.add_argument("--cells", type=int, default=2)
    parser.add_argument("--layers", type=int, default=18)
    parser.add_argument("--genes", type=int, default=1000, help="accumulated genes")
    a = parser.parse_args()
    imports = status("VmRSS")
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)
        write_checkpoint(folder / "checkpoint", a.size, a.layers)
        tree = demo_tree()
        tree |= {
            "models": [{"name": "big", "family": "aidocell", "path": str(folder / "checkpoint")}],
            "gene_sets": [{"name": "panel", "kind": "panel", "genes": panel(a.genes)}],
            "accumulate": "panel",
            "network": None,
            "edges": None,
            "compare": None,
            "estimators": ["per_cell"],
            "execution": {"unit_cells": a.cells},
        }
        tree["atlas"]["categories"] = ["macrophage"]
        root = RunRoot(str(folder / "run"))
        config = parse_config(tree, "benchmark")
        plan = make_plan(config, folder / "run")
        root.create_once("config.yaml", dump_config(config).encode())
        save_plan(root, plan)
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts here, not at planning
        started = time.perf_counter()
        runner = UnitRunner(root, plan, config, "big")
        loaded = status("VmRSS") - imports
        unit = plan.units[0]
        record = runner.run(unit)
        m = plan.models[0]
        n = len(m.axis)
        print(
            json.dumps(
                {
                    "benchmark": "aidocell_full_length", "size": a.size, "layers": m.n_layers,
                    "cells": unit.stop - unit.start, "tokens": m.max_tokens, "genes": n,
                    "threads": plan.threads,
                    "seconds": round(time.perf_counter() - started, 1),
                    "seconds_per_cell_and_layer": round(
                        record.metrics["seconds"] / m.n_layers / (unit.stop - unit.start), 2
                    ),
                    "after_load_mb": round(loaded / 1e6),
                    "peak_mb": round((status("VmHWM") - imports) / 1e6),
                    "projected_mb": round(plan.needs["actor_bytes"] / 1e6),
                    "residuals_mb": round((unit.stop - unit.start) * m.max_tokens * m.d * 4 / 1e6),
                    "accumulator_mb": round(3 * n * n * 8 / 1e6),
                    "heads_tokens_tokens_mb": round(m.n_heads * m.max_tokens**2 * 4 / 1e6),
                }
            )
        )  # fmt: skip


def panel(n: int) -> list[str]:
    """Return the first genes of the demonstration cells that are in AIDO.Cell's list."""
    from octoscope.atlas import Atlas
    from octoscope.config import AtlasConfig
    from octoscope.models.gene_list import gene_list_19264

    listed = set(gene_list_19264().symbol)
    genes = Atlas(AtlasConfig(path=str(data("immune559.zarr")))).genes
    return [str(s) for s in genes.symbol if s in listed][:n]


if __name__ == "__main__":
    main()
