"""What no family recognises: the message says what the names inside look like."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from octoscope.errors import InputError
from octoscope.models import family_of, load_model

from tests.models.parity import DATA


def test_a_lightning_file_of_another_model_is_not_scprint(tmp_path: Path) -> None:
    """Red: any `.ckpt` is taken for scPRINT v1, which then misses weights."""
    names = ["model.backbone.layers.0.wq.weight", "model.backbone.layers.1.wq.weight", "head.bias"]
    torch.save(
        {"state_dict": {n: torch.ones(2) for n in names}, "hyper_parameters": {}},
        tmp_path / "last.ckpt",
    )
    for given in (tmp_path, tmp_path / "last.ckpt"):
        with pytest.raises(
            InputError, match=r"its 3 weights begin with model.backbone \(2\), head"
        ):
            family_of(given)
    with pytest.raises(InputError, match=r"not scPRINT's weights: its 3 .*begin with model.backbo"):
        load_model(tmp_path, family="scprint")
    with pytest.raises(InputError, match=r"none of the sections.* begin with model.backbone"):
        load_model(tmp_path, family="scfoundation")


def test_a_truncated_file_and_an_empty_folder_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="it holds no file of weights"):
        family_of(tmp_path / "empty")
    whole = DATA / "scprint/checkpoint/model.ckpt"
    (tmp_path / "cut.ckpt").write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"no names of weights in it \(truncated\?\)"):
        family_of(tmp_path / "cut.ckpt")


def test_heads_can_be_declared(tmp_path: Path) -> None:
    """Red: a fine-tuned file with heads of its own cannot be read at all."""
    path = Path(shutil.copytree(DATA / "scgpt/checkpoint", tmp_path / "c"))
    state = torch.load(path / "best_model.pt", weights_only=True)
    torch.save(state | {"age_head.weight": torch.ones(2)}, path / "best_model.pt")
    with pytest.raises(InputError, match=r"first: age_head.weight; they begin .*ignored_weights"):
        load_model(path)
    assert load_model(path, options={"ignored_weights": ["age_head."]}).family == "scgpt"
    for prefix, problem in (
        ("other.", "no weight of .* begins so"),
        ("", "encoder.embedding.weight is the encoder's"),
        ("transformer_encoder.layers.9.", "is the encoder's"),
    ):
        with pytest.raises(InputError, match=rf"ignored_weights: '{prefix}': .*{problem}"):
            load_model(path, options={"ignored_weights": ["age_head.", prefix]})
