"""Settings of checkpoints that are no whole numbers are named, not only their file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from octoscope.demo.demo import data

from tests.here import here


@pytest.mark.parametrize(
    ("family", "file", "name"),
    [
        ("scgpt", "args.json", "nlayers"),
        ("aidocell", "config.json", "num_hidden_layers"),
        ("geneformer", "config.json", "num_hidden_layers"),
    ],
)
@pytest.mark.parametrize("value", [float("inf"), float("nan")], ids=str)
def test_a_number_that_is_not_finite_is_named(
    tmp_path: Path, family: str, file: str, name: str, value: float
) -> None:
    """Red: ``int`` raises OverflowError, and the message names no field."""
    shutil.copytree(data(f"checkpoints/{family}-demo"), tmp_path / "model")
    path = tmp_path / "model" / file
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    done = here("models", "inspect", str(tmp_path / "model"))
    assert done.returncode == 2
    assert f"{path}: {name}: {value} is no whole number" in done.stderr
