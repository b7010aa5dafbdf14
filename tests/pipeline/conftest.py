"""Runs that several files of this folder read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.conftest import once, three_families
from tests.here import here


@pytest.fixture(scope="session")
def compared(small_atlas: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three families that keeps its matrices, made once; tests change copies."""
    tree = three_families(small_atlas)
    tree |= {
        "estimators": ["per_cell", "mean_residual"],
        "coexpression": ["pearson"],
        "centred": ["logit"],
        "absolute": ["logit"],
        "keep_dense": "fp32",
        "compare": {"k": [10, 50], "pools": {"both": ["T cell", "macrophage"]}},
    }
    tree["models"][0]["layers"] = [0, 2]
    tree["gene_sets"].append({"name": "shared", "kind": "intersection"})
    two = {"name": "two", "kind": "intersection", "models": ["tiny", "scprint"]}
    tree["gene_sets"].append(two)

    def make(folder: Path) -> None:
        (folder / "run.yaml").write_text(yaml.safe_dump(tree))
        done = here("run", str(folder / "run.yaml"), "--out", str(folder / "run"))
        assert done.returncode == 0, done.stderr

    return once(tmp_path_factory, "compared", make) / "run"
