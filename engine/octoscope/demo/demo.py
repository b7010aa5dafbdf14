"""The demonstration: embedded cells, checkpoints and network, and the configuration to run them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

# Genes of immune signalling and transcription that the demonstration declares as a small panel.
PANEL = [
    "CD3E", "CD3G", "CD4", "CD8A", "CD8B", "CD19", "MS4A1", "CD79A", "CD79B", "CD14", "FCGR3A",
    "LYZ", "S100A8", "S100A9", "CST3", "HLA-DRA", "HLA-DRB1", "HLA-DPA1", "HLA-DPB1", "CD74",
    "CIITA", "IL7R", "CCR7", "LEF1", "TCF7", "GZMB", "GZMK", "PRF1", "NKG7", "IFNG", "STAT1",
    "STAT3", "IRF1", "IRF7", "IRF8", "SPI1", "CEBPB", "CEBPD", "FOS", "JUN", "JUNB", "NFKBIA",
    "NFKB1", "RELA", "TNF", "IL1B", "CCL3", "CCL4", "CD68", "APOE", "FTL", "FTH1",
    "B2M", "HLA-A", "HLA-B", "HLA-C", "TYROBP", "FCER1G", "LCK", "ZAP70", "LAT", "PTPRC", "ACTB",
]  # fmt: skip

# B cells are left out: of 37 cells so few pairs are eligible that each list holds most of them.
CATEGORIES = ["T cell", "classical monocyte", "macrophage"]


def data(name: str) -> Path:
    """Return the path of an embedded file or folder."""
    return Path(str(files("octoscope.demo").joinpath("data"))) / name


def checkpoint(name: str) -> str:
    """Return the path of an embedded checkpoint."""
    return str(data("checkpoints") / name)


def demo_tree(*, small: bool = False) -> dict[str, Any]:
    """Return the demonstration's configuration as a nested dict.

    ``small``: two models, two categories, the small panel; seconds instead of minutes.
    """
    tree: dict[str, Any] = {
        "title": "Octoscope demonstration: 522 human immune cells",
        "atlas": {
            "path": str(data("immune559.zarr")),
            "category_key": ["cell_type"],
            "categories": CATEGORIES,
        },
        "models": [
            {"name": "scgpt-demo", "family": "scgpt", "path": checkpoint("scgpt-demo")},
            {
                "name": "scprint-demo",
                "family": "scprint",
                "path": checkpoint("scprint-demo"),
                "options": {"context": "most_expr_overall"},
            },
            {
                "name": "aidocell-demo",
                "family": "aidocell",
                "path": checkpoint("aidocell-demo"),
                "tokens": "panel",
                "panel": "common",
            },
            {
                "name": "scfoundation-demo",
                "family": "scfoundation",
                "path": checkpoint("scfoundation-demo"),
                "tokens": "panel",
                "panel": "common",
            },
            {
                "name": "geneformer-demo",
                "family": "geneformer",
                "path": checkpoint("geneformer-demo"),
            },
        ],
        "gene_sets": [
            {"name": "common", "kind": "intersection"},
            {"name": "immune", "kind": "panel", "genes": PANEL},
        ],
        "accumulate": "common",
        "edges": {"per_query": 10, "view": "lift", "threshold": 1.0},
        "views": ["lift", "logit"],
        "centred": ["lift"],
        "estimators": ["per_cell", "mean_residual"],
        "compare": {
            "k": [50, 100, 200, 500],
            "gene_sets": ["common"],
            "views": ["lift", "lift.centred"],
            "pools": {"myeloid": ["classical monocyte", "macrophage"]},
        },
        "coexpression": ["pearson", "spearman"],
        "top_k": 500,
        "max_permutation_factor": 2,  # most tests reach their floor: ten times take a minute
        "network": {"path": "demo", "permutations": 1000, "k": [400, 4000]},
        "execution": {"threads": 1},  # so that on two cores two models start and compute at once
        "notes": [
            "The cells are 522 of 559 immune cells from one sample table; categories are labels "
            "made from marker genes. Natural killer cells sit among the T cells. The 37 B cells "
            "are not read: most pairs of genes stand together in too few of them.",
            "The network is OmniPath alone, restricted to genes of these cells: not the 8-source "
            "Octopus network. It has few edges among the genes of one cell type: half of the "
            "verdicts cannot tell, the others find no enrichment. Planted examples of the other "
            "two: docs/explanation/verdict.md, Examples of each verdict.",
        ],
    }
    if small:
        tree["atlas"]["categories"] = ["T cell", "macrophage"]
        tree["models"] = tree["models"][:2]
        for m in tree["models"]:
            m["layers"] = [0, 2]
        tree["accumulate"] = "immune"
        tree["gene_sets"] = tree["gene_sets"][1:]
        del tree["centred"], tree["compare"], tree["estimators"]
        tree["network"]["permutations"] = 100
        tree["execution"] = {"threads": 1, "unit_cells": 64}
        tree["keep_dense"] = "fp32"  # small, so that tutorials can show matrices
        del tree["coexpression"], tree["network"]["k"]
    return tree
