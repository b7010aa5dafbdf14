"""Reading checkpoints that hold more than tensors, without running code from them."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from octoscope.demo.demo import data
from octoscope.errors import InputError
from octoscope.models import load_model
from octoscope.models.weight_files import text_inside
from octoscope.models.weights import load_lightning, load_state, take_strict, tensors_of
from safetensors.torch import load_file, save_file


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
    with pytest.raises(InputError, match=r"it names code, which is not run: \w+\.system"):
        load_lightning(path)
    assert not mark.exists()
    torch.load(path, weights_only=False)  # the mistake this guards against
    assert mark.exists()


def test_code_in_place_of_weights_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = save(tmp_path / "a.ckpt", state_dict={"a": Attack(mark)})
    with pytest.raises(InputError, match="it names code, which is not run"):
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


@pytest.mark.parametrize("load", [load_lightning, load_state])
def test_parts_that_do_not_match_their_checksum_are_refused(
    tmp_path: Path, load: Callable[[Path], Any]
) -> None:
    """Every byte of every tensor: torch itself compares no checksum."""
    path = save(tmp_path / "a.ckpt")
    if load is load_state:
        torch.save({"w": torch.ones(3), "v": torch.zeros(2)}, path)
    load(path)
    sound = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        parts = [p for p in archive.infolist() if "/data/" in p.filename]
    assert parts
    for part in parts:
        raw = bytearray(sound)
        at = raw.index(part.filename.encode()) + len(part.filename)
        at += int.from_bytes(raw[at - len(part.filename) - 2 : at - len(part.filename)], "little")
        raw[at] ^= 1  # a last bit of the first value: a number like any other
        path.write_bytes(bytes(raw))
        assert zipfile.ZipFile(path).testzip() == part.filename
        with pytest.raises(InputError, match=f"{part.filename} does not match its checksum"):
            load(path)


def test_files_without_checksums_are_read(tmp_path: Path) -> None:
    written = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        path = save(tmp_path / "a.ckpt")
    finally:
        torch.serialization.set_crc32_options(written)
    assert load_lightning(path)


def test_what_inflates_or_repeats_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(1 << 28))
    assert path.stat().st_size < 1 << 20
    assert text_inside(path) == []
    with pytest.raises(InputError, match="inflates to more than 20 times its size"):
        load_state(path)
    torch.save({"w": torch.ones(1).expand(1 << 40)}, path)
    with pytest.raises(InputError, match=r"w: shape \(1099511627776,\) of 4 bytes"):
        load_state(path)


State = dict[str, torch.Tensor]


def in_torch_file(file: str, *keys: str) -> Callable[[Path, Callable[[State], str]], str]:
    """Return a function that changes the state dict inside a folder's torch file."""

    def change(folder: Path, spoil: Callable[[State], str]) -> str:
        whole = torch.load(folder / file, map_location="cpu", weights_only=False)
        state = whole
        for key in keys:
            state = state[key]
        name = spoil(state)
        torch.save(whole, folder / file)
        return name

    return change


def in_safetensors(source: str) -> Callable[[Path, Callable[[State], str]], str]:
    """Return a function that writes changed weights of a folder as safetensors."""

    def change(folder: Path, spoil: Callable[[State], str]) -> str:
        if source.endswith(".safetensors"):
            state = load_file(folder / source)
        else:
            state = torch.load(folder / source, map_location="cpu", weights_only=True)
            (folder / source).unlink()
        state = {n: v.clone() for n, v in state.items()}
        name = spoil(state)
        save_file(state, folder / "model.safetensors")
        return name

    return change


FILES = {
    "scgpt": ("best_model.pt", in_torch_file("best_model.pt")),
    "scprint": ("model.ckpt", in_torch_file("model.ckpt", "state_dict")),
    "scfoundation": ("models.ckpt", in_torch_file("models.ckpt", "gene", "state_dict")),
    "aidocell": ("pytorch_model.bin", in_torch_file("pytorch_model.bin")),
    "aidocell safetensors": ("model.safetensors", in_safetensors("pytorch_model.bin")),
    "geneformer": ("model.safetensors", in_safetensors("model.safetensors")),
}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", FILES)
def test_weights_that_are_not_finite_name_file_and_tensor(
    kind: str, value: float, tmp_path: Path
) -> None:
    family = kind.split()[0]
    folder = shutil.copytree(data(f"checkpoints/{family}-demo"), tmp_path / "checkpoint")
    file, change = FILES[kind]

    def spoil(state: State) -> str:
        inside = re.compile(r"(layers?|blocks|transformer_encoder)\.\d+\.")
        name = [n for n in state if state[n].ndim == 2 and inside.search(n)][0]
        state[name][-1, -1] = value
        return name

    name = change(folder, spoil).removeprefix("model.").removeprefix("bert.")
    with pytest.raises(InputError) as caught:
        load_model(folder, family=family)
    assert str(folder / file) in caught.value.where
    assert f"{name} holds NaN or infinity" in caught.value.problem


def test_weights_that_the_type_asked_for_cannot_hold_are_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(data("checkpoints/scgpt-demo"), tmp_path / "checkpoint")

    def spoil(state: State) -> str:
        name = "encoder.enc_norm.weight"
        state[name][0] = 7e4
        return name

    name = in_torch_file("best_model.pt")(folder, spoil)
    load_model(folder, dtype=torch.float32)
    load_model(folder, dtype=torch.bfloat16)
    with pytest.raises(InputError, match=rf"{name}: holds numbers beyond 65504.*bfloat16"):
        load_model(folder, dtype=torch.float16)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_quantised_weights_are_refused_by_name(dtype: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"a": torch.ones(2), "b": torch.ones(2).to(dtype)}, path)
    with pytest.raises(InputError, match=r"a\.pt: b: stored as torch\.float8.*unquantised"):
        load_state(path)


@pytest.mark.parametrize(
    "name",
    ["query.SCB", "query.weight.absmax", "query.weight.quant_state.bitsandbytes__nf4",
     "query.qweight", "query.weight_scale", "query._packed_params.dtype"],
)  # fmt: skip
def test_quantised_files_are_named_whatever_quantised_them(name: str, tmp_path: Path) -> None:
    """Red: "6 unexpected weights", with the advice to declare them as heads."""
    other = torch.int8 if name.endswith("dtype") else torch.ones(2)
    torch.save({"query.weight": torch.ones(2).to(torch.int8), name: other}, tmp_path / "a.pt")
    with pytest.raises(InputError, match=rf"a\.pt: quantised: holds 1 scales.*first: {name}\)"):
        load_state(tmp_path / "a.pt")


def test_integers_in_place_of_weights_are_refused() -> None:
    cpu = torch.device("cpu")
    with pytest.raises(InputError, match=r"file: a: holds torch\.int8"):
        take_strict(
            {"a": torch.ones(2, dtype=torch.int8)},
            {"a": (2,)},
            (),
            where="file",
            dtype=torch.float32,
            device=cpu,
        )


def test_a_head_that_is_not_finite_is_left_unread_and_named() -> None:
    """Red: a fine-tuned file is refused for a head that never enters, or nothing says so."""
    state = {"encoder.weight": torch.ones(2, 2), "decoder.weight": torch.full((2, 2), torch.nan)}
    with pytest.warns(UserWarning, match=r"f: decoder.weight: holds NaN or infinity \(1 weights"):
        taken = take_strict(
            tensors_of(Path("f"), state, finite=False), {"encoder.weight": (2, 2)},
            ("decoder.",), where="f", dtype=torch.float32, device=torch.device("cpu"),
        )  # fmt: skip
    assert list(taken) == ["encoder.weight"]
    with pytest.raises(InputError, match="decoder.weight holds NaN"):  # readers without a list
        tensors_of(Path("f"), state)
