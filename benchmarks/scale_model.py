"""The cost model of docs/scale.md: from unit costs to a cluster. Arithmetic only, nothing is run.

    python benchmarks/scale_model.py [--cells 1e8] [--gpus 1024] [--ms-per-cell 7] [--genes 5000] …

Measured inputs have the values of docs/performance.md as defaults; assumed ones are named so.
Prints one row per size of unit and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass

from octoscope.attention.views import QUANTITIES


@dataclass(frozen=True)
class Inputs:
    """What the model is computed from.

    Attributes
    ----------
    ms_per_cell
        Assumed: all layers of one cell on one GPU.
    store_rate
        Assumed: bytes per second that one GPU's node writes to and reads from the store.
    read_rate, token_rate
        Measured: cells per second and core, read and tokenised.
    tile
        Rows of a matrix in one chunk; each chunk is an object.
    driver_seconds
        Measured: of the driver's one core, per unit (dispatched, and its record asked on S3).
    requests
        Measured: of the store per unit beside its chunks; ``resume_rate``: records found per
        second, on S3 and on a busy machine.
    """

    cells: float = 1e8
    gpus: int = 1024
    layers: int = 12
    genes: int = 5000
    ms_per_cell: float = 7.0
    store_rate: float = 1e9
    tile: int = 512
    read_rate: float = 24_000
    token_rate: float = 9_300
    driver_seconds: float = 0.0033
    requests: float = 3.0
    resume_rate: float = 150


def unit_bytes(i: Inputs) -> float:
    """Return what a unit commits: fp64 sums of every layer, and int32 pair counts."""
    return i.genes**2 * (i.layers * 8 * len(QUANTITIES) + 4)


def objects(i: Inputs) -> int:
    """Return the objects of a unit: chunks of row tiles over all genes, and descriptions.

    Per layer sums of each quantity, mass, cells; pair counts once; one description an array, and
    the group's.
    """
    tiles = math.ceil(i.genes / i.tile)
    layer = (len(QUANTITIES) + 1) * tiles + 1 + 3
    return i.layers * layer + tiles + 1 + 1


def row(i: Inputs, unit_cells: int) -> dict[str, float]:
    """Return the costs with units of a size."""
    units = math.ceil(i.cells / unit_cells)
    compute = unit_cells * i.ms_per_cell / 1000
    commit = unit_bytes(i) / i.store_rate
    rounds = math.ceil(units / i.gpus)
    reading = unit_cells * (1 / i.read_rate + 1 / i.token_rate)
    return {
        "unit_cells": unit_cells,
        "units": units,
        "compute_s": compute,
        "commit_s": commit,
        "commit_share": commit / (compute + commit),
        "read_share_of_compute": reading / compute,  # beside the compute, on one core a GPU
        "wall_h": rounds * (compute + commit) / 3600,
        "gpu_hours": units * (compute + commit) / 3600,
        "idle_in_last_round": 1 - units / (rounds * i.gpus),
        "scratch_tb": units * unit_bytes(i) / 1e12,
        "reduce_min": units * unit_bytes(i) / (i.store_rate * i.gpus) / 60,
        "driver_core": i.driver_seconds * min(i.gpus, units) / (compute + commit),
        "objects": units * objects(i),
        "store_requests_per_s": (i.requests + objects(i)) * min(i.gpus, units) / (compute + commit),
        "resume_s": units / i.resume_rate,
        # sums of all layers at once, which macro-batches hold on the device
        "macro_sums_gb": i.genes**2 * i.layers * 8 * len(QUANTITIES) / 1e9,
        "lost_with_a_gpu_h": (compute + commit) / 2 / 3600,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, value in asdict(Inputs()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--units", type=int, nargs="*", default=[512, 4096, 16384, 48828, 97657])
    given = vars(parser.parse_args())
    sizes = given.pop("units")
    i = Inputs(**given)
    rows = [row(i, n) for n in sizes]
    for r in rows:
        print("  ".join(f"{name} {value:.4g}" for name, value in r.items()))
    print(json.dumps({"benchmark": "scale_model", "inputs": asdict(i), "rows": rows}))


if __name__ == "__main__":
    main()
