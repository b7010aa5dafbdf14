"""Weights under the names that wrappers give them: the same model, whatever stands before them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from octoscope.errors import InputError
from octoscope.models import family_of, load_model
from octoscope.models.key_prefixes import renamed, unwrapped
from safetensors.torch import load_file, save_file

from tests.models.parity import DATA, states

FILES = {
    "scgpt": "best_model.pt",
    "scprint": "model.ckpt",
    "scprint2": "model.ckpt",
    "aidocell": "pytorch_model.bin",
    "geneformer": "model.safetensors",
    "nicheformer": "model.safetensors",
    "scfoundation": "models.ckpt",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "scprint": {"context": "some"},
    "scprint2": {"context": "some"},
    "aidocell": {"context": "shared"},
    "geneformer": {"dictionaries": str(DATA / "geneformer/dictionaries")},
    "nicheformer": {
        "species": "human",
        "assay": "CosMx",
        "modality": "spatial",
        "technology_mean": "none",
    },
}
State = dict[str, torch.Tensor]


def changed(tmp_path: Path, family: str, change: Callable[[State], State]) -> Path:
    """Return the family's fixture with a changed dictionary of weights."""
    path = Path(shutil.copytree(DATA / family / "checkpoint", tmp_path / family))
    file = path / FILES[family]
    if file.suffix == ".safetensors":
        save_file({n: v.clone() for n, v in change(load_file(file)).items()}, file)
        return path
    whole = torch.load(file, weights_only=True)
    if family == "scfoundation":
        whole["gene"]["state_dict"] = change(whole["gene"]["state_dict"])
    elif "state_dict" in whole:
        whole["state_dict"] = change(whole["state_dict"])
    else:
        whole = change(whole)
    torch.save(whole, file)
    return path


def same(path: Path, family: str) -> None:
    """Compare queries, keys and output with those of the fixture, to the bit."""
    assert family_of(path) == family
    given = OPTIONS.get(family, {})
    ours, theirs = states(path, given), states(DATA / family / "checkpoint", given)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    "prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod.model.", "net.encoder."]
)
@pytest.mark.parametrize("family", [f for f in FILES if f != "scfoundation"])
def test_a_prefix_common_to_all_names_changes_nothing(
    tmp_path: Path, family: str, prefix: str
) -> None:
    """Red: "166 weights are missing"."""
    same(changed(tmp_path, family, lambda s: {prefix + n: v for n, v in s.items()}), family)


@pytest.mark.parametrize("family", FILES)
def test_a_compiled_part_changes_nothing(tmp_path: Path, family: str) -> None:
    """Red: `torch.compile` and FSDP of a part put their name inside the names."""

    def inside(name: str) -> str:
        first, _, rest = name.partition("encoder.")
        return f"{first}encoder._orig_mod.{rest}" if rest else name

    same(changed(tmp_path, family, lambda s: {inside(n): v for n, v in s.items()}), family)


@pytest.mark.parametrize(
    ("family", "prefix", "head"),
    [
        ("aidocell", "backbone.encoder.", "adapter.layers.0.weight"),
        ("aidocell", "backbone.", "classifier.0.weight"),
        ("geneformer", "backbone.encoder.", "adapter.layers.0.weight"),
        ("geneformer", "", "classification_heads.1.weight"),
        ("geneformer", "model.", "attention_pool.attention_weights"),
    ],
)
def test_heads_outside_the_wrapped_encoder_are_left_unread(
    tmp_path: Path, family: str, prefix: str, head: str
) -> None:
    """Red: multi-task and fine-tuned files are refused for their heads."""

    def wrapped(state: State) -> State:
        inner = "bert." if prefix.startswith("backbone.") else ""
        out = {prefix + n.removeprefix(inner): v for n, v in state.items() if "cls." not in n}
        outside = "" if prefix.startswith("backbone.") else prefix
        return out | {outside + head: torch.ones(2, 2)}

    same(changed(tmp_path, family, wrapped), family)


def test_a_file_with_the_model_twice_is_refused(tmp_path: Path) -> None:
    """Red: of a student and its teacher, one is read unasked."""

    def twice(state: State) -> State:
        return {f"{p}.{n}": v for p in ("student", "teacher") for n, v in state.items()}

    path = changed(tmp_path, "scgpt", twice)
    with pytest.raises(InputError, match=r"holds the model 2 times \(student\.value.*teacher\."):
        load_model(path)


def test_two_names_of_one_weight_are_refused(tmp_path: Path) -> None:
    """Red: of `Wqkv` and `in_proj_` in one file, the later replaces the other unsaid."""

    def both(state: State) -> State:
        more = {n.replace("Wqkv.", "in_proj_"): v * 0 for n, v in state.items() if "Wqkv" in n}
        return state | more

    path = changed(tmp_path, "scgpt", both)
    with pytest.raises(InputError, match=r"Wqkv.weight and .*in_proj_weight are the same weight"):
        load_model(path)


def test_names_without_the_anchor_stay() -> None:
    """Red: a prefix is guessed where nothing shows it."""
    assert unwrapped({"a.b": 1, "a.c": 2}, "d", where="f") == {"a.b": 1, "a.c": 2}
    assert unwrapped({"a.b": 1, "c": 2}, "b", where="f") == {"b": 1, "c": 2}
    assert unwrapped({"x.bert.b": 1, "x.c": 2}, "b", where="f", inner=("bert.", "")) == {
        "bert.b": 1,
        "c": 2,
    }
    with pytest.raises(InputError, match="a and b are the same weight"):
        renamed({"a": 1, "b": 2}, lambda n: "c", where="f")
