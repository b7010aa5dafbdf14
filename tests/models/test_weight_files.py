"""Which file of a folder is read: other names, shards with an index, files that training leaves."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from octoscope.errors import InputError
from octoscope.models import family_of, load_model
from octoscope.models.weight_files import shards_of, text_inside, weight_names, weights_in
from octoscope.models.weights import load_state
from safetensors.torch import load_file, save_file

from tests.models.parity import DATA, states

GENEFORMER = {"dictionaries": str(DATA / "geneformer/dictionaries")}


def copied(tmp_path: Path, family: str) -> Path:
    return Path(shutil.copytree(DATA / family / "checkpoint", tmp_path / family))


def sharded(path: Path, kind: str) -> Path:
    """Replace the folder's weights by two shards and their index."""
    state = load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    stem, suffix = ("model", "safetensors") if kind == "safetensors" else ("pytorch_model", "bin")
    names, where = sorted(state), {}
    for i, part in enumerate((names[: len(names) // 2], names[len(names) // 2 :]), start=1):
        file = f"{stem}-{i:05d}-of-00002.{suffix}"
        weights_of = {n: state[n].clone() for n in part}
        save_file(weights_of, path / file) if kind == "safetensors" else torch.save(
            weights_of, path / file
        )
        where |= dict.fromkeys(part, file)
    index = path / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    return index


@pytest.mark.parametrize("family", ["scprint", "scprint2", "scfoundation"])
def test_checkpoints_with_settings_may_have_another_name(tmp_path: Path, family: str) -> None:
    """Red: "not recognised by any installed family" for a `.ckpt` renamed to `.pt`."""
    (checkpoint,) = (DATA / family / "checkpoint").glob("*.ckpt")
    shutil.copy(checkpoint, tmp_path / "best.pt")
    (tmp_path / "optimizer.pt").write_bytes(b"of training")
    assert family_of(tmp_path) == family_of(tmp_path / "best.pt") == family
    (tmp_path / "last.pt").write_bytes(b"another")
    with pytest.raises(InputError, match="holds no .ckpt, nor one .pt"):
        load_model(tmp_path, family=family)


@pytest.mark.parametrize("kind", ["safetensors", "torch"])
def test_shards_are_read_through_their_index(tmp_path: Path, kind: str) -> None:
    """Red: "model.safetensors does not exist" for a checkpoint that the Hub shards."""
    path = copied(tmp_path, "geneformer")
    sharded(path, kind)
    assert family_of(path) == "geneformer"
    pairs = zip(
        states(path, GENEFORMER), states(DATA / "geneformer/checkpoint", GENEFORMER), strict=True
    )
    assert all(torch.equal(a, b) for a, b in pairs)


def test_shards_and_index_that_do_not_belong_are_refused(tmp_path: Path) -> None:
    """Red: half a model passes, or the message speaks of another family."""
    path = copied(tmp_path, "geneformer")
    index = sharded(path, "safetensors")
    (path / "model-00002-of-00002.safetensors").rename(path / "other")
    with pytest.raises(InputError, match=r"index.json: 1 of 2 parts are absent \(first: model-000"):
        load_model(path, options=GENEFORMER)
    (path / "other").rename(path / "model-00002-of-00002.safetensors")
    table = json.loads(index.read_text())
    name = next(iter(table["weight_map"]))
    for change, message in (
        (lambda t: t["weight_map"].pop(name), f"1 weights differ from .*{name}"),
        (lambda t: t["weight_map"].update({"x": "../model.bin"}), r"names '\.\./model\.bin'"),
        (lambda t: t.pop("weight_map"), "not an index of parts"),
    ):
        spoilt = json.loads(json.dumps(table))
        change(spoilt)
        index.write_text(json.dumps(spoilt))
        with pytest.raises(InputError, match=message):
            load_model(path, family="geneformer", options=GENEFORMER)
    index.unlink()
    with pytest.raises(InputError, match=r"parts of a checkpoint .*add model\.safetensors\.index"):
        load_model(path, options=GENEFORMER)


@pytest.mark.parametrize("name", ["model.pt", "model_e6.pt", "weights.ckpt", "finetuned.pth"])
def test_scgpts_weights_may_have_another_name(tmp_path: Path, name: str) -> None:
    """Red: the authors' own tutorial writes `model.pt`, and the folder is not recognised."""
    path = copied(tmp_path, "scgpt")
    (path / "best_model.pt").rename(path / name)
    torch.save({"step": torch.ones(1)}, path / "optimizer.pt")  # what training leaves beside it
    theirs = states(DATA / "scgpt/checkpoint", {})
    for given in (path, path / name):
        assert family_of(given) == "scgpt"
        ours = states(given, {})
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_several_weights_are_refused_and_one_can_be_named(tmp_path: Path) -> None:
    """Red: one of several is read unasked."""
    path = copied(tmp_path, "scgpt")
    (path / "best_model.pt").rename(path / "model_e1.pt")
    shutil.copy(path / "model_e1.pt", path / "model_e2.pt")
    with pytest.raises(InputError, match=r"several checkpoints: model_e1.pt, model_e2.pt.*give on"):
        load_model(path)
    assert {f.name for f in load_model(path / "model_e2.pt").files} == {"args.json", "vocab.json"}


def test_safetensors_of_scgpt_are_read(tmp_path: Path) -> None:
    path = copied(tmp_path, "scgpt")
    state = torch.load(path / "best_model.pt", weights_only=True)
    (path / "best_model.pt").unlink()
    save_file({n: v.clone() for n, v in state.items()}, path / "model.safetensors")
    pairs = zip(states(path, {}), states(DATA / "scgpt/checkpoint", {}), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def _wrapped(state: Any) -> dict[str, Any]:
    return {"model_state_dict": state, "optimizer_state_dict": {"state": {}}, "epoch": 3}


@pytest.mark.parametrize(
    "wrap",
    [
        _wrapped,
        lambda s: {"model": s, "args": argparse.Namespace(lr=1e-4)},
        lambda s: {"state_dict": s, "hyper_parameters": {"lr": 1e-4}},
    ],
    ids=["trainer", "namespace", "lightning"],
)
def test_weights_beside_what_a_trainer_saves_are_found(
    tmp_path: Path, wrap: Callable[[Any], dict[str, Any]]
) -> None:
    """Red: "not a name -> tensor dict", or torch's advice to run what the file names."""
    path = copied(tmp_path, "scgpt")
    torch.save(wrap(torch.load(path / "best_model.pt", weights_only=True)), path / "best_model.pt")
    pairs = zip(states(path, {}), states(DATA / "scgpt/checkpoint", {}), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def _program(file: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(file)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("save", "message"),
    [
        (
            lambda f: torch.save(torch.nn.Linear(2, 2), f),
            "torch.nn.modules.linear.Linear.*save the",
        ),
        (_program, "a TorchScript program.*save the weights alone"),
        (lambda f: torch.save({"a": {"x": torch.ones(1)}, "b": {"x": torch.ones(1)}}, f), "(a, b)"),
        (lambda f: torch.save({"a": 1, "epoch": 2}, f), "a, epoch: no tensor"),
        (lambda f: torch.save(argparse.Namespace(a=1), f), "argparse.Namespace"),
        (
            lambda f: torch.save(argparse.Namespace(a=1), f, _use_new_zipfile_serialization=False),
            "save it again with torch >= 1.6",
        ),
    ],
    ids=["model", "program", "twice", "no weights", "object", "old format"],
)
def test_what_is_no_dictionary_of_weights_is_named(
    tmp_path: Path, save: Callable[[Path], None], message: str
) -> None:
    """Red: torch's advice, "re-run with weights_only=False", reaches the user."""
    save(tmp_path / "a.pt")
    with pytest.raises(InputError, match=message) as caught:
        load_state(tmp_path / "a.pt")
    assert "weights_only" not in str(caught.value)


def test_names_are_seen_without_reading_the_file(tmp_path: Path) -> None:
    state = {"a.weight": torch.ones(2), "b.bias": torch.ones(2)}
    torch.save(state, tmp_path / "new.pt")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "a.safetensors")
    for file in tmp_path.iterdir():
        assert weight_names(file) == ["a.weight", "b.bias"], file
    (tmp_path / "x.pt").write_bytes(b"PK\x03\x04 nothing")
    assert text_inside(tmp_path / "x.pt") == []
    assert weights_in(tmp_path / "x.pt", ()) == tmp_path / "x.pt"
    with pytest.raises(InputError, match="not an index"):
        shards_of(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("family", "absent"),
    [("geneformer", "config.json"), ("aidocell", "config.json"), ("scgpt", "args.json")],
)
def test_weights_without_their_settings_are_recognised(
    tmp_path: Path, family: str, absent: str
) -> None:
    """Red: "not recognised by any installed family", which does not name the absent file."""
    path = copied(tmp_path, family)
    (path / absent).unlink()
    assert family_of(path) == family
    with pytest.raises(InputError, match=rf"{absent}: does not exist"):
        load_model(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("<!DOCTYPE html><html></html>", "a web page, not the file.*direct link"),
    ],
)
def test_what_stands_for_a_file_that_was_not_fetched(
    tmp_path: Path, content: str, message: str
) -> None:
    """Red: a clone without Git LFS is "truncated, or holds more than tensors"."""
    for name in ("a.pt", "a.safetensors"):
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=message):
            load_state(tmp_path / name)
        with pytest.raises(InputError, match=message):
            family_of(tmp_path / name)
    path = copied(tmp_path, "geneformer")
    given = Path(shutil.copytree(GENEFORMER["dictionaries"], tmp_path / "dictionaries"))
    next(given.glob("token_dictionary*")).write_text(content)
    with pytest.raises(InputError, match=message):
        load_model(path, options={"dictionaries": str(given)})


@pytest.mark.parametrize(
    ("part", "advice"),
    [
        ("global_step10/mp_rank_00_model_states.pt", "zero_to_fp32.py"),
        ("pytorch_model_fsdp_0/__0_0.distcp", "dcp_to_torch"),
        (None, "the folder holds config.json"),
    ],
)
def test_parts_of_a_distributed_training_are_named(
    tmp_path: Path, part: str | None, advice: str
) -> None:
    """Red: "pytorch_model.bin: does not exist" alone, for a folder that holds parts of weights."""
    (tmp_path / "config.json").write_text("{}")
    if part is not None:
        (tmp_path / part).parent.mkdir()
        (tmp_path / part).write_bytes(b"x")
    with pytest.raises(InputError, match=rf"does not exist; .*{part or ''}.*") as raised:
        load_state(tmp_path / "pytorch_model.bin")
    assert advice in str(raised.value)
