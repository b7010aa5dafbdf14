"""Shared fixtures: real files, a small real atlas, the command line as a user calls it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import settings
from octoscope.demo.demo import data
from scipy import sparse

from tests.s3 import s3_server

# Ray starts idle workers, one per CPU, that no test uses: actors have settings of their own.
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
# The command line in this process has one console, made when it is imported.
os.environ.setdefault("COLUMNS", "200")
# Kernels for GPUs run in Triton's interpreter; read when the kernels are imported.
os.environ.setdefault("TRITON_INTERPRET", "1")

# The same examples on every machine: a change is judged by what it changes. To look for others:
# `python -m pytest --hypothesis-profile=default --hypothesis-seed=N`.
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")

ORACLE = Path(__file__).parent / "data" / "scgpt"


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that is filled once for all processes of a test session."""
    top = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        top = top.parent
    folder, marker = top / name, top / f"{name}.made"
    with (top / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not marker.exists():
            folder.mkdir()
            make(folder)
            marker.touch()
    return folder


@pytest.fixture(scope="session")
def oracle() -> Path:
    return ORACLE


# Files whose slow tests take minutes. They start first, so that none is left alone at the end.
LONGEST = (
    "jobs/test_submit.py",
    "test_guide.py",
    "faults/test_crashes.py",
    "analysis/test_peer_compare.py",
    "pipeline/test_run.py",
    "faults/test_drivers.py",
    "cluster/test_start.py",
    "faults/test_attempts.py",
    "faults/test_nodes.py",
    "test_user_folder.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; pytest-xdist takes them in this order (scripts/test.sh)."""
    tests = Path(__file__).parent
    order = {tests / name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


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

    def make(folder: Path) -> None:
        cells = ad.read_zarr(data("immune559.zarr"))
        keep = [
            i
            for kind in ("T cell", "macrophage")
            for i in np.flatnonzero(cells.obs["cell_type"].astype(str) == kind)[:24]
        ]
        part = cells[keep].copy()
        part.obs["cell_type"] = part.obs["cell_type"].astype(str)
        with ad.settings.override(auto_shard_zarr_v3=False, zarr_write_format=3):
            part.write_zarr(folder / "small.zarr")
        tree = small_tree(folder / "small.zarr")
        (folder / "small.yaml").write_text(yaml.safe_dump(tree))

    return once(tmp_path_factory, "atlas", make) / "small.zarr"


@pytest.fixture(scope="session")
def donors_atlas(small_atlas: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same cells of six donors, as h5ad."""

    def make(folder: Path) -> None:
        cells = ad.read_zarr(small_atlas)
        cells.obs["donor"] = [f"d{i * 7 % 6}" for i in range(len(cells))]
        cells.write_h5ad(folder / "donors.h5ad")

    return once(tmp_path_factory, "donors", make) / "donors.h5ad"


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
    return small_atlas.parent / "small.yaml"


@pytest.fixture(scope="session")
def napistu_stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores of napistu-torch 0.4.0, ``scGPT`` and ``AIDOCell_aido_cell_3m``, and ``expected``."""

    def make(folder: Path) -> None:
        with tarfile.open(ORACLE.parent / "napistu/stores.tar.xz") as archive:
            archive.extractall(folder, filter="data")

    return once(tmp_path_factory, "napistu-stores", make)


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
def scored_run(small_atlas: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two model groups with a graph neural network, made once."""
    tree = three_families(small_atlas)
    tree["models"] = tree["models"][:2]
    tree["models"][0]["layers"] = [0, 1, 2]
    tree |= {"views": ["logit"], "compare": {"k": [20, 50]}}
    tree["network"]["gnn"] = {"demo": {"path": str(data("gnn-demo"))}}

    def make(folder: Path) -> None:
        (folder / "run.yaml").write_text(yaml.safe_dump(tree))
        done = octoscope("run", str(folder / "run.yaml"), "--out", str(folder / "run"))
        assert done.returncode == 0, done.stdout + done.stderr

    return once(tmp_path_factory, "scored", make) / "run"


@pytest.fixture(scope="session")
def finished_run(small_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One finished small run on Ray, made once; tests copy it before they change anything."""

    def make(folder: Path) -> None:
        run = str(folder / "run")
        done = octoscope("run", str(small_config), "--out", run, "--set", "keep_dense=fp32")
        assert done.returncode == 0, done.stdout + done.stderr

    return once(tmp_path_factory, "finished", make) / "run"
