"""Calibration and power of the comparisons on matrices whose truth is known.

    python benchmarks/calibration.py [--runs 200] [--genes 80] [--permutations 99]

Two matrices (or halves, or models) are drawn that share no pair. A calibrated test gives p < 0.05
in 5 % of runs. Structures: ``hubs`` (lognormal gene effects of each side's own), ``shared hubs``
(the same gene effects on both sides: no pair is shared, but hub genes are), ``low rank`` (three
factors of each side's own), ``co-expression`` (both read one low-rank co-expression matrix that has
nothing to do with wiring: a *shared* structure that a test rightly finds and cannot explain),
``donors`` (for halves: what donors add is low rank; disjoint halves have other donors, mixed ones
the same). ``donor intervals``: the rate is how often the 95 % interval of a pair's value misses the
truth, of any pair and of the pairs with the largest values, which were chosen by what is measured
(donors differ, cells of a donor too, groups have one to three donors). ``planted``: a tenth of the
pairs is raised on both sides: the rate is power.

Prints a table, and one JSON line last; failures are shown, not hidden.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator

import numpy as np
from rich.console import Console
from rich.table import Table

from engine.analysis.agreement import agreement, place, strongest_of, union
from engine.analysis.consensus import support_test
from engine.analysis.derived import Derived
from engine.analysis.donors import interval
from engine.analysis.finalise import finalise
from engine.analysis.geometry import compare_geometry
from engine.analysis.layers import compare_layers
from engine.analysis.matrix import HalfTile, MatrixSource

Matrix = np.ndarray
_PAIRS = ("any pair", "pairs at the top", "held by three groups")
Structure = Callable[[np.random.Generator, int], list[Matrix]]


def noise(rng: np.random.Generator, n: int) -> Matrix:
    return rng.normal(size=(n, n))


def hub_effects(rng: np.random.Generator, n: int) -> Matrix:
    return np.asarray(rng.normal(size=n)[:, None] + rng.normal(size=n))


def low_rank(rng: np.random.Generator, n: int, rank: int = 3) -> Matrix:
    return rng.normal(size=(n, rank)) @ rng.normal(size=(rank, n)) / np.sqrt(rank)


def hubs(rng: np.random.Generator, n: int) -> list[Matrix]:
    return [np.exp(hub_effects(rng, n) + noise(rng, n)) for _ in range(3)]


def shared_hubs(rng: np.random.Generator, n: int) -> list[Matrix]:
    effects = hub_effects(rng, n)
    return [effects + noise(rng, n) for _ in range(3)]


def of_low_rank(rng: np.random.Generator, n: int) -> list[Matrix]:
    return [low_rank(rng, n) + 0.5 * noise(rng, n) for _ in range(3)]


def coexpression(rng: np.random.Generator, n: int) -> list[Matrix]:
    shared = low_rank(rng, n)
    return [shared + noise(rng, n) for _ in range(3)]


def planted(rng: np.random.Generator, n: int) -> list[Matrix]:
    raised = 2 * (rng.random((n, n)) < 0.1)
    return [np.exp(hub_effects(rng, n) + noise(rng, n) + raised) for _ in range(3)]


def source(halves: Matrix) -> MatrixSource:
    sums = np.repeat(50 * halves[:, None], 3, axis=1).astype(np.float32)
    pairs = np.full(halves.shape, 50, np.int32)

    def tiles() -> Iterator[HalfTile]:
        yield HalfTile(0, sums, pairs)

    return MatrixSource(tiles, halves.shape[-1], (50, 50), min_cells=20)


def agreement_p(matrices: list[Matrix], k: int, permutations: int, seed: int, view: str) -> float:
    genes = np.arange(len(matrices[0]))
    sides = [Derived(source(np.stack([m, m]))) for m in matrices[:2]]
    readers = [lambda s=s: s.values(genes, view) for s in sides]  # type: ignore[misc]
    placed = place(
        readers, *union([strongest_of(r, k) for r in readers], len(genes)), n_genes=len(genes)
    )
    found = agreement(placed, {1: readers[1]}, [k], permutations=permutations, seed=seed)
    return float(found.rows[0]["p"])


def support_p(matrices: list[Matrix], k: int, permutations: int, seed: int) -> float:
    n = len(matrices[0])
    every = np.ones((n, n), bool)
    lists = [strongest_of(lambda m=m: iter([(0, m, every)]), k) for m in matrices]  # type: ignore[misc]
    query, key = union(lists, n)
    codes = query * n + key
    members = np.stack([np.isin(codes, q * n + j) for q, j in lists])
    found = support_test(
        query, key, members, ["a", "b", "c"], n, permutations=permutations, seed=seed
    )
    return float(found["p"].iloc[0])


def layers_p(matrices: list[Matrix], k: int, permutations: int, seed: int) -> float:
    genes = np.arange(len(matrices[0]))
    # a third layer that lists the second one's pairs, as neighbours do
    near = matrices[1] + 0.01 * noise(np.random.default_rng(seed), len(genes))
    sides = {y: source(np.stack([m, m])) for y, m in enumerate([*matrices[:2], near])}
    tops = {}
    for y, side in sides.items():
        done = finalise(side, {"all": genes}, ["conditional"], top_k=k, permutations=1, seed=0)
        tops[y] = done.topk[done.topk["part"] == "total"]
    _, found = compare_layers(
        sides, genes, "conditional", tops, permutations=permutations, seed=seed
    )
    return float(found["p"].dropna().iloc[0])


def halves_p(halves: list[Matrix], permutations: int, seed: int) -> float:
    done = finalise(
        source(np.stack(halves[:2])), {"all": np.arange(len(halves[0]))}, ["conditional"],
        top_k=50, permutations=permutations, seed=seed,
    )  # fmt: skip
    return float(done.stats["half_p"].iloc[0])


def donors(rng: np.random.Generator, n: int, mixed: bool) -> list[Matrix]:
    """Halves with hubs in common (as halves of a category have) and four donors' effects."""
    effects = hub_effects(rng, n)
    own = [low_rank(rng, n) for _ in range(4)]
    sides = [own, own] if mixed else [own[:2], own[2:]]
    return [effects + np.mean(side, axis=0) + 0.5 * noise(rng, n) for side in sides]


def donor_misses(rng: np.random.Generator, n: int) -> list[float]:
    """Return the shares of intervals that miss: of any pair, of a fortieth at the top, of few."""
    sizes, pairs = np.array([2, 1, 3, 2, 2, 1]), n**2
    group = np.repeat(np.arange(len(sizes)), sizes)
    cells = rng.integers(50, 400, len(group)).astype(float)
    truth = rng.normal(size=pairs)
    noise = 0.5 * rng.normal(size=(len(group), pairs))
    seen = truth + noise + 3 * rng.normal(size=noise.shape) / np.sqrt(cells)[:, None]
    holds = np.ones((len(sizes), pairs), bool)
    holds[3:, ::2] = False  # every other pair is held by three groups

    def mean(use: np.ndarray) -> np.ndarray:
        weight = cells[:, None] * holds[group] * use[:, None]
        return np.asarray((weight * seen).sum(0) / weight.sum(0))

    whole = mean(group >= 0)
    without = np.stack([mean(group != g) for g in range(len(sizes))])
    low, high = interval(whole, without, holds, sizes)
    missed, every, few = (truth < low) | (truth > high), slice(1, None, 2), slice(0, None, 2)
    top = missed[every][np.argsort(-whole[every])[: pairs // 80]]
    return [float(x.mean()) for x in (missed[every], top, missed[few])]


def geometry_p(related: bool, permutations: int, seed: int, n: int) -> float:
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(n, 8)) + rng.normal(size=8)  # a common direction, as streams have
    second = rng.normal(size=(n, 8)) + rng.normal(size=8)
    if related:
        second = second + 0.5 * first
    found = compare_geometry([first, second], permutations=permutations, seed=seed)
    return float(found["p"].iloc[0])


def main() -> None:
    parser = argparse.ArgumentParser(description="Calibration and power of the comparisons")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--genes", type=int, default=80)
    parser.add_argument("--permutations", type=int, default=99)
    a = parser.parse_args()
    n, b, k = a.genes, a.permutations, a.genes**2 // 40
    structures: dict[str, Structure] = {
        "hubs": hubs, "shared hubs": shared_hubs, "low rank": of_low_rank,
        "co-expression": coexpression, "planted": planted,
    }  # fmt: skip
    found: dict[str, dict[str, float]] = {}

    def record(test: str, structure: str, p: list[float]) -> None:
        rate, mean = float(np.mean(np.array(p) < 0.05)), float(np.mean(p))
        error = 1.96 * np.sqrt(max(rate * (1 - rate), 1 / len(p)) / len(p))
        found[f"{test}: {structure}"] = {
            "rate": round(rate, 3), "error": round(float(error), 3), "mean_p": round(mean, 3),
            "runs": len(p),
        }  # fmt: skip

    for name, structure in structures.items():
        drawn = [structure(np.random.default_rng(s), n) for s in range(a.runs)]
        for view in ("conditional", "conditional.centred"):
            label = "agreement" + (", centred" if "." in view else "")
            record(label, name, [agreement_p(m, k, b, s, view) for s, m in enumerate(drawn)])
        record("layers", name, [layers_p(m, k, b, s) for s, m in enumerate(drawn)])
        record("support", name, [support_p(m, k, b, s) for s, m in enumerate(drawn)])
    for name, mixed in (("donors, disjoint halves", False), ("donors, mixed halves", True)):
        p = [halves_p(donors(np.random.default_rng(s), n, mixed), b, s) for s in range(a.runs)]
        record("halves, centred", name, p)
    missed = np.array([donor_misses(np.random.default_rng(s), n) for s in range(a.runs)])
    for name, rates in zip(_PAIRS, missed.T, strict=True):
        found[f"donor intervals: {name}"] = {
            "rate": round(float(rates.mean()), 3),
            "error": round(float(1.96 * rates.std(ddof=1) / np.sqrt(a.runs)), 3), "runs": a.runs,
        }  # fmt: skip
    for name, related in (("unrelated streams", False), ("related streams", True)):
        record("geometry", name, [geometry_p(related, b, s, n) for s in range(a.runs)])
    table = Table("test", "structure", "p < 0.05", "mean p", "runs")
    for key, row in found.items():
        test, structure_name = key.split(": ")
        rate = f"{100 * row['rate']:.1f} % ± {100 * row['error']:.1f}"
        table.add_row(
            test,
            structure_name,
            rate,
            f"{row.get('mean_p', float('nan')):.2f}",
            str(int(row["runs"])),
        )
    Console().print(table)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
