"""Draw the figure of the README from a demonstration: python scripts/readme_figure.py RUN."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import octoscope as oc
import pandas as pd

PLACE = Path(__file__).parents[1] / "docs/images/demo-verdict.svg"
CATEGORY, K = "macrophage", 4000
SERIES = (
    ("or0", "#8a8a8a", "of like degree and expression"),
    ("or1", "#0072b2", "of like co-expression too"),
)


def draw(verdicts: pd.DataFrame) -> None:
    """Write the figure; ``verdicts`` as :meth:`octoscope.Run.verdict` returns them."""
    rows = verdicts[(verdicts["category"] == CATEGORY) & (verdicts["k"] == K)]
    names = rows["model"].str.replace("-demo", "").str.replace(".residual", "\n(mean cell)")
    mpl.rcParams["svg.hashsalt"] = "octoscope"  # the same run gives the same file
    figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
    models = list(dict.fromkeys(names))
    at = names.map(models.index).to_numpy(float)
    n = rows.groupby("model")["layer"].transform("size").to_numpy()
    at += (rows.groupby("model").cumcount().to_numpy() - (n - 1) / 2) * 0.22
    for shift, (name, colour, label) in zip((-0.04, 0.04), SERIES, strict=True):
        low, middle, high = (rows[name + end].to_numpy(float) for end in ("_low", "", "_high"))
        axes.errorbar(
            at + shift, middle, [middle - low, high - middle],
            fmt="o", ms=4, lw=1.4, color=colour, label=f"against pairs {label}",
        )  # fmt: skip
    axes.axhline(1, color="black", lw=0.8)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xticks(np.arange(len(models)), models, fontsize=8)
    axes.set_ylabel("odds ratio: network edge")
    axes.set_title(f"Strongest {K:,} pairs of each layer, {CATEGORY}", fontsize=10)
    figure.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=2)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PLACE, metadata={"Date": None})


if __name__ == "__main__":
    draw(oc.open_run(sys.argv[1]).verdict())
