"""Calibration of the comparisons where not every pair is eligible.

    python benchmarks/calibration_eligibility.py [--runs 200] [--genes 80] [--permutations 99]

Matrices share no pair, as in ``calibration.py``, but each can only list and rank the pairs that are
eligible in it. Values are ``noise`` or lognormal ``hubs`` (gene effects of each matrix's own).

Eligibility of blocks, that is of all pairs of some genes: ``half`` (a random half of the genes, of
each matrix's own), ``nested`` (half of the genes in the first matrix, a third of them within this
half in the others), ``hardly shared`` (half of the genes in each; a quarter of these in both),
``same half``. Graded eligibility, of pairs whose genes' expression is above 0 together: ``graded``
(each matrix has its own expression), ``graded, same`` (one expression for all). ``expressed``: as
``graded``, and expression is added to both gene effects of the values; ``expressed, same``: all
matrices read the same expression. That is a shared structure, as shared hubs are, so a test without
centring rightly finds it. Layers of a model, and halves of a category, have the same eligibility.

``contrasts``: the rate is the share of a category's top pairs that count as specific to it, of two
categories of one wiring whose cells alone differ (noise of standard deviation ``sd`` in each half,
1 of the wiring). All pairs are eligible in one category. In the other, those of half of the genes
are: of random genes, or of the well expressed ones, which the wiring prefers.

Prints a table, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import numpy as np
import scipy
from calibration_comparisons import (
    agreement_p,
    coherence_p,
    halves_p,
    layers_p,
    support_p,
)
from calibration_structures import Matrix, hub_effects, noise
from octoscope.analysis.consensus import contrast_test, specificity
from rich.console import Console
from rich.table import Table

Drawn = tuple[list[Matrix], Matrix]  # three matrices, and [3, genes, genes] bool
_N_MATRICES = 3
_CATEGORIES = "of the full category", "of the other"
BLOCKS = ("half", "nested", "hardly shared", "same half")
GRADED = ("graded", "graded, same", "expressed", "expressed, same")
SAME = ("all eligible", "same half", "graded, same", "expressed, same")


def _blocks(rng: np.random.Generator, n: int, name: str) -> Matrix:
    """Return [3, genes] bool: the genes whose pairs are eligible in each matrix."""
    own = np.zeros((_N_MATRICES, n), bool)
    orders = [rng.permutation(n) for _ in own]
    for i, row in enumerate(own):
        order = orders[0]
        if name == "half":
            row[orders[i][: n // 2]] = True
        elif name == "nested":
            row[order[: n // 2] if i == 0 else rng.permutation(order[: n // 2])[: n // 3]] = True
        elif name == "hardly shared":
            first = i * 3 * n // 8
            row[np.roll(order, -first)[: n // 2]] = True
        else:
            row[order[: n // 2]] = True
    return own


def draw(rng: np.random.Generator, n: int, values: str, name: str) -> Drawn:
    """Return matrices whose values share no pair, and their eligible pairs."""
    matrices = [noise(rng, n) for _ in range(_N_MATRICES)]
    if values == "hubs":
        matrices = [m + hub_effects(rng, n) for m in matrices]
    eligible = np.ones((_N_MATRICES, n, n), bool)
    if name in BLOCKS:
        own = _blocks(rng, n, name)
        eligible = own[:, :, None] & own[:, None]
    elif name in GRADED:
        expression = rng.normal(size=(_N_MATRICES, n))
        if name.endswith("same"):
            expression[:] = expression[0]
        of_pairs = expression[:, :, None] + expression[:, None]
        eligible = of_pairs > 0
        if name.startswith("expressed"):
            matrices = [m + e for m, e in zip(matrices, of_pairs, strict=True)]
    return [np.exp(m) if values == "hubs" else m for m in matrices], eligible


def _quantiles(values: Matrix, eligible: Matrix) -> np.ndarray:
    """Return [genes * genes] rank / eligible pairs, the largest first; NaN where not eligible."""
    out = np.full(values.size, np.nan)
    use = np.flatnonzero(eligible & ~np.eye(len(values), dtype=bool))
    out[use] = scipy.stats.rankdata(-values.ravel()[use]) / len(use)
    return out


def contrast_rates(
    rng: np.random.Generator, n: int, k: int, other: str, sd: float
) -> tuple[float, float]:
    """Return the shares that count: of the top pairs of the full category, and of the other's.

    ``other``: what is eligible in the other category; ``sd``: of the noise of each half.
    """
    expression = rng.normal(size=n)
    half = np.ones(n, bool)
    if other != "all eligible":
        expressed = other == "expressed half"
        half[np.argsort(expression)[: n // 2] if expressed else rng.permutation(n)[: n // 2]] = 0
    wiring = expression[:, None] + expression + noise(rng, n)
    masks = [np.ones((n, n), bool), half[:, None] & half]
    q = []
    for mask in masks:
        halves = [wiring + sd * noise(rng, n) for _ in range(2)]
        q.append([_quantiles(x, mask) for x in (np.mean(halves, axis=0), *halves)])
    quantiles = np.array(q)  # [categories, parts, pairs]
    contrasts = [specificity(quantiles[:, part])[0] for part in range(3)]
    rates = []
    for c, mask in enumerate(masks):
        n_eligible = int(mask.sum()) - int(np.diag(mask).sum())
        top = np.flatnonzero(quantiles[c, 0] * n_eligible <= k)
        both = np.stack([x[c, top] for x in contrasts[1:]])
        row = contrast_test(contrasts[0][c, top], both, *np.divmod(top, n), n)
        rates.append(float(row["n_specific"] / max(row["n_pairs"], 1)))
    return rates[0], rates[1]


def main() -> None:
    parser = argparse.ArgumentParser(description="Calibration where not every pair is eligible")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--genes", type=int, default=80)
    parser.add_argument("--permutations", type=int, default=99)
    parser.add_argument("--only", default="", help="rows with this in 'test: values, eligibility'")
    parser.add_argument("--first-seed", type=int, default=0)
    a = parser.parse_args()
    n, b, k = a.genes, a.permutations, a.genes**2 // 40
    seeds, centred = range(a.first_seed, a.first_seed + a.runs), "conditional.centred"
    tests: dict[str, Callable[[Drawn, int], float]] = {
        "agreement": lambda x, s: agreement_p(x[0], k, b, s, "conditional", x[1]),
        "agreement, centred": lambda x, s: agreement_p(x[0], k, b, s, centred, x[1]),
        "coherence": lambda x, s: coherence_p(x[0], k, b, s, x[1]),
        "support": lambda x, s: support_p(x[0], k, b, s, x[1]),
        "layers": lambda x, s: layers_p(x[0], k, b, s, x[1]),
        "halves, centred": lambda x, s: halves_p(x[0], b, s, x[1][0]),
    }
    table = Table("test", "values", "eligibility", "p <= 0.05", "95 % interval", "mean p", "runs")
    rows = []
    for test, p_of in tests.items():
        same_only = test in ("layers", "halves, centred")
        for values in ("noise", "hubs"):
            for name in SAME if same_only else ("all eligible", *BLOCKS, *GRADED):
                if a.only not in f"{test}: {values}, {name}":
                    continue
                drawn = (draw(np.random.default_rng(s), n, values, name) for s in seeds)
                p = np.array([p_of(x, s) for s, x in zip(seeds, drawn, strict=True)])
                p = p[~np.isnan(p)]
                small = int((p <= 0.05 + 1e-9).sum())
                ends = scipy.stats.binomtest(small, len(p)).proportion_ci(method="exact")
                row = [test, values, name, small / len(p), ends.low, ends.high, float(p.mean())]
                rows.append([*row, len(p)])
                rate, low, high = (f"{100 * x:.1f}" for x in row[3:6])
                table.add_row(
                    test, values, name, f"{rate} %", f"{low} to {high} %", f"{row[6]:.2f}",
                    str(len(p)),
                )  # fmt: skip
    if a.only in "contrasts":
        for sd in (0.5, 0.25):
            for other in ("all eligible", "random half", "expressed half"):
                of = [contrast_rates(np.random.default_rng(s), n, k, other, sd) for s in seeds]
                for category, rates in zip(_CATEGORIES, np.transpose(of), strict=True):
                    rate, error = rates.mean(), 1.96 * rates.std(ddof=1) / np.sqrt(a.runs)
                    values = f"{category}, sd {sd}"
                    ends = float(rate - error), float(rate + error)
                    rows.append(["contrasts", values, other, float(rate), *ends, a.runs])
                    interval = f"± {100 * error:.1f}"
                    shown = f"{100 * rate:.1f} %", interval, "", str(a.runs)
                    table.add_row("contrasts", values, other, *shown)
    Console(width=120).print(table)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
