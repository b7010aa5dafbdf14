"""scPRINT's checkpoint files: layouts that are read alike, and files that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from octoscope.errors import InputError
from octoscope.models import load_model
from octoscope.models.scprint_file import read_file
from octoscope.probe.dump import write_dump

from tests.models.parity import (
    differences,
)
from tests.models.scprint_inputs import CHECKPOINT, DUMP


def changed_file(tmp_path: Path, change: Any) -> Path:
    whole = torch.load(CHECKPOINT / "model.ckpt", weights_only=True)
    change(whole)
    torch.save(whole, tmp_path / "changed.ckpt")
    return tmp_path / "changed.ckpt"


def _as_2x(whole: Any) -> None:
    state, settings = whole["state_dict"], whole["hyper_parameters"]
    table = state.pop("gene_encoder.embedding.weight")
    state["gene_encoder.embeddings.weight"] = table
    settings["label_counts"] = settings["classes"]
    settings["classes"] = list(settings["classes"])


def test_layouts_of_1x_and_2x_are_told_apart_and_agree(tmp_path: Path) -> None:
    assert "1.x" in load_model(CHECKPOINT).variant
    path = changed_file(tmp_path, _as_2x)
    assert "2.x" in load_model(path).variant
    assert all(r.ok for r in differences(path, DUMP, tmp_path))


def test_grouped_heads_equal_their_repeated_weights(tmp_path: Path) -> None:
    def grouped(whole: Any) -> None:
        whole["hyper_parameters"]["num_heads_kv"] = 2
        for name, w in whole["state_dict"].items():
            if "Wqkv" in name:  # keep the first of each pair of key and value heads
                q, k, v = w.split(48)
                heads = [x.reshape(4, 12, *x.shape[1:])[[0, 2]] for x in (k, v)]
                small = [x.reshape(24, *x.shape[2:]) for x in heads]
                whole["state_dict"][name] = torch.cat([q, *small])

    def repeated(whole: Any) -> None:
        for name, w in whole["state_dict"].items():
            if "Wqkv" in name:
                q, k, v = w.split(48)
                heads = [x.reshape(4, 12, *x.shape[1:])[[0, 0, 2, 2]] for x in (k, v)]
                whole["state_dict"][name] = torch.cat([q, *(x.reshape(q.shape) for x in heads)])

    outs = []
    for name, change in (("grouped", grouped), ("repeated", repeated)):
        folder = tmp_path / name
        folder.mkdir()
        out = folder / "out.npz"
        write_dump(changed_file(folder, change), "", out, tokens=DUMP)
        outs.append(np.load(out))
    for array in ("attn_0", "logits_2", "hidden_2", "output"):
        assert np.abs(outs[0][array] - outs[1][array]).max() < 1e-6
    assert np.abs(outs[0]["attn_0"] - np.load(DUMP)["attn_0"]).max() > 0.01


def test_a_missing_position_table_is_recomputed_from_the_codes(tmp_path: Path) -> None:
    path = changed_file(tmp_path, lambda w: w["state_dict"].pop("pos_encoder.pe"))
    stored = read_file(CHECKPOINT / "model.ckpt").state["pos_encoder.pe"]
    assert (read_file(path).state["pos_encoder.pe"] - stored).abs().max() < 1e-4

    def neither(whole: Any) -> None:
        whole["state_dict"].pop("pos_encoder.pe")
        whole["hyper_parameters"]["gene_pos_enc"] = None

    assert "pos_encoder.pe" not in read_file(changed_file(tmp_path, neither)).state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w["state_dict"].pop("transformer.norm.bias"), "missing.*transformer.norm.bias"),
        (lambda w: w["state_dict"].update(extra=torch.ones(1)), "unexpected.*extra"),
        (
            lambda w: w["state_dict"].update({"transformer.norm.bias": torch.ones(7)}),
            r"transformer.norm.bias: shape \(7,\), expected \(48,\)",
        ),
        (lambda w: w["state_dict"]["transformer.norm.bias"].fill_(np.inf), "NaN or infinity"),
        (
            lambda w: w["state_dict"].update({"cell_transformer.x": torch.ones(1)}),
            "cell-specific blocks",
        ),
        (lambda w: w["hyper_parameters"].update(depth_atinput=False), "depth_atinput"),
        (lambda w: w["hyper_parameters"].update(prenorm=False), "prenorm"),
        (lambda w: w["hyper_parameters"].update(nhead=5), "nhead 5"),
        (lambda w: w["hyper_parameters"].update(normalization="both"), "normalization: 'both'"),
        (lambda w: w["hyper_parameters"].pop("genes"), "hyper_parameters: cannot be used"),
        (lambda w: w.pop("hyper_parameters"), "no hyper_parameters"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_model(changed_file(tmp_path, change))


def test_several_checkpoints_in_a_folder_are_not_guessed_among(tmp_path: Path) -> None:
    for name in ("small-v1.ckpt", "large-v1.ckpt"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"large-v1.ckpt, small-v1.ckpt"):
        load_model(tmp_path)


def test_other_layouts_of_the_same_weights_agree(tmp_path: Path) -> None:
    def otherwise(whole: Any) -> None:
        state, settings = whole["state_dict"], whole["hyper_parameters"]
        table = next(n for n in state if n.startswith("gene_encoder"))
        state["gene_encoder.0.embeddings.weight"] = state.pop(table)
        state["pos_encoder.pe"] = state["pos_encoder.pe"][:, 0]
        counts = settings.pop("classes")
        settings["label_counts"] = counts if isinstance(counts, dict) else dict.fromkeys(counts, 2)
        state["bottleneck_mlps.0.weight"] = torch.ones(2)

    assert all(r.ok for r in differences(changed_file(tmp_path, otherwise), DUMP, tmp_path))


def test_fine_tuned_gene_embeddings_are_worked_out_once(tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(0)

    def adapted(whole: Any) -> None:
        state = whole["state_dict"]
        table = next(n for n in state if n.startswith("gene_encoder"))
        state["gene_encoder.0.embedding.weight"] = state.pop(table)
        for name in ("gene_encoder.1", "gene_encoder.3"):
            state[f"{name}.weight"] = torch.randn(48, 48, generator=rng)
            state[f"{name}.bias"] = torch.randn(48, generator=rng)

    path = changed_file(tmp_path, adapted)
    whole = torch.load(path, weights_only=True)["state_dict"]
    layers = torch.nn.Sequential(
        torch.nn.Embedding.from_pretrained(whole["gene_encoder.0.embedding.weight"]),
        torch.nn.Linear(48, 48), torch.nn.ReLU(), torch.nn.Linear(48, 48),
    )  # fmt: skip
    with torch.no_grad():
        for i in (1, 3):
            layers[i].weight[:] = whole[f"gene_encoder.{i}.weight"]
            layers[i].bias[:] = whole[f"gene_encoder.{i}.bias"]
        want = layers(torch.arange(len(layers[0].weight)))
    got = load_model(path)._w["gene_encoder.weight"]  # type: ignore[attr-defined]
    assert torch.allclose(got, want, atol=1e-5)
    changed = differences(path, DUMP, tmp_path)
    assert not all(r.ok for r in changed)
    state = torch.load(path, weights_only=True)
    del state["state_dict"]["gene_encoder.3.bias"]
    torch.save(state, path)
    with pytest.raises(InputError, match=r"missing.*gene_encoder.3.bias"):
        load_model(path)


@pytest.mark.parametrize("setting", ["nhead", "nlayers"])
def test_zero_heads_or_layers_are_named(tmp_path: Path, setting: str) -> None:
    path = changed_file(tmp_path, lambda w: w["hyper_parameters"].update({setting: 0}))
    with pytest.raises(InputError, match=r"hyper_parameters: d_model 48"):
        load_model(path)


@pytest.mark.parametrize("name", ["attention", "attn_type", "transformer"])
@pytest.mark.parametrize(
    "value", ["softpick", "flash-softpick", "criss-cross", "crisscross", "hyper", "linear", True]
)
def test_attention_that_is_not_softmax_is_refused(tmp_path: Path, name: str, value: Any) -> None:
    """Red: the setting is not read, and softmax passes for softpick."""
    path = changed_file(tmp_path, lambda w: w["hyper_parameters"].update({name: value}))
    with pytest.raises(InputError, match=rf"changed.ckpt: hyper_parameters.{name}: {value!r}; "):
        load_model(path)


@pytest.mark.parametrize("value", [None, "flash", "normal"])
def test_names_of_softmax_attention_load(tmp_path: Path, value: str | None) -> None:
    """Red: published files (`transformer: flash`, or trained without it) are refused."""
    names = ("attention", "attn_type", "transformer")
    path = changed_file(
        tmp_path, lambda w: w["hyper_parameters"].update(dict.fromkeys(names, value))
    )
    assert load_model(path).n_layers == 3
