"""Reading checkpoints without executing code, and checking every key and shape."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from octoscope.bounded_reads import read_bounded
from octoscope.digests import file_digest
from octoscope.errors import InputError
from octoscope.json_values import parse_json
from octoscope.safe_pickle import load_inert
from octoscope.zip_parts import archive_fault, part_of


def read_json(path: Path, field: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    InputError
        If the file is absent, not JSON, or not an object.
    """
    try:
        value = parse_json(read_bounded(path))
    except FileNotFoundError:
        raise InputError(str(path), "does not exist", f"complete the folder in {field}") from None
    except OSError as error:
        problem = error.strerror or "cannot be read"
        raise InputError(str(path), problem, "give the published file") from None
    except ValueError as error:
        raise InputError(str(path), f"not JSON ({error})", "download it again") from None
    if not isinstance(value, dict):
        raise InputError(str(path), "not a JSON object", "download it again")
    return value


_BROKEN = (
    RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError, ValueError, KeyError, OSError,
    AttributeError, TypeError, IndexError, OverflowError, AssertionError,
)  # fmt: skip


def _unreadable(path: Path, error: Exception) -> InputError:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(
        str(path),
        f"cannot be read as weights (truncated, or holds more than tensors): {first[:160]}",
        "download it again from its authors",
    )


def checkpoint_in(path: Path, suffix: str) -> Path | None:
    """Return the one file with a suffix: ``path`` itself, or the only such file in the folder.

    Raises
    ------
    InputError
        If the folder holds several.
    """
    if path.is_file():
        return path if path.suffix == suffix else None
    found = sorted(path.glob(f"*{suffix}"))
    if len(found) > 1:
        names = ", ".join(f.name for f in found)
        raise InputError(str(path), f"holds several checkpoints: {names}", "give one of the files")
    return found[0] if found else None


def names_inside(path: Path) -> bytes:
    """Return the pickled skeleton of a torch file, to tell families apart; nothing is unpickled.

    Of a file in torch's older format, the first megabyte.
    """
    try:
        try:
            return part_of(path, "/data.pkl", _SKELETON)
        except zipfile.BadZipFile:
            with path.open("rb") as handle:
                return handle.read(1 << 20)
    except OSError:
        return b""


# how PEFT names the parts of an adapter that is not merged
_ADAPTERS = (".lora_A.", ".lora_B.", ".lora_embedding_", ".base_layer.", ".modules_to_save.")
_MERGE = (
    "merge the adapter first (PEFT: model.merge_and_unload(), then save_pretrained) and give the "
    "merged folder"
)


def refuse_adapter(folder: Path) -> None:
    """Refuse a folder in which a PEFT adapter stands beside the weights it would change.

    Raises
    ------
    InputError
        Naming the adapter's files.
    """
    found = sorted([*folder.glob("adapter_config.json"), *folder.glob("adapter_model*")])
    if found:
        names = ", ".join(f.name for f in found)
        raise InputError(
            str(folder),
            f"holds a PEFT adapter ({names}), which the weights beside it do not contain",
            f"{_MERGE}; for the base model alone, give a folder without the adapter's files",
        )


_SKELETON = 1 << 26  # bytes of a pickle without its tensors, at most


def _require_sound(path: Path) -> None:
    """Refuse a file that is absent, or a torch archive whose parts do not match their checksums."""
    refuse_adapter(path.parent)
    if not path.exists():
        raise InputError(str(path), "does not exist", "check models.*.path")
    fault = archive_fault(path)
    if fault is not None:
        raise InputError(str(path), f"damaged: {fault}", "download it again from its authors")


def load_state(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict from safetensors, or from a torch file with ``weights_only=True``.

    Raises
    ------
    InputError
        If the file is absent or damaged, holds objects other than tensors or non-finite weights,
        or a PEFT adapter is beside or inside it.
    """
    _require_sound(path)
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except _BROKEN as error:
        raise _unreadable(path, error) from None
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    return tensors_of(path, state)


def load_whole(path: Path) -> Any:
    """Read a torch file that holds more than weights; no code in it is run.

    Objects of classes that are not needed to rebuild tensors are read as inert placeholders.

    Raises
    ------
    InputError
        If the file is absent, damaged or not a torch file, or a PEFT adapter is beside it.
    """
    _require_sound(path)
    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            return load_inert(path)
    except _BROKEN as error:
        raise _unreadable(path, error) from None


def load_lightning(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read (weights, hyper-parameters) of a Lightning checkpoint; no code in it is run.

    Raises
    ------
    InputError
        If the file is absent, truncated, not such a checkpoint, or holds non-finite weights.
    """
    whole = load_whole(path)
    settings = whole.get("hyper_parameters") if isinstance(whole, Mapping) else None
    if not isinstance(settings, Mapping) or "state_dict" not in whole:
        raise InputError(
            str(path), "no state_dict or no hyper_parameters", "give the Lightning checkpoint"
        )
    return tensors_of(path, whole["state_dict"]), dict(settings)


def tensors_of(path: Path, state: Any) -> dict[str, torch.Tensor]:
    """Return a state dict's tensors by name, without a ``module.`` prefix.

    Raises
    ------
    InputError
        If it holds anything but tensors, NaN or infinity, or an adapter that is not merged.
    """
    if not isinstance(state, Mapping) or not all(
        isinstance(v, torch.Tensor) for v in state.values()
    ):
        raise InputError(str(path), "not a name -> tensor dict", "give the published weights file")
    adapters = [str(n) for n in state if any(part in str(n) for part in _ADAPTERS)]
    if adapters:
        problem = f"holds {len(adapters)} weights of an adapter (first: {adapters[0]})"
        raise InputError(str(path), problem, _MERGE)
    for name, tensor in state.items():
        if tensor.layout is not torch.strided:
            raise InputError(f"{path}: {name}", f"stored as {tensor.layout}", "store it dense")
        if not tensor.is_meta and tensor.nbytes > tensor.untyped_storage().nbytes():
            problem = f"shape {tuple(tensor.shape)} of {tensor.untyped_storage().nbytes()} bytes"
            raise InputError(f"{path}: {name}", problem, "store each value once")
        if tensor.is_floating_point() and (tensor.itemsize < 2 or tensor.is_meta):
            what = "without values" if tensor.is_meta else f"as {tensor.dtype}"
            fix = "give the published, unquantised file"
            raise InputError(f"{path}: {name}", f"stored {what}", fix)
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise InputError(str(path), f"{name} holds NaN or infinity", "download it again")
    return {str(k).removeprefix("module."): v.detach() for k, v in state.items()}


def take_strict(
    state: Mapping[str, torch.Tensor],
    expected: Mapping[str, tuple[int, ...]],
    ignored_prefixes: Iterable[str],
    *,
    where: str,
    dtype: torch.dtype,
    device: torch.device,
) -> dict[str, torch.Tensor]:
    """Take exactly the expected tensors; everything else must belong to a named head.

    Raises
    ------
    InputError
        Naming the first missing, unexpected or wrongly shaped tensor with both shapes, or one
        with numbers that ``dtype`` cannot hold.
    """
    missing = [name for name in expected if name not in state]
    if missing:
        raise InputError(
            where,
            f"{len(missing)} weights are missing (first: {missing[0]})",
            "check that the file belongs to this family and variant",
        )
    prefixes = tuple(ignored_prefixes)
    extra = [n for n in state if n not in expected and not n.startswith(prefixes)]
    if extra:
        raise InputError(
            where,
            f"{len(extra)} unexpected weights (first: {extra[0]})",
            "check that the file belongs to this family and variant",
        )
    for name, shape in expected.items():
        if tuple(state[name].shape) != tuple(shape):
            raise InputError(
                f"{where}: {name}",
                f"shape {tuple(state[name].shape)}, expected {tuple(shape)}",
                "check that weights, settings and vocabulary belong together",
            )
        if not state[name].is_floating_point():
            problem = f"holds {state[name].dtype}, expected floating-point numbers"
            raise InputError(f"{where}: {name}", problem, "give the published, unquantised file")
    return {n: narrowed(f"{where}: {n}", state[n], dtype).to(device) for n in expected}


def narrowed(where: str, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return a finite tensor in another type.

    Raises
    ------
    InputError
        If a number is too large for it.
    """
    found = tensor.to(dtype)
    if found.dtype != tensor.dtype and not torch.isfinite(found).all():
        largest = f"{torch.finfo(dtype).max:g}"
        problem = f"holds numbers beyond {largest}, the largest of {dtype}"
        raise InputError(where, problem, "set dtype: float32 (or bfloat16)")
    return found


def file_digests(files: Iterable[Path]) -> dict[str, str]:
    """Return name -> SHA-256 of each file of a checkpoint."""
    digests = {}
    for file in files:
        digests[file.name] = file_digest(file)["sha256"]
    return digests
