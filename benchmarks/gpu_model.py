"""The reduction on a GPU, on paper: operations, exponentials, bytes, and their least time.

    python benchmarks/gpu_model.py [--precision tf32x3]

Arithmetic only, nothing is run. A kernel takes at least as long as its products at the vendor's
dense rate, its exponentials at 16 a cycle and multiprocessor, and its bytes at the memory's rate.
`roof` adds up the larger of the three of each kernel, as if they overlapped without loss;
`in turn` adds them up, as if they did not overlap. Prints a table per card and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Card:
    """A GPU by its data sheet: dense operations per second, bytes per second."""

    name: str
    tf32: float
    bf16: float
    fp32: float
    memory: float
    exponentials: float  # 16 a cycle on each of 132 multiprocessors at 1.755 GHz


CARDS = [
    Card("H100 SXM", 494.7e12, 989.4e12, 66.9e12, 3.35e12, 3.7e12),
    Card("H200", 494.7e12, 989.4e12, 66.9e12, 4.8e12, 3.7e12),
]


@dataclass(frozen=True)
class Model:
    """A published size.

    Attributes
    ----------
    tokens
        Of a cell; of cells that hold some of the genes an assumed mean.
    genes
        Accumulated.
    micro
        Cells of a micro-batch, as the default plan gives them.
    """

    name: str
    layers: int
    d: int
    heads: int
    tokens: int
    genes: int
    micro: int

    @property
    def fixed(self) -> bool:
        """Whether every cell holds every gene."""
        return self.tokens >= self.genes


SIZES = [
    Model("scGPT, panel", 12, 512, 8, 1200, 1200, 32),
    Model("scPRINT medium", 8, 256, 4, 2200, 2200, 32),
    Model("AIDO.Cell 3M", 6, 128, 4, 19264, 19264, 11),
    Model("AIDO.Cell 10M", 8, 256, 8, 19264, 19264, 6),
    Model("AIDO.Cell 100M", 18, 640, 20, 19264, 19264, 2),
    Model("scFoundation", 12, 768, 12, 2000, 19264, 19),
    Model("Geneformer V2-316M", 18, 1152, 18, 2000, 20000, 13),
]
PRODUCTS = {"tf32x3": 3, "ieee": 1, "bf16": 1}  # on tensor cores, per product of float32 numbers


def rate(card: Card, precision: str) -> float:
    """Return the operations per second of a precision's instruction."""
    return {"tf32x3": card.tf32, "ieee": card.fp32, "bf16": card.bf16}[precision]


def work(m: Model) -> dict[str, float]:
    """Return what one cell costs in one layer: scores, operations, exponentials, bytes.

    Scores are made twice, for the sums of the rows and for the tiles. Accumulators are three
    float64 quantities. Of fixed sets they are read and written once a micro-batch; otherwise at the
    pairs of each cell, where neighbours share a sector of 32 bytes as far as the cell holds them.
    """
    scores = m.heads * float(m.tokens) ** 2
    if m.fixed:
        moved = 48.0 * m.genes**2 / m.micro
    else:
        in_sector = max(1.0, 4 * m.tokens / m.genes)
        moved = 48.0 * m.tokens**2 * (4 / in_sector)
    return {
        "scores": scores,
        "operations": 2 * 2 * scores * m.d / m.heads,
        "exponentials": 2 * scores,
        "bytes": moved,
        # projections and a perceptron of 4 d; attention that keeps no scores
        "forward": 24.0 * m.tokens * m.d**2 + 4 * scores * m.d / m.heads,
        "forward_exponentials": scores,
    }


def times(m: Model, card: Card, precision: str) -> dict[str, float]:
    """Return seconds of one cell in one layer."""
    w = work(m)
    product = PRODUCTS[precision] * w["operations"] / rate(card, precision) / 2  # of each kernel
    exp = w["exponentials"] / card.exponentials / 2
    memory = w["bytes"] / card.memory
    forward = max(
        w["forward"] / card.bf16, w["forward_exponentials"] / card.exponentials
    )  # in bf16, attention by a flash kernel
    return {
        "product": 2 * product, "exp": 2 * exp, "memory": memory,
        "roof": max(product, exp) + max(product, exp, memory),
        "in_turn": 2 * product + 2 * exp + memory,
        "forward": forward,
    }  # fmt: skip


def row(m: Model, card: Card, precision: str) -> dict[str, Any]:
    """Return a line of the table; hours of a million cells through all layers."""
    t = times(m, card, precision)
    wall = max(("product", "exp", "memory"), key=t.__getitem__)
    hours = m.layers * 1e6 / 3600
    return {
        "model": m.name, "card": card.name,
        **{k: v for k, v in work(m).items() if not k.startswith("forward")},
        **{f"{k}_ms": 1e3 * v for k, v in t.items()}, "wall": wall,
        "hours_roof": hours * t["roof"], "hours_in_turn": hours * t["in_turn"],
        "hours_forward": hours * t["forward"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--precision", choices=PRODUCTS, default="tf32x3")
    a = parser.parse_args()
    rows = [row(m, card, a.precision) for card in CARDS for m in SIZES]
    head = (
        "model", "card", "scores", "operations", "exponentials", "bytes",
        "products, exp, memory (ms)", "wall", "roof, in turn (ms)", "a million cells (hours)",
        "forward (hours)",
    )  # fmt: skip
    print(f"| {' | '.join(head)} |")
    print("|" + "---|" * len(head))
    for r in rows:
        print(
            f"| {r['model']} | {r['card']} | {r['scores']:.1e} | {r['operations']:.1e} "
            f"| {r['exponentials']:.1e} | {r['bytes']:.1e} | {r['product_ms']:.3g}, "
            f"{r['exp_ms']:.3g}, {r['memory_ms']:.3g} | {r['wall']} | {r['roof_ms']:.3g}, "
            f"{r['in_turn_ms']:.3g} | {r['hours_roof']:.3g} to {r['hours_in_turn']:.3g} "
            f"| {r['hours_forward']:.3g} |"
        )
    print(json.dumps({"benchmark": "gpu_model", "precision": a.precision, "rows": rows}))


if __name__ == "__main__":
    main()
