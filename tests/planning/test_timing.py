"""GPUs that are asked for where there are none: a run fails at once, a plan says what it is for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import yaml
from octoscope.cli import plan_text
from octoscope.config import parse_config
from octoscope.errors import InputError
from octoscope.planning.timing import require_gpu

from tests.conftest import octoscope, small_tree

needs_none = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


@needs_none
def test_a_run_here_that_asks_for_gpus_fails_before_it_plans(
    small_atlas: Path, tmp_path: Path
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump(small_tree(small_atlas)))
    run = tmp_path / "run"
    done = octoscope("run", str(file), "--out", str(run), "--set", "execution.device=cuda")
    assert done.returncode == 2, done.stderr
    text = " ".join(done.stderr.split())
    assert "execution.device: cuda, but no GPU is visible on this machine" in text
    assert "say auto or cpu" in text
    assert not (run / "plan.json").exists()


@needs_none
def test_the_python_of_a_model_with_an_environment_of_its_own_is_asked(
    small_atlas: Path, tmp_path: Path
) -> None:
    """Red: a run that waits for an actor with a GPU until its time is over."""
    tree = small_tree(small_atlas)
    tree["execution"]["device"] = "cuda"
    with pytest.raises(InputError, match="built without CUDA|torch for CUDA"):
        require_gpu(parse_config(tree, "c"))
    tree["models"][0]["python"] = sys.executable
    with pytest.raises(InputError, match=r"execution\.device: cuda, but no GPU is visible"):
        require_gpu(parse_config(tree, "c"))
    sees_one = tmp_path / "python"  # answers like a Python whose torch sees a GPU
    sees_one.write_text("#!/bin/sh\necho True\n")
    sees_one.chmod(0o755)
    tree["models"][0]["python"] = str(sees_one)
    require_gpu(parse_config(tree, "c"))
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['torch'] = None")
    no_torch = tmp_path / "no_torch"
    no_torch.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    no_torch.chmod(0o755)
    tree["models"][0]["python"] = str(no_torch)
    with pytest.raises(InputError, match=r"cannot say whether there is a GPU \(Module.*torch"):
        require_gpu(parse_config(tree, "c"))


def test_nothing_timed_is_not_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("seconds_per_cell", "seconds_per_unit", "seconds_per_matrix", "unit_hours",
             "matrix_hours")  # fmt: skip
    plan_text.show_estimate([{"model": "tiny", **dict.fromkeys(names)}], "cuda")
    text = " ".join(capsys.readouterr().out.split())
    assert "this machine has no GPU, and execution.device is cuda" in text
    assert "minutes" not in text
    both = [
        {"model": "tiny", **dict.fromkeys(names)},
        {"model": "other", **dict.fromkeys(names, 1.0)},
    ]
    plan_text.show_estimate(both, "auto")
    text = " ".join(capsys.readouterr().out.split())
    assert "about 120.0 minutes" in text
    assert "not timed: models that were imported, or run in another environment" in text
