"""Reading checkpoints that hold more than tensors, without running code from them."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import InputError
from engine.models.weights import load_lightning


class Callback:
    """A class that only the training code has."""

    def __init__(self) -> None:
        self.best = 0.5


class Settings(dict[str, Any]):
    """Lightning keeps settings in a dictionary class of its own."""


class Attack:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


def save(path: Path, **more: Any) -> Path:
    whole = {
        "state_dict": OrderedDict(
            a=torch.arange(6.0).reshape(2, 3), b=torch.nn.Parameter(torch.ones(2))
        ),
        "hyper_parameters": Settings(d_model=3, classes={"x": 2}),
        "callbacks": {"stop": Callback()},
        "optimizer_states": [{"state": {0: {"step": torch.ones(1)}}}],
    }  # fmt: skip
    torch.save(whole | more, path)
    return path


def test_foreign_classes_do_not_hinder_the_weights(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    state, settings = load_lightning(path)
    assert (state["a"] == torch.arange(6.0).reshape(2, 3)).all()
    assert not state["b"].requires_grad
    assert settings == {"d_model": 3, "classes": {"x": 2}}


def test_no_code_in_a_file_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = save(tmp_path / "a.ckpt", callbacks=Attack(mark))
    load_lightning(path)
    assert not mark.exists()
    torch.load(path, weights_only=False)  # the mistake this guards against
    assert mark.exists()


def test_code_in_place_of_weights_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = save(tmp_path / "a.ckpt", state_dict={"a": Attack(mark)})
    with pytest.raises(InputError, match="not a name -> tensor dict"):
        load_lightning(path)
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", pickle.dumps({"a": 1})])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as weights"):
        load_lightning(path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ckpt")
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(InputError, match="cannot be read as weights"):
        load_lightning(path)
