"""Attention per cell over all 19,264 genes of AIDO.Cell's 3M shape within 8 GB, random weights.

    python benchmarks/row_blocks.py --folder F [--memory 8GB] [--cells 2] [--layer 5]
        [--genes 19264] [--next]

Writes a checkpoint of the published shape and a made-up atlas of two halves with so many cells
each, plans a run under `execution.memory`, and computes it as a run's actors do: each unit, the
pair counts and the matrix in a fresh process, one after the other. One layer is accumulated; all
layers up to it run. Prints a JSON line per piece of work: peak of its process, imports included,
beside what the plan projected. Work that is committed in the folder is passed over; `--next`
computes one piece and ends.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import yaml
from aidocell_full_length import write_checkpoint
from measure import status
from octoscope.cluster.worker import Worker
from octoscope.config import load_config
from octoscope.models.gene_list import gene_list_19264
from octoscope.planning.freeze import prepare
from octoscope.run_plan.values import Plan
from octoscope.store.commits import read_record
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot
from scipy import sparse


def write_atlas(path: Path, cells: int, n: int) -> None:
    """Write cells that express an eighth of the first ``n`` genes of the published list each."""
    rng, genes = np.random.default_rng(0), gene_list_19264()
    x = sparse.random(cells, n, 1 / 8, "csr", np.float32, rng)
    x.data = rng.integers(1, 30, x.nnz).astype(np.float32)
    obs = pd.DataFrame({"cell_type": "one"}, index=[f"cell{i}" for i in range(cells)])
    symbols = genes.symbol[:n].astype(str)
    names = [e or f"ENSG99999{i:06d}" for i, e in enumerate(genes.ensembl[:n].astype(str))]
    var = pd.DataFrame({"feature_name": symbols}, index=names)
    with anndata.settings.override(zarr_write_format=3):
        anndata.AnnData(x, obs=obs, var=var).write_zarr(path)


def write_inputs(a: argparse.Namespace) -> Path:
    """Write checkpoint, atlas and configuration, where they are not there."""
    config = a.folder / "config.yaml"
    if not config.exists():
        a.folder.mkdir(parents=True, exist_ok=True)
        write_checkpoint(a.folder / "checkpoint", "3M", 6)
        write_atlas(a.folder / "cells.zarr", 2 * a.cells, a.genes)
        model = {"name": "big", "family": "aidocell", "path": str(a.folder / "checkpoint")}
        tree = {
            "atlas": {"path": str(a.folder / "cells.zarr"), "category_key": ["cell_type"]},
            "models": [model | {"layers": [a.layer]}],
            "views": ["lift"], "top_k": 1000, "min_cells": 2, "permutations": 50, "compare": None,
            "execution": {"device": "cpu", "memory": a.memory},
        }  # fmt: skip
        config.write_text(yaml.safe_dump(tree))
    return config


def compute(root: RunRoot, plan: Plan, work: str) -> None:
    """Compute one piece of work in this process and print its peak."""
    unit = work.startswith("units/")
    worker = Worker(root.url, "big" if unit else None, "a.0" if unit else "cpu.0")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here, not at planning
    resident, started = status("VmRSS"), time.perf_counter()
    worker.run(work, 0, None)
    blocks = plan.row_blocks.get("big")
    figures = {
        "benchmark": "row_blocks", "work": work, "genes": len(plan.models[0].axis),
        "tokens": plan.models[0].max_tokens, "threads": plan.threads,
        "row_blocks": None if blocks is None else blocks.model_dump(),
        "seconds": round(time.perf_counter() - started, 1),
        "resident_before_mb": round(resident / 1e6),
        "peak_mb": round(status("VmHWM") / 1e6),
        "projected_unit_mb": round(plan.needs["device_bytes"] / 1e6 + 900),
        "projected_actor_mb": round(plan.needs["actor_bytes"] / 1e6),
    }  # fmt: skip
    print(json.dumps(figures), flush=True)


def main() -> None:
    """Compute what the folder lacks, piece by piece."""
    p = argparse.ArgumentParser()
    p.add_argument("--folder", type=Path, required=True)
    p.add_argument("--memory", default="8GB")
    p.add_argument("--cells", type=int, default=2, help="in each half")
    p.add_argument("--genes", type=int, default=19_264)
    p.add_argument("--layer", type=int, default=5)
    p.add_argument("--next", action="store_true")
    a = p.parse_args()
    config, run = write_inputs(a), a.folder / "run"
    root = RunRoot(str(run))
    if (run / "tables/vocabulary.parquet").exists():  # the last file of planning
        plan = load_plan(root)
    else:
        root, plan = prepare(load_config(config), str(run))
    for work in [*(u.work for u in plan.units), *plan.pairs_work(), *plan.matrix_work()]:
        if read_record(root, work, plan.hash) is not None:
            continue
        if a.next:
            compute(root, plan, work)
            return
        subprocess.run([sys.executable, __file__, "--folder", str(a.folder), "--next"], check=True)


if __name__ == "__main__":
    main()
