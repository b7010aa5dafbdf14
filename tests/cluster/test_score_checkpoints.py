"""Many graph neural networks side by side on a real Ray of this machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from octoscope.cluster.connect import ray_cluster

from tests.gnn.conftest import FIXTURE, MODELS, STORE
from tests.here import here

NAMES = ("mlp", "rotate", "relation_attention")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    file = tmp_path / "pairs.parquet"
    ends = pd.read_parquet(FIXTURE / "expected/scored_edges.parquet")[["src", "dst"]]
    ends.assign(checkpoint="of mine").to_parquet(file)
    return file


def command(pairs: Path, target: Path, *models: Path) -> tuple[str, ...]:
    return ("gnn", "score", *map(str, models), "--graph", str(STORE), "--pairs", str(pairs),
            "--out", str(target), "--no-cache")  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("default::octoscope.errors.OctoscopeWarning")  # of their graph
def test_several_checkpoints_on_ray_are_those_scored_alone(pairs: Path, tmp_path: Path) -> None:
    """Red: tables in the order in which tasks end, or named after another checkpoint."""
    with ray_cluster():  # one for both commands
        done = here(*command(pairs, tmp_path / "all.parquet", *(MODELS / n for n in NAMES)))
        assert done.returncode == 0, done.stderr
        # a width that does not fit the graph is found in the task, and nothing is written
        state = torch.load(MODELS / "mlp/model.ckpt", weights_only=True)
        for key in ("lin_rel.weight", "lin_root.weight"):
            weight = state["state_dict"][f"task.encoder.convs.0.{key}"]
            state["state_dict"][f"task.encoder.convs.0.{key}"] = weight[:, :-1].clone()
        wide = Path(shutil.copytree(MODELS / "mlp", tmp_path / "narrow"))
        torch.save(state, wide / "model.ckpt")
        odd = here(*command(pairs, tmp_path / "odd.parquet", MODELS / "rotate", wide))
    assert odd.returncode == 2
    assert "vertex features" in odd.stderr
    assert len(odd.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "odd.parquet").exists()
    together = pd.read_parquet(tmp_path / "all.parquet")
    assert list(together["checkpoint"].unique()) == list(NAMES)
    assert (together["checkpoint_given"] == "of mine").all()
    for name in NAMES:
        alone = tmp_path / f"{name}.parquet"
        assert here(*command(pairs, alone, MODELS / name)).returncode == 0
        expected = pd.read_parquet(alone).drop(columns="checkpoint")
        mine = together[together["checkpoint"] == name].drop(
            columns=["checkpoint", "checkpoint_given"]
        )
        pd.testing.assert_frame_equal(mine.reset_index(drop=True), expected, check_dtype=False)


def test_what_is_refused_before_ray_starts(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "203.0.113.1:1")  # whatever reached for Ray would say so
    target = tmp_path / "scores.parquet"
    twice = here(*command(pairs, target, MODELS / "mlp", MODELS / "mlp"))
    assert "is given twice" in twice.stderr
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "gnn.json").write_text(json.dumps({"format": "other"}))
    damaged = here(*command(pairs, target, MODELS / "mlp", broken))
    assert f"{broken / 'gnn.json'}: format: is 'other'" in damaged.stderr
    ending = here(*command(pairs, tmp_path / "scores.xlsx", MODELS / "mlp", MODELS / "rotate"))
    assert "its ending is of no table" in ending.stderr
    assert twice.returncode == damaged.returncode == ending.returncode == 2
    assert not target.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused_in_one_line(pairs: Path, tmp_path: Path) -> None:
    refused = here(*command(pairs, tmp_path / "s.parquet", MODELS / "mlp"), "--device", "cuda")
    assert refused.returncode == 2
    assert refused.stderr.startswith("bad input: device: cuda: torch sees no CUDA device here")
    assert len(refused.stderr.strip().splitlines()) == 1
