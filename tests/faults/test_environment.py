"""Environments that nobody planned: the same plan, or one line that says what to change."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import yaml

from tests.conftest import small_tree
from tests.here import here

COMMAND = [sys.executable, "-c", "from octoscope.cli import main; main()"]


def plan(config: Path, run: Path, env: dict[str, str], **more: Any) -> Any:
    return subprocess.run(
        [*COMMAND, "plan", str(config), "--out", str(run), "--no-calibrate"],
        env=env, capture_output=True, text=True, check=False, **more,
    )  # fmt: skip


def one_line(stderr: str) -> str:
    (line,) = stderr.strip().splitlines()
    return line


def test_an_environment_that_helps_nothing_changes_no_plan(
    small_config: Path, tmp_path: Path
) -> None:
    env = {k: v for k, v in os.environ.items() if k != "HOME"}
    env |= {
        "TMPDIR": "/proc/nowhere", "LANG": "C", "LC_ALL": "C", "OMP_NUM_THREADS": "64",
        "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9",
        "all_proxy": "http://127.0.0.1:9",
    }  # fmt: skip
    files = (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    done = plan(
        small_config, tmp_path / "a", env,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, files),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    usual = here("plan", str(small_config), "--out", str(tmp_path / "b"), "--no-calibrate")
    assert usual.returncode == 0, usual.stderr
    first, second = (json.loads((tmp_path / n / "plan.json").read_text()) for n in "ab")
    assert first == second


def test_an_interpreter_without_assertions_is_refused(small_config: Path, tmp_path: Path) -> None:
    done = plan(small_config, tmp_path / "a", {**os.environ, "PYTHONOPTIMIZE": "1"})
    assert done.returncode == 2
    assert "PYTHONOPTIMIZE" in one_line(done.stderr)


def test_too_little_memory_is_one_line(small_config: Path, tmp_path: Path) -> None:
    limit = (1 << 30, 1 << 30)
    done = plan(
        small_config, tmp_path / "a", dict(os.environ),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
    )  # fmt: skip
    assert done.returncode == 1
    assert one_line(done.stderr).startswith("error: ")  # of memory, or of a library
    assert not (tmp_path / "a").exists()


def test_a_place_that_cannot_be_written_is_one_line(small_config: Path) -> None:
    done = here("plan", str(small_config), "--out", "/proc/nowhere/run", "--no-calibrate")
    assert done.returncode in (1, 2)
    assert "/proc" in one_line(done.stderr)


@pytest.fixture
def atlas(small_atlas: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_atlas, tmp_path / "a.zarr"))


def write(cells: ad.AnnData, path: Path) -> None:
    shutil.rmtree(path)
    with ad.settings.override(auto_shard_zarr_v3=False, zarr_write_format=3):
        cells.write_zarr(path)


def test_rows_added_to_the_atlas_are_refused_by_a_resume(atlas: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(small_tree(atlas)))
    run = str(tmp_path / "run")
    assert here("plan", str(config), "--out", run, "--no-calibrate").returncode == 0
    cells = ad.read_zarr(atlas)
    more = ad.concat([cells, cells[:4]], merge="same", index_unique="-")
    write(more, atlas)
    done = here("resume", run)
    assert done.returncode == 2
    assert "atlas" in one_line(done.stderr)


def test_five_thousand_categories_of_one_cell_are_answered(atlas: Path, tmp_path: Path) -> None:
    cells = ad.read_zarr(atlas)
    many = cells[np.arange(5000) % cells.n_obs].copy()
    many.obs_names = [f"cell{i}" for i in range(5000)]
    many.obs["cell_type"] = [f"kind {i}" for i in range(5000)]
    write(many, atlas)
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(small_tree(atlas)))
    run = tmp_path / "run"
    done = here("plan", str(config), "--out", str(run), "--no-calibrate")
    assert (done.returncode, done.stderr) == (0, "")
    stored = json.loads((run / "plan.json").read_text())
    assert [sum(c["cells"]) for c in stored["categories"]] == [1] * 5000
