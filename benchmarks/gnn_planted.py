"""The planted graphs of ``octoscope gnn planted`` at full size.

    python benchmarks/gnn_planted.py                       # 50,000 vertices, 8 million edges each
    python benchmarks/gnn_planted.py --cases mirrors blocks
    python benchmarks/gnn_planted.py --cases "degree alone, models" --models 0 1 2
    python benchmarks/gnn_planted.py --edges 100000 --vertices 3000

Each graph has lognormal degrees and 8 million edges; that of mirrors has 91 % of its pairs both
ways. Floors and models read all training edges. A model learns from 3 % of the training pairs a
step: on blocks for 20 steps, on degree alone, where there is nothing to learn, for 6 (--epochs sets
both). Gradients are compared over all edges, in float64. 5,000 test edges are scored, and all
signs. A line per check, then seconds of wall and of processor time of the case, and the peak memory
of the process so far. Ends with an error if a check does not hold.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import numpy as np
import torch
from octoscope.gnn_training.planted_checks import CASES, case_checks, models_of
from octoscope.gnn_training.train_config import TrainConfig
from octoscope.link_prediction.planted import cut_degrees

CONFIG = TrainConfig(head="mlp", epochs=20, width=32, hidden=32, learning_rate=0.02, learned=0.03,
                     validate_every=10)  # fmt: skip
STEPS_OF_DEGREE = 6
BOTH_WAYS = 1.91  # edges of a pair where mirrors are planted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edges", type=int, default=8_000_000)
    parser.add_argument("--vertices", type=int, default=50_000)
    parser.add_argument("--positives", type=int, default=5000, help="test edges that are scored")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--models", nargs="+", type=int, choices=range(len(models_of())),
                        help="numbers of the models of degree alone; the first of them learns "
                        "blocks")  # fmt: skip
    parser.add_argument("--epochs", type=int, help="steps of a model")
    options = parser.parse_args()
    torch.set_num_threads(1)
    degree = np.random.default_rng(options.seed).lognormal(0, 1.2, options.vertices)
    start, failed = time.perf_counter(), 0
    for case in options.cases:
        wall, cpu = time.perf_counter(), time.process_time()
        steps = STEPS_OF_DEGREE if case == "degree alone, models" else CONFIG.epochs
        config = CONFIG.model_copy(update={"epochs": options.epochs or steps})
        models = list(models_of(config).items())
        if options.models:
            models = [models[i] for i in options.models]
        pairs = int(options.edges / (BOTH_WAYS if case == "mirrors" else 1))
        for check in case_checks(case, cut_degrees(degree, pairs), options.seed, dict(models),
                                 options.positives):  # fmt: skip
            failed += not check.holds
            print(f"{case:20s} {check.what:63s} {check.value:9.3g}  {check.low:g} to {check.high:g}"
                  f"  {'holds' if check.holds else 'DOES NOT HOLD'}", flush=True)  # fmt: skip
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{case:20s} wall {time.perf_counter() - wall:.0f} s, processor "
              f"{time.process_time() - cpu:.0f} s, peak {peak:.1f} GB", flush=True)  # fmt: skip
    print(f"{options.edges:,} edges, {options.vertices:,} vertices: {failed} do not hold; "
          f"{time.perf_counter() - start:.0f} s")  # fmt: skip
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
