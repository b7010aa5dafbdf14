"""A whole run at published size on this machine, beside what its plan projected.

    python benchmarks/full_size.py mean_residual [--genes 18000] [--categories 1]
        [--shapes 12x512x8,12x768x12,6x128x4,8x256x8,18x640x20,6x256x4,4x256x4] [--consensus]
        [--network] [--no-comparisons]
    python benchmarks/full_size.py per_cell [--genes 6000] [--categories 2]
        [--shapes 4x128x4,4x64x4]

Checkpoints have random weights in scGPT's format (a shape is layers x d x heads), so their
attention says nothing; what is measured depends on sizes alone. Cells are made so that every gene
is held alike: the genes of a category are dealt out, 1,125 to a cell, again and again. Files are
made first and are not timed. With `--network` they include an Octopus of the published numbers of
rows, and the run has co-expression, overlap and verdicts. The run is `octoscope run` in its own
processes; once a second the largest of them and the size of the run directory are noted. Prints one
JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import octopus_files
import pandas as pd
import psutil
import synthetic_atlas
import torch
import yaml
from octoscope.genes import ensembl_of_symbols
from octoscope.models.scgpt_file import expected_shapes
from scipy import sparse

GENES_OF_A_CELL = 1125
SHAPES = {  # layers x d x heads: 66 layers in 7 models; 8 layers in 2
    "mean_residual": "12x512x8,12x768x12,6x128x4,8x256x8,18x640x20,6x256x4,4x256x4",
    "per_cell": "4x128x4,4x64x4",
}
DEFAULTS = {"mean_residual": (18_000, 1, 4), "per_cell": (6_000, 2, 120)}


def genes_of(n: int) -> tuple[list[str], list[str]]:
    """Return ``n`` genes whose symbols name one Ensembl id each."""
    table = synthetic_atlas.genes_of(30_000)
    known = ensembl_of_symbols(table.symbol)
    pairs = [(e, s) for e, s, k in zip(table.ensembl, table.symbol, known, strict=True) if e == k]
    assert len(pairs) >= n, f"{len(pairs)} genes have a symbol of their own"
    return [e for e, _ in pairs[:n]], [s for _, s in pairs[:n]]


def write_checkpoint(folder: Path, symbols: list[str], layers: int, d: int, heads: int) -> None:
    """Write scGPT's three files, with random weights."""
    names = [*symbols, "<pad>", "<cls>", "<eoc>"]
    rng = torch.Generator().manual_seed(layers * d)
    state = {}
    for name, shape in expected_shapes(len(names), d, d, layers).items():
        norm = len(shape) == 1 and "norm" in name and name.endswith("weight")
        scale = 1.0 if "embedding" in name else shape[-1] ** -0.5
        state[name] = torch.ones(shape) if norm else torch.randn(shape, generator=rng) * scale
    folder.mkdir(parents=True)
    torch.save(state, folder / "best_model.pt")
    (folder / "vocab.json").write_text(json.dumps({n: i for i, n in enumerate(names)}))
    (folder / "args.json").write_text(
        json.dumps({"nlayers": layers, "nheads": heads, "embsize": d, "d_hid": d,
                    "n_bins": 51, "pad_value": -2.0})
    )  # fmt: skip


def write_atlas(
    path: Path, ensembl: list[str], symbols: list[str], categories: int, rounds: int
) -> None:
    """Write cells of two donors a category; a round deals all genes out once."""
    rng, n = np.random.default_rng(0), len(ensembl)
    cells = -(-n // GENES_OF_A_CELL)
    rows, kinds, donors = [], [], []
    for c in range(categories):
        for r in range(rounds):
            for part in np.array_split(rng.permutation(n), cells):
                rows.append(np.sort(part))
                kinds.append(f"type {c:02d}")
                donors.append(f"donor {r % 2}")
    indptr = np.concatenate([[0], np.cumsum([len(r) for r in rows])])
    counts = rng.integers(1, 30, indptr[-1]).astype(np.float32)
    x = sparse.csr_matrix((counts, np.concatenate(rows), indptr), (len(rows), n))
    obs = pd.DataFrame({"cell_type": kinds, "donor": donors},
                       index=[f"cell{i}" for i in range(len(rows))])  # fmt: skip
    var = pd.DataFrame({"feature_name": symbols}, index=ensembl)
    with anndata.settings.override(zarr_write_format=3):
        anndata.AnnData(x, obs=obs, var=var).write_zarr(path)


def build_network(folder: Path, names: octopus_files.Names) -> None:
    """Build an Octopus of the published numbers of rows whose first genes have these names."""
    sources = folder / "sources"
    sources.mkdir()
    config = octopus_files.write_all(sources, names=names)
    command = "from octoscope.cli import main; main()"
    subprocess.run(
        [sys.executable, "-c", command, "octopus", "build", str(config), str(folder / "octopus")],
        check=True,
    )  # fmt: skip
    shutil.rmtree(sources)


def configuration(a: argparse.Namespace, folder: Path, models: list[str]) -> dict[str, Any]:
    """Return the run's configuration."""
    mean = a.kind == "mean_residual"
    network: dict[str, Any] = {}
    if a.network:
        network = {
            "network": {"path": str(folder / "octopus")},
            "coexpression": ["pearson", "spearman"],
        }
    return network | {
        "title": f"Full size: {a.kind}",
        "atlas": {"path": str(folder / "cells.zarr"), "category_key": ["cell_type"],
                  "replicate_key": "donor"},
        "models": [{"name": m, "family": "scgpt", "path": str(folder / m)} for m in models],
        "estimators": [a.kind], "views": ["logit"] if mean else ["lift"],
        "top_k": a.k, "permutations": a.permutations,
        "min_cells": a.rounds // 2 if mean else None,
        "compare": {"k": [a.k // 10, a.k], "consensus": a.consensus} if a.comparisons else None,
        "execution": {"device": "cpu", "memory": a.memory, "unit_timeout": 36000,
                      "advanced": {"cache": a.cache}},
    }  # fmt: skip


class Watch(threading.Thread):
    """Notes the largest process below this one, all of them together, and the run's bytes."""

    def __init__(self, run: Path) -> None:
        super().__init__(daemon=True)
        self.largest = self.together = self.disk = 0
        self.by_kind: dict[str, int] = {}  # largest of each name that processes gave themselves
        self._run, self._ended = run, threading.Event()

    def run(self) -> None:
        """Look once a second; at the disk once a minute."""
        turn = 0
        while not self._ended.wait(1.0):
            sizes = []
            for p in psutil.Process().children(recursive=True):
                try:
                    memory = p.memory_info()
                    sizes.append(memory.rss - memory.shared)
                    kind = p.name()
                except psutil.Error:
                    continue
                if sizes[-1] > self.by_kind.get(kind, 0):
                    self.by_kind[kind] = sizes[-1]
            self.largest = max([self.largest, *sizes])
            self.together = max(self.together, sum(sizes))
            if turn % 60 == 0:  # looking at 100,000 files takes seconds of a core
                self.disk = max(self.disk, size_of(self._run))
            turn += 1

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self.join()


def size_of(folder: Path) -> int:
    """Return bytes of files below; those that go meanwhile count nothing."""
    total = 0
    for at, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.stat(os.path.join(at, name)).st_size
            except OSError:
                continue
    return total


def main() -> None:
    """Run it."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("kind", choices=SHAPES)
    p.add_argument("--genes", type=int)
    p.add_argument("--categories", type=int)
    p.add_argument("--rounds", type=int, help="times the genes are dealt out in a category")
    p.add_argument("--shapes", help="layers x d x heads of each model")
    p.add_argument("--k", type=int, default=10_000)
    p.add_argument("--permutations", type=int, default=200)
    p.add_argument("--consensus", action="store_true")
    p.add_argument("--network", action="store_true", help="with co-expression and verdicts")
    p.add_argument("--no-comparisons", dest="comparisons", action="store_false")
    p.add_argument("--cache", default="256MB")
    p.add_argument("--memory", default="20GB")
    p.add_argument("--folder", type=Path, help="Keep everything here; a run there is resumed")
    a = p.parse_args()
    genes, categories, rounds = DEFAULTS[a.kind]
    a.genes, a.categories = a.genes or genes, a.categories or categories
    a.rounds, a.shapes = a.rounds or rounds, a.shapes or SHAPES[a.kind]
    with tempfile.TemporaryDirectory() as scratch:
        folder = a.folder or Path(scratch)
        run, config = folder / "run", folder / "config.yaml"
        if not config.exists():
            ensembl, symbols = genes_of(a.genes)
            models = []
            if a.network:
                build_network(folder, list(zip(ensembl, symbols, strict=True)))
            for i, shape in enumerate(a.shapes.split(",")):
                layers, d, heads = map(int, shape.split("x"))
                models.append(f"m{i}-{shape}")
                write_checkpoint(folder / models[-1], symbols, layers, d, heads)
            write_atlas(folder / "cells.zarr", ensembl, symbols, a.categories, a.rounds)
            config.write_text(yaml.safe_dump(configuration(a, folder, models)))
        watch = Watch(run)
        watch.start()
        began = time.perf_counter()
        command = [
            sys.executable,
            "-c",
            "from octoscope.cli import main; main()",
            "run",
            str(config),
            "--out",
            str(run),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True) as process:  # fmt: skip
            assert process.stdout is not None
            for line in process.stdout:
                print(f"{time.perf_counter() - began:8.1f} s  {line}", end="", flush=True)
        seconds = time.perf_counter() - began
        watch.end()
        if not (run / "plan.json").exists():
            sys.exit(process.returncode or 1)  # refused; it said why
        needs = json.loads((run / "plan.json").read_text())["needs"]
        print(json.dumps({
            "benchmark": "full_size", "kind": a.kind, "genes": a.genes, "shapes": a.shapes,
            "categories": a.categories, "cells": a.categories * a.rounds
            * -(-a.genes // GENES_OF_A_CELL), "k": a.k, "consensus": a.consensus, "cache": a.cache,
            "network": a.network, "comparisons": a.comparisons,
            "exit": process.returncode, "seconds": round(seconds, 1),
            "peak_gb": round(watch.largest / 1e9, 2),
            "projected_gb": round(needs["actor_bytes"] / 1e9, 2),
            "projected_analysis_gb": round(needs.get("analysis_bytes", 0) / 1e9, 2),
            "largest_of": {k: round(v / 1e9, 2) for k, v in
                           sorted(watch.by_kind.items(), key=lambda x: -x[1])[:6]},
            "all_processes_gb": round(watch.together / 1e9, 2),
            "disk_gb": round(watch.disk / 1e9, 2),
            "projected_disk_gb": round((needs["scratch_bytes"] + needs["store_bytes"]) / 1e9, 2),
            "kept_gb": round(size_of(run) / 1e9, 3),
        }))  # fmt: skip


if __name__ == "__main__":
    main()
