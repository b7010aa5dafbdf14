"""Draw the figure of planted self-evidence: python -m scripts.self_evidence_figure."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from tests.gnn.test_leave_out import self_evidence

PLACE = Path(__file__).parents[1] / "docs/images/self-evidence.svg"
VERTICES, GRAPHS = 400, 8
DEGREES = (2, 4, 8, 16, 32)  # mean number of edges of a vertex
SERIES = (
    ("all", "#8a8a8a", "all edges carry messages"),
    ("left out", "#0072b2", "the pair's own edges are left out"),
)


def main() -> None:
    """Write the figure, and print its numbers."""
    evidence = {
        degree: [self_evidence(s, VERTICES, VERTICES * degree // 2) for s in range(GRAPHS)]
        for degree in DEGREES
    }
    mpl.rcParams["svg.hashsalt"] = "octoscope"  # the same graphs give the same file
    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    for name, colour, label in SERIES:
        values = np.array([[one[name] for one in evidence[degree]] for degree in DEGREES])
        axes.plot(DEGREES, values, "o", ms=3, alpha=0.5, color=colour)
        axes.plot(DEGREES, values.mean(1), "-", color=colour, label=label)
        print(name, {d: round(float(v), 3) for d, v in zip(DEGREES, values.mean(1), strict=True)})
    axes.axhline(0.5, color="black", lw=0.8)
    axes.set_xscale("log", base=2)
    axes.set_xticks(DEGREES, [str(d) for d in DEGREES])
    axes.set_xlabel("edges of a vertex, mean")
    axes.set_ylabel("AUC: edge or no edge")
    axes.set_title("Random graphs: no edge can be foretold from the others", fontsize=10)
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PLACE, metadata={"Date": None})


if __name__ == "__main__":
    main()
