"""PEFT adapters beside, inside or in place of a checkpoint: never read as the base model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from octoscope.demo.demo import data
from octoscope.errors import InputError
from octoscope.models import load_model
from safetensors.torch import load_file, save_file

FAMILIES = ("scgpt", "scprint", "aidocell", "scfoundation", "geneformer")
QUERY = "base_model.model.bert.encoder.layer.0.attention.self.query."


def copied(tmp_path: Path, family: str) -> Path:
    return Path(shutil.copytree(data("checkpoints") / f"{family}-demo", tmp_path / family))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "name", ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"]
)
def test_an_adapter_beside_the_weights_is_refused(tmp_path: Path, family: str, name: str) -> None:
    """Red: the base weights load, and pass for the fine-tuned model."""
    path = copied(tmp_path, family)
    load_model(path)
    (path / name).write_text("{}")
    with pytest.raises(InputError, match=rf"{family}: holds a PEFT adapter \({name}\).*merge"):
        load_model(path, family=family)


def test_a_folder_with_an_adapter_alone_is_named(tmp_path: Path) -> None:
    """Red: "not recognised by any installed family", which does not say what to do."""
    (tmp_path / "adapter_config.json").write_text("{}")
    save_file({QUERY + "lora_A.weight": torch.ones(4, 8)}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(InputError, match=r"adapter_config.json, adapter_model.safetensors.*merge"):
        load_model(tmp_path)


def test_weights_of_an_adapter_inside_the_file_are_named(tmp_path: Path) -> None:
    """Red: the message speaks of missing weights and of another family."""
    path = copied(tmp_path, "geneformer")
    state = {f"base_model.model.{n}": v for n, v in load_file(path / "model.safetensors").items()}
    name = QUERY + "weight"
    state[name.replace("query.", "query.base_layer.")] = state.pop(name)
    state[QUERY + "lora_A.default.weight"] = torch.ones(4, 64)
    state[QUERY + "lora_B.default.weight"] = torch.ones(64, 4)
    save_file(state, path / "model.safetensors")
    with pytest.raises(InputError, match=r"model.safetensors: holds 3 weights of an adapter.*merg"):
        load_model(path)
