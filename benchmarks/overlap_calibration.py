"""How often pairs that only prefer hubs reach a small p in the overlap test.

    python benchmarks/overlap_calibration.py [--runs 60]

A network whose edges follow gene propensities, and top pairs drawn by the same propensities and
nothing else: a calibrated test gives p < 0.05 in 5 % of runs. Compared: the strata of
``octoscope.octopus.nulls`` (quarter-log2 bins of degree), these merged to ten genes, no strata.
Prints one line per case and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import numpy as np
from octoscope.analysis import overlap, vertex_pairs
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.nulls import degree_strata

CASES = {
    "150 genes, sd 1.2": (150, 1.2, 0.02),
    "400 genes, sd 1.0": (400, 1.0, 0.01),
    "150 genes, sd 0.6": (150, 0.6, 0.03),
}


def merged(degree: np.ndarray) -> np.ndarray:
    """Quarter-log2 bins, from the hubs down, merged until each holds ten genes."""
    fine = degree_strata(degree)
    out, current, size = np.zeros(len(fine), int), 0, 0
    for value in np.unique(fine)[::-1]:
        if size >= 10:
            current, size = current + 1, 0
        out[fine == value] = current
        size += int((fine == value).sum())
    return out


STRATA: dict[str, Callable[..., np.ndarray]] = {
    "quarter-log2": lambda degree, *_: degree_strata(degree),
    "merged to ten": lambda degree, *_: merged(degree),
    "none": lambda degree, *_: np.zeros(len(degree), int),
}


def p_of_hubs(n: int, sd: float, base: float, seed: int) -> float:
    rng = np.random.default_rng(seed)
    propensity = rng.lognormal(0, sd, n)
    chance = np.minimum(1, base * np.outer(propensity, propensity))
    adjacency = np.triu(rng.random((n, n)) < chance, 1)
    adjacency |= adjacency.T
    score = np.log(np.outer(propensity, propensity)) + rng.gumbel(size=(n, n))
    np.fill_diagonal(score, -np.inf)
    best = np.argsort(-score.ravel())[:n]
    pairs = VertexPairs.of_genes(np.arange(n), adjacency, ~np.eye(n, dtype=bool))
    tested = overlap.overlap_test(best // n, best % n, pairs, permutations=100, seed=seed)
    return float(tested["p"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=60)
    runs = parser.parse_args().runs
    result: dict[str, dict[str, float]] = {}
    for case, (n, sd, base) in CASES.items():
        result[case] = {}
        for name, strata in STRATA.items():
            vertex_pairs.label_strata = strata  # type: ignore[assignment]
            p = np.array([p_of_hubs(n, sd, base, seed) for seed in range(runs)])
            result[case][name] = float((p < 0.05).mean())
            print(f"{case}, strata {name}: p < 0.05 in {result[case][name]:.0%} of {runs} runs")
    print(json.dumps({"runs": runs, "share_below_0.05": result}))


if __name__ == "__main__":
    main()
