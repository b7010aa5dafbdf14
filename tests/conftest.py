"""Shared fixtures: real files, a small real atlas, the command line as a user calls it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml
from octoscope.demo.demo import data
from scipy import sparse

from tests.s3 import s3_server

ORACLE = Path(__file__).parent / "data" / "scgpt"


@pytest.fixture(scope="session")
def oracle() -> Path:
    return ORACLE


def octoscope(*arguments: str, env: dict[str, str] | None = None, timeout: float = 300) -> Any:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "from octoscope.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", **(env or {})},
        timeout=timeout,
        check=False,
    )


def make_adata(n_cells: int = 12, n_genes: int = 30, seed: int = 0) -> ad.AnnData:
    """Return a small AnnData of counts with real-looking ids."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(1.0, (n_cells, n_genes)).astype(np.float32)
    obs = pd.DataFrame(
        {"cell_type": pd.Categorical(np.where(np.arange(n_cells) % 3 == 0, "B", "A"))},
        index=[f"cell{i}" for i in range(n_cells)],
    )
    var = pd.DataFrame(
        {"feature_name": [f"GENE{i}" for i in range(n_genes)]},
        index=[f"ENSG{i:011d}" for i in range(n_genes)],
    )
    return ad.AnnData(sparse.csr_matrix(counts), obs=obs, var=var)


@pytest.fixture(scope="session")
def small_atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 real cells of two types with the demonstration's genes, as Zarr v3."""
    path = tmp_path_factory.mktemp("atlas") / "small.zarr"
    cells = ad.read_zarr(data("immune559.zarr"))
    keep = [
        i
        for kind in ("T cell", "macrophage")
        for i in np.flatnonzero(cells.obs["cell_type"].astype(str) == kind)[:24]
    ]
    part = cells[keep].copy()
    part.obs["cell_type"] = part.obs["cell_type"].astype(str)
    with ad.settings.override(auto_shard_zarr_v3=False, zarr_write_format=3):
        part.write_zarr(path)
    return path


def small_tree(atlas: Path) -> dict[str, Any]:
    """Return the configuration of a run of seconds: 2 layers, 60 genes, 2 categories."""
    from octoscope.demo.demo import PANEL

    return {
        "title": "small",
        "atlas": {"path": str(atlas), "category_key": ["cell_type"]},
        "models": [
            {
                "name": "tiny",
                "family": "scgpt",
                "path": str(data("checkpoints/scgpt-demo")),
                "layers": [0, 2],
            }
        ],
        "gene_sets": [{"name": "panel", "kind": "panel", "genes": PANEL}],
        "accumulate": "panel",
        "views": ["marginal", "logit"],
        "top_k": 50,
        "min_cells": 6,
        "permutations": 50,
        "edges": {"per_query": 5, "view": "logit", "symmetrise": True},
        "network": {"path": "demo", "permutations": 100},
        "execution": {"unit_cells": 8, "threads": 1, "actors": 1, "advanced": {"tile": 32}},
    }


def three_families(atlas: Path) -> dict[str, Any]:
    """Return the small run with scPRINT on its own context and AIDO.Cell on a panel."""
    tree = small_tree(atlas)
    tree["models"][0]["layers"] = [1]
    tree["models"] += [
        {
            "name": "scprint",
            "family": "scprint",
            "path": str(data("checkpoints/scprint-demo")),
            "options": {"context": "most_var_within", "max_len": 90, "context_genes": ["LYZ"]},
            "layers": [0, 1],
        },
        {
            "name": "aidocell",
            "family": "aidocell",
            "path": str(data("checkpoints/aidocell-demo")),
            "tokens": "panel",
            "panel": "panel",
            "layers": [1],
        },
    ]
    return tree


def five_families(atlas: Path) -> dict[str, Any]:
    """Return the run above with the two families whose cells have tokens of their own."""
    tree = three_families(atlas)
    for name in ("scfoundation", "geneformer"):
        path = str(data(f"checkpoints/{name}-demo"))
        tree["models"].append({"name": name, "family": name, "path": path, "layers": [1]})
    return tree


@pytest.fixture(scope="session")
def small_config(small_atlas: Path) -> Path:
    path = small_atlas.parent / "small.yaml"
    path.write_text(yaml.safe_dump(small_tree(small_atlas)))
    return path


def tables_of(run: Path) -> dict[str, str]:
    """Return the digest of every table of a run: a difference then names the tables, shortly."""
    files = [
        p
        for top in ("tables", "topk", "union", "edges", "consensus", "pools")
        for p in (run / top).rglob("*.parquet")
    ]
    return {
        str(p.relative_to(run)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(files)
    }


@pytest.fixture(scope="session")
def _s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(_s3: str) -> str:
    """A place of its own on a real S3 server, which AWS_* of the environment point at."""
    return f"{_s3}/{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def finished_run(small_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One finished small run, made once; tests copy it before they change anything."""
    run = tmp_path_factory.mktemp("finished") / "run"
    done = octoscope("run", str(small_config), "--out", str(run), "--set", "keep_dense=fp32")
    assert done.returncode == 0, done.stdout + done.stderr
    return run
