"""Reading checkpoints without executing code, and checking every key and shape."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from octoscope.bounded_reads import read_bounded
from octoscope.digests import file_digest
from octoscope.errors import InputError, warn
from octoscope.json_values import parse_json
from octoscope.models.key_prefixes import renamed
from octoscope.models.weight_files import beginnings, look, require_file, shards_of, text_inside
from octoscope.safe_pickle import Inert, load_inert
from octoscope.zip_parts import archive_fault


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
_NOT_FINITE = "holds NaN or infinity"
_AGAIN = "download it again; where training of your own diverged, take an earlier checkpoint"
MOST_LAYERS = 1000  # of an encoder: settings that state more are damaged
_STATE_DICT = (
    "load it with its authors' code, save the weights alone (torch.save(model.state_dict(), ...)) "
    "and give that file"
)
_WRAPPERS = re.compile(r"\b(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_IGNORED = "models.*.options.ignored_weights"


def _unreadable(path: Path, error: Exception) -> InputError:
    text = str(error)
    if "TorchScript" in text:
        problem = "cannot be read as weights: a TorchScript program"
        return InputError(str(path), problem, _STATE_DICT)
    first = text.splitlines()[0] if text else type(error).__name__
    # torch's advice is to run what the file names; Inert stands for it where it is not run
    if "weights_only" in first or "'Inert' object" in first:
        first = "it names code, which is not run"
    if first.startswith("it names code"):
        return InputError(str(path), f"cannot be read as weights: {first[:160]}", _STATE_DICT)
    return InputError(
        str(path),
        f"cannot be read as weights (truncated, or holds more than tensors): {first[:160]}",
        "download it again from its authors",
    )


# how PEFT names the parts of an adapter that is not merged
_ADAPTERS = (".lora_", ".base_layer.", ".modules_to_save.")
# what bitsandbytes, GPTQ, AWQ, compressed-tensors and torch store beside quantised weights
_QUANTISED = re.compile(
    r"\.(SCB|weight_format|(nested_)?absmax|(nested_)?quant_map|qweight|qzeros|g_idx|weight_scale|"
    r"weight_scale_inv|weight_packed)$|\.quant_state\.|\._packed_params"
)
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
    files = sorted([*folder.glob("adapter_config.json"), *folder.glob("adapter_model*")])
    if files:
        names = ", ".join(f.name for f in files)
        raise InputError(
            str(folder),
            f"holds a PEFT adapter ({names}), which the weights beside it do not contain",
            f"{_MERGE}; for the base model alone, give a folder without the adapter's files",
        )


def _require_sound(path: Path) -> None:
    """Refuse a file that is absent, or a torch archive whose parts do not match their checksums."""
    refuse_adapter(path.parent)
    require_file(path)
    fault = archive_fault(path)
    if fault is not None:
        raise InputError(str(path), f"damaged: {fault}", "download it again from its authors")


def load_state(path: Path, *, finite: bool = True) -> dict[str, torch.Tensor]:
    """Read the weights of a safetensors or torch file, or of the shards of an index.

    A torch file may hold them beside other things: under ``state_dict``, or as the only dictionary
    of tensors in it (``model_state_dict``, ``model``). No code in it is run.

    Parameters
    ----------
    finite
        Refuse NaN and infinity in any weight; else :func:`take_strict` does in those that it takes.

    Raises
    ------
    InputError
        If the file is absent or damaged, holds no such weights or several, or non-finite ones, or
        a PEFT adapter is beside or inside it.
    """
    _require_sound(path)
    if path.name.endswith(".index.json"):
        return tensors_of(path, _from_shards(path), finite=finite)
    return tensors_of(path, _state_in(path), finite=finite)


def _state_in(path: Path) -> Any:
    """Return what a safetensors or torch file holds as weights, not checked."""
    if path.suffix != ".safetensors":
        return _weights_among(path, load_whole(path))
    _require_sound(path)
    try:
        return load_file(path)
    except _BROKEN as error:
        raise _unreadable(path, error) from None


def _from_shards(index: Path) -> dict[str, Any]:
    """Return the weights of all shards.

    Raises
    ------
    InputError
        If a shard holds other weights than the index says.
    """
    state: dict[str, Any] = {}
    for file, names in shards_of(index).items():
        part = _state_in(file)
        differing = sorted(set(part) ^ set(names))
        if differing:
            problem = f"{len(differing)} weights differ from {index.name} (first: {differing[0]})"
            raise InputError(str(file), problem, "download index and parts again")
        state |= part
    return state


def _weights_among(path: Path, whole: Any) -> Any:
    """Return the dictionary of weights inside what a torch file holds.

    Raises
    ------
    InputError
        If it holds a pickled object, or several such dictionaries and none is ``state_dict``.
    """
    if isinstance(whole, Inert) or not isinstance(whole, Mapping):
        named = next((n for n in text_inside(path) if " " in n), type(whole).__name__)
        what = f"holds a pickled object ({named.replace(' ', '.')}), whose code is not run"
        raise InputError(str(path), what, _STATE_DICT)
    if isinstance(whole.get("state_dict"), Mapping):
        return whole["state_dict"]
    parts = [str(k) for k, v in whole.items() if isinstance(v, Mapping) and _is_state(v)]
    if len(parts) > 1:
        problem = f"holds weights several times ({', '.join(parts)})"
        raise InputError(str(path), problem, "save those to be read in a file of their own")
    return whole[parts[0]] if parts else whole


def _is_state(value: Mapping[Any, Any]) -> bool:
    return bool(value) and all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in value.items()
    )


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, to its developers
            try:
                return torch.load(path, map_location="cpu", weights_only=True)
            except pickle.UnpicklingError:
                return load_inert(path)  # what it names is replaced, not run
    except _BROKEN as error:
        raise _unreadable(path, error) from None


def load_lightning(
    path: Path, *, finite: bool = True
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read (weights, hyper-parameters) of a Lightning checkpoint; no code in it is run.

    ``finite`` as in :func:`load_state`.

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
    return tensors_of(path, whole["state_dict"], finite=finite), dict(settings)


def tensors_of(path: Path, state: Any, *, finite: bool = True) -> dict[str, torch.Tensor]:
    """Return a state dict's tensors by name, without what wrappers of torch add to the names.

    ``finite`` as in :func:`load_state`.

    Raises
    ------
    InputError
        If it holds anything but tensors, NaN or infinity, quantised weights, or an adapter that is
        not merged.
    """
    items = state.items() if isinstance(state, Mapping) else ()
    quantised = [str(k) for k, _ in items if _QUANTISED.search(str(k))]
    if quantised:
        problem = f"quantised: holds {len(quantised)} scales or codes (first: {quantised[0]})"
        raise InputError(str(path), problem, "give the published, unquantised file")
    others = [str(k) for k, v in items if not isinstance(v, torch.Tensor)]
    if others or not items:
        seen = f" ({', '.join(others[:8])}: no tensor)" if others else ""
        fix = "give the published weights file"
        raise InputError(str(path), f"not a name -> tensor dict{seen}", fix)
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
        if finite and not _is_finite(tensor):
            raise InputError(str(path), f"{name} {_NOT_FINITE}", _AGAIN)
    unwrapped = renamed(state, _without_wrappers, where=str(path))
    return {name: tensor.detach() for name, tensor in unwrapped.items()}


def _is_finite(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _without_wrappers(name: str) -> str:
    """Take off what data-parallel training, ``torch.compile`` and FSDP add."""
    return _WRAPPERS.sub("", str(name).removeprefix("module."))


def take_strict(
    state: Mapping[str, torch.Tensor],
    expected: Mapping[str, tuple[int, ...]],
    ignored_prefixes: Iterable[str],
    *,
    where: str,
    dtype: torch.dtype,
    device: torch.device,
    declared: Iterable[str] | None = None,
) -> dict[str, torch.Tensor]:
    """Take exactly the expected tensors; everything else must belong to a named head.

    Parameters
    ----------
    declared
        Further prefixes that the user declares as heads (option ``ignored_weights``); None: the
        family has no such option.

    Raises
    ------
    InputError
        Naming the first missing, unexpected or wrongly shaped tensor with both shapes, or one
        with numbers that ``dtype`` cannot hold; a declared prefix that fits no weight, or the
        encoder's.
    """
    missing = [name for name in expected if name not in state]
    if missing:
        raise InputError(
            where,
            f"{len(missing)} weights are missing (first: {missing[0]}); {look(state)}",
            "check that the file belongs to this family and variant",
        )
    prefixes = (*ignored_prefixes, *_checked(declared or (), expected, state, where))
    extra = [n for n in state if n not in expected and not n.startswith(prefixes)]
    if extra:
        fix = "check that the file belongs to this family and variant"
        if declared is not None:
            fix += (
                "; if what they compute never enters the encoder (heads on its output), name how "
                f"they begin in {_IGNORED}"
            )
        shown = f"first: {extra[0]}; they begin with {beginnings(extra)}"
        raise InputError(where, f"{len(extra)} unexpected weights ({shown})", fix)
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
        if not _is_finite(state[name]):
            raise InputError(where, f"{name} {_NOT_FINITE}", _AGAIN)
    unread = [n for n in state if n not in expected and not _is_finite(state[n])]
    if unread:
        warn(
            f"{where}: {unread[0]}: {_NOT_FINITE} ({len(unread)} weights); it is outside the "
            "encoder and left unread"
        )
    return {n: narrowed(f"{where}: {n}", state[n], dtype).to(device) for n in expected}


def _checked(
    declared: Iterable[str], expected: Iterable[str], state: Iterable[str], where: str
) -> list[str]:
    """Return declared prefixes; each must fit a weight of the file and none of the encoder."""
    given, names, encoder = list(declared), list(state), list(expected)
    for prefix in given:
        part = prefix.partition(".")[0]  # `encoder.layer.9.` of a model with nine layers, too
        inside = next((n for n in encoder if n.startswith((prefix, f"{part}."))), None)
        if inside or not any(n.startswith(prefix) for n in names):
            what = f"{inside} is the encoder's" if inside else f"no weight of {where} begins so"
            raise InputError(f"{_IGNORED}: {prefix!r}", what, "name heads only, or leave it out")
    return given


def narrowed(where: str, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return a finite tensor in another type.

    Raises
    ------
    InputError
        If a number is too large for it.
    """
    converted = tensor.to(dtype)
    if converted.dtype != tensor.dtype and not torch.isfinite(converted).all():
        largest = f"{torch.finfo(dtype).max:g}"
        problem = f"holds numbers beyond {largest}, the largest of {dtype}"
        raise InputError(where, problem, "set dtype: float32 (or bfloat16)")
    return converted


def file_digests(files: Iterable[Path]) -> dict[str, str]:
    """Return name -> SHA-256 of each file of a checkpoint."""
    digests = {}
    for file in files:
        digests[file.name] = file_digest(file)["sha256"]
    return digests
