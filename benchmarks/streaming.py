"""Zarr to CSR to tokens: an atlas's stream against AnnData's backed reads of the same cells.

    python benchmarks/streaming.py [--cells 20000] [--genes 20000] [--expressed 1000] [--batch 32]
        [--runs 3] [--pipeline zarr-python|zarrs] [--threads 2] [--folder KEPT]

The atlas is invented (``synthetic_atlas.py``), laid out as ``octoscope atlas convert`` writes it.
Two patterns: all cells one after the other, as one category of a sorted atlas lies, and every
eighth, as one of eight interleaved categories. The other sides: ``sparse_dataset`` over the same
Zarr, and an uncompressed h5ad opened with ``backed="r"``, both given slices where cells lie
together. Each side and run has a fresh process; each reads twice, the first time for parity and
peak memory (pages are cached after it), the second for time. Ratios are against the faster of the
other sides; ratios of CPU seconds hold on a busy machine too.

What digesting the counts costs (``octoscope.atlas.cell_digests``) is timed inside one more reading
of ours, as a share of the CPU seconds of reading alone.

Tokenising is measured apart, of cells in memory, by each family's demonstration checkpoint; where
its vocabulary is small, it is widened to all genes of the atlas, in another order. Rates per CPU
second count all threads of the process. Prints one JSON line last.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measure import measured
from scipy import sparse
from synthetic_atlas import add_arguments, shape_of, write_h5ad, write_zarr

EVERY = 8
PATTERNS = ("contiguous", "scattered")
ZARRS = "zarrs.ZarrsCodecPipeline"
Matrices = Iterator[sparse.csr_matrix]


def rows_of(a: argparse.Namespace) -> np.ndarray:
    return np.arange(0, a.cells, EVERY if a.pattern == "scattered" else 1)


def parts_of(a: argparse.Namespace) -> list[Any]:
    """Return what a peer is asked for, batch by batch."""
    rows = rows_of(a)
    parts = [rows[i : i + a.batch] for i in range(0, len(rows), a.batch)]
    if a.pattern == "scattered":
        return parts
    return [slice(int(p[0]), int(p[-1]) + 1) for p in parts]


def open_atlas(a: argparse.Namespace) -> Any:
    from octoscope.atlas import Atlas
    from octoscope.config import AtlasConfig

    path = str(a.folder / "atlas.zarr")
    keys: dict[str, Any] = {"category_key": ["cell_type"], "replicate_key": "donor_id"}
    return Atlas(AtlasConfig(path=path, **keys))


def ours(a: argparse.Namespace) -> Callable[[], Matrices]:
    atlas, rows = open_atlas(a), rows_of(a)
    return lambda: (batch.counts for batch in atlas.stream(rows, a.batch))


def backed_h5ad(a: argparse.Namespace) -> Callable[[], Matrices]:
    import anndata

    cells = anndata.read_h5ad(a.folder / "atlas.h5ad", backed="r")
    return lambda: (cells[part].to_memory().X for part in parts_of(a))


def backed_zarr(a: argparse.Namespace) -> Callable[[], Matrices]:
    import zarr
    from anndata.io import sparse_dataset

    matrix = sparse_dataset(zarr.open_group(a.folder / "atlas.zarr", mode="r")["X"])
    return lambda: (matrix[part] for part in parts_of(a))


SIDES = {"ours": ours, "backed_zarr": backed_zarr, "backed_h5ad": backed_h5ad}


def digest_seconds(side: Callable[[], Matrices]) -> float:
    """Return the CPU seconds that a reading spends on digests of its counts."""
    from octoscope.atlas.cell_digests import CellDigests

    digests, spent = CellDigests(), 0.0
    for matrix in side():
        before = time.thread_time()
        digests.add(matrix)
        spent += time.thread_time() - before
    digests.as_json()
    return spent


def read(a: argparse.Namespace) -> dict[str, Any]:
    """Return what one side cost, and a digest of what it read."""
    side = SIDES[a.side](a)
    digest = hashlib.sha256()

    def first() -> None:
        for matrix in side():
            matrix.sum_duplicates()
            for part, kind in ((matrix.data, "f4"), (matrix.indices, "i4"), (matrix.indptr, "i4")):
                digest.update(part.astype(kind).tobytes())

    _, figures = measured(first)
    cpu, seconds = time.process_time(), time.perf_counter()
    figures["nonzero"] = sum(matrix.nnz for matrix in side())
    figures |= {"cpu_seconds": time.process_time() - cpu, "seconds": time.perf_counter() - seconds}
    if a.side == "ours":
        figures["digest_share"] = digest_seconds(side) / figures["cpu_seconds"]
    return figures | {"found": digest.hexdigest()}


def families(genes: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, model and match of each family, with a vocabulary of published size."""
    from octoscope.demo.demo import data
    from octoscope.models import load_model
    from octoscope.models.protocol import GeneMatch

    rng = np.random.default_rng(0)
    order = rng.permutation(len(genes))
    model_gene = np.empty(len(order), np.int32)
    model_gene[order] = np.arange(len(order))
    context = [str(g) for g in genes.ensembl[np.sort(order[:2200])]]
    for family in ("scgpt", "geneformer", "scprint", "scfoundation", "aidocell"):
        options = {"context": "some", "context_genes": context} if family == "scprint" else None
        model: Any = load_model(data(f"checkpoints/{family}-demo"), options=options)
        if family in ("scfoundation", "aidocell"):  # their list is the published one
            yield family, model, model.match(genes)
            continue
        model._genes = genes.take(order)
        model._rows = np.arange(len(order)) + 10
        if family == "geneformer":
            model._median = rng.lognormal(0, 1, len(order))
            model._settings = model._settings.model_copy(update={"max_input": 4096})
        yield family, model, GeneMatch(model._genes, model_gene, [])


def tokenise(a: argparse.Namespace) -> dict[str, Any]:
    """Return cells and tokens a second and CPU second of each family, over a sample of cells."""
    import torch

    torch.set_num_threads(1)
    atlas = open_atlas(a)
    batches = list(atlas.stream(np.arange(min(a.cells, 2048)), a.batch))
    n = sum(len(b.rows) for b in batches)
    rates = {}
    for name, model, match in families(atlas.genes):
        model.tokenize(batches[0].counts, match, batches[0].cell_ids)  # compiled
        seconds, cpu, tokens = time.perf_counter(), time.process_time(), 0
        for b in batches:
            tokens += int(model.tokenize(b.counts, match, b.cell_ids).mask.sum())
        seconds, cpu = time.perf_counter() - seconds, time.process_time() - cpu
        rates[name] = {
            "cells_per_second": n / seconds,
            "cells_per_cpu_second": n / cpu,
            "tokens_per_cell": tokens / n,
        }
    return rates


def run(a: argparse.Namespace, side: str, pattern: str = PATTERNS[0]) -> list[dict[str, Any]]:
    given = {n: getattr(a, n) for n in ("cells", "genes", "expressed", "batch", "folder")}
    options = [f"--{n}={v}" for n, v in given.items()]
    command = [sys.executable, __file__, f"--side={side}", f"--pattern={pattern}", *options]
    threads = str(a.threads)
    env = os.environ | {"ZARR_THREADING__MAX_WORKERS": threads, "ZARR_ASYNC__CONCURRENCY": threads}
    if a.pipeline == "zarrs":
        env["ZARR_CODEC_PIPELINE__PATH"] = ZARRS
    runs = []
    for _ in range(a.runs):
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return runs


def compare(a: argparse.Namespace) -> dict[str, Any]:
    """Run all sides; return figures of medians, ratios and parity."""
    summary: dict[str, Any] = {}
    for pattern in PATTERNS:
        cells = len(rows_of(argparse.Namespace(**vars(a) | {"pattern": pattern})))
        figures, answers = {}, set()
        for side in SIDES:
            runs = run(a, side, pattern)
            names = ("seconds", "cpu_seconds", "peak")
            figures[side] = {n: float(np.median([r[n] for r in runs])) for n in names}
            answers |= {r["found"] for r in runs}
            if side == "ours":
                share = float(np.median([r["digest_share"] for r in runs]))
                summary[f"{pattern}_digest_share"] = round(share, 4)
            rate = {
                "cells_per_second": round(cells / figures[side]["seconds"]),
                "cells_per_cpu_second": round(cells / figures[side]["cpu_seconds"]),
                "peak_mb": round(figures[side]["peak"] / 1e6, 1),
            }
            print(f"{pattern}, {side}: {json.dumps(rate)}", flush=True)
            summary |= {f"{pattern}_{side}_{n}": v for n, v in rate.items()}
        mine = figures.pop("ours")
        best = min(figures.values(), key=lambda f: f["seconds"])
        summary |= {
            f"{pattern}_speed_ratio": round(best["seconds"] / mine["seconds"], 2),
            f"{pattern}_cpu_ratio": round(best["cpu_seconds"] / mine["cpu_seconds"], 2),
            f"{pattern}_memory_ratio": round(mine["peak"] / best["peak"], 3),
            f"{pattern}_parity": len(answers) == 1,
        }
    return summary


def main(a: argparse.Namespace) -> None:
    path = a.folder / "atlas.zarr"
    if not path.exists():
        write_zarr(path, shape_of(a))
        write_h5ad(a.folder / "atlas.h5ad", shape_of(a))
    figures = compare(a)
    tokens = run(a, "tokens")
    rates = {
        name: {k: round(float(np.median([r[name][k] for r in tokens]))) for k in tokens[0][name]}
        for name in tokens[0]
    }
    shown = {n: getattr(a, n) for n in ("cells", "genes", "expressed", "batch", "runs", "threads")}
    packages = ("zarr", "anndata", "numcodecs", "h5py", "numpy", "scipy")
    packages += ("zarrs",) if a.pipeline == "zarrs" else ()
    line = {"benchmark": "streaming", **shown, "pipeline": a.pipeline, **figures}
    line |= {n: figures[f"contiguous_{n}"] for n in ("speed_ratio", "memory_ratio")}
    line |= {
        n: figures[f"contiguous_ours_{n}"] for n in ("cells_per_second", "cells_per_cpu_second")
    }
    line["parity"] = all(figures[f"{p}_parity"] for p in PATTERNS)
    line |= {"tokens": rates, "versions": {p: importlib.metadata.version(p) for p in packages}}
    print(json.dumps(line))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser, cells=20_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--pipeline", choices=("zarr-python", "zarrs"), default="zarr-python")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, help="where the atlas is kept for another run")
    parser.add_argument("--side", choices=(*SIDES, "tokens"), help=argparse.SUPPRESS)
    parser.add_argument("--pattern", choices=PATTERNS, default=PATTERNS[0], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        print(json.dumps(tokenise(given) if given.side == "tokens" else read(given)))
    elif given.folder:
        given.folder.mkdir(parents=True, exist_ok=True)
        main(given)
    else:
        with tempfile.TemporaryDirectory() as folder:
            given.folder = Path(folder)
            main(given)
