"""One layer of a mean cell at published size: finalised from its factors, against storing it.

    python benchmarks/mean_cells.py [--genes 18000] [--dim 512] [--heads 8] [--view lift]

Made-up queries and keys. Timed: finalising the layer as a run does (top pairs of the total and of
each half, row and column sums, histogram, reliability with its null), and one reading of all rows
of all parts and quantities, computed against written to a Zarr store as sums and read back (one
row tile, times the tiles; the pages of the file are cached, which favours the store). The roofline
is this machine's fp32 matrix product. Prints one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator

import numpy as np
import torch
import zarr.storage
from octoscope.analysis.derived_views import DerivedViews
from octoscope.analysis.matrix import MatrixSource
from octoscope.analysis.summarise_matrix import finalise
from octoscope.attention.mean_cell_attention import MeanCell
from octoscope.results.mean_cell_matrix import ComputedRows, MeanTile
from octoscope.row_blocks import row_ranges
from octoscope.store import tiles

TILE = 512


def main() -> None:
    """Run it."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--genes", type=int, default=18_000)
    p.add_argument("--dim", type=int, default=512)
    p.add_argument("--heads", type=int, default=8)
    p.add_argument("--view", default="lift")
    p.add_argument("--hold", type=int, default=0, help="bytes kept between readings")
    p.add_argument("--k", type=int, default=10_000)
    a = p.parse_args()
    rng, n = np.random.default_rng(0), a.genes
    shape = (3, a.heads, n, a.dim // a.heads)
    base = rng.normal(size=(2, *shape[1:])).astype(np.float32)
    noise = rng.normal(size=(2, *shape)).astype(np.float32)
    q, k = base[:, None] + np.float32(0.3) * noise  # parts that are alike, as halves are
    q *= np.float32((a.dim // a.heads) ** -0.5)
    present = np.ones(n, bool)
    parts = [MeanCell(q[i], k[i], present, "mean", f"part {i}") for i in range(3)]
    cells = np.full((3, n), 100, np.int32)
    cells[2] = 200

    computed_rows = ComputedRows(parts, a.cache_bytes)

    def rows() -> Iterator[MeanTile]:
        for first, stop in row_ranges(n, TILE):
            yield MeanTile(first, stop - first, computed_rows, cells)

    parts[0].rows(0, 0, 64)  # compiled before it is timed
    matrix = DerivedViews(MatrixSource(rows, n, (100, 100), 20, means=True))
    began = time.perf_counter()
    done = finalise(matrix, {"all": np.arange(n)}, [a.view], top_k=a.k, permutations=200, seed=0)
    finalised = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    tile = MeanTile(0, min(TILE, n), ComputedRows(parts, 0), cells)
    began = time.perf_counter()
    whole = np.stack([[tile.half(p, q) for q in range(3)] for p in range(3)])
    count = -(-n // TILE)
    computed = (time.perf_counter() - began) * count
    with tempfile.TemporaryDirectory() as folder:
        store = zarr.storage.LocalStore(folder)
        array = tiles.create_array(store, "sums", (3, 3, TILE, n), "float32", TILE)
        began = time.perf_counter()
        tiles.write_rows(array, 0, whole)
        written = (time.perf_counter() - began) * count
        began = time.perf_counter()
        tiles.read_rows(tiles.open_array(store, "sums"), 0, TILE)
        read = (time.perf_counter() - began) * count
    x = torch.randn(2048, a.dim)
    y = torch.randn(a.dim, 4096)
    torch.mm(x, y)
    began = time.perf_counter()
    for _ in range(10):
        torch.mm(x, y)
    rate = 10 * 2 * 2048 * 4096 * a.dim / (time.perf_counter() - began)
    # every part and quantity: logits once as one product, once by head for the softmax twice
    gemm = 3 * 3 * 2.0 * n * n * a.dim / rate
    print(f"{n} genes, d {a.dim}, {a.heads} heads, view {a.view}, {len(done.topk)} top rows")
    print(f"finalised in {finalised:.1f} s, peak {peak / 1e9:.2f} GB")
    print(f"one reading of everything: computed {computed:.1f} s, stored: written {written:.1f} s, "
          f"read {read:.1f} s; matrix products alone {gemm:.1f} s")  # fmt: skip
    print(json.dumps({
        "genes": n, "view": a.view, "finalise_s": round(finalised, 1),
        "peak_gb": round(peak / 1e9, 2), "computed_s": round(computed, 1),
        "written_s": round(written, 1), "read_s": round(read, 1), "gemm_s": round(gemm, 1),
        "dense_gb": round(9 * 4 * n * n / 1e9, 2),
        "factors_gb": round(3 * 2 * 4 * n * a.dim / 1e9, 2),
        "read_over_computed": round(read / computed, 2),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
