"""A training as it stands: weights, optimiser, schedule, random numbers, history; saved whole.

A state is a folder ``state/<epoch>`` of one safetensors file and one JSON file, which gets its name
once it is complete. An older state is deleted after that, so at any moment a whole one is there.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from octoscope.bounded_reads import read_bounded
from octoscope.digests import file_digest
from octoscope.errors import InputError
from octoscope.json_values import parse_json, to_json
from octoscope.output_files import new_folder

FORMAT = "octoscope-gnn-training/1"
CHECKPOINT, HISTORY = "checkpoint", "training.json"
_TENSORS, _ABOUT = "state.safetensors", "state.json"


@dataclass
class TrainState:
    """What a training needs to go on.

    Attributes
    ----------
    epoch
        Epochs done; negatives of the next are drawn with it.
    history
        A row per validation: epoch, loss, learning rate, AUC, relation-weighted AUC.
    best
        Weights with the best validation so far, by the names of a checkpoint.
    best_value, best_epoch
        That validation.
    """

    epoch: int
    history: list[dict[str, float]]
    best: dict[str, torch.Tensor]
    best_value: float
    best_epoch: int


def save_state(
    folder: Path, state: TrainState, model: torch.nn.Module, optimiser: torch.optim.Optimizer,
    schedule: Any, belongs: str,
) -> None:  # fmt: skip
    """Save a training.

    Parameters
    ----------
    folder
        Of the training.
    belongs
        Digest of settings and graph: another training does not go on from it.
    """
    target = folder / "state" / f"{state.epoch:06}"
    if target.exists():
        return
    of_optimiser = optimiser.state_dict()
    tensors = {f"model/{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"best/{k}": v for k, v in state.best.items()}
    tensors |= {f"optimiser/{i}/{k}": v for i, values in of_optimiser["state"].items()
                for k, v in values.items()}  # fmt: skip
    tensors["random"] = torch.get_rng_state()
    about = {
        "format": FORMAT, "belongs": belongs, "epoch": state.epoch, "history": state.history,
        "best_value": state.best_value, "best_epoch": state.best_epoch,
        "groups": of_optimiser["param_groups"], "schedule": _plain(schedule.state_dict()),
    }  # fmt: skip
    with new_folder(target) as hidden:
        save_file({k: v.contiguous().clone() for k, v in tensors.items()}, hidden / _TENSORS)
        about["sha256"] = file_digest(hidden / _TENSORS)["sha256"]
        (hidden / _ABOUT).write_bytes(to_json(about))
    for old in states(folder):
        if old != target:
            shutil.rmtree(old, ignore_errors=True)


def require_own(folder: Path) -> None:
    """Refuse a folder that is neither new nor of a training that can go on.

    Raises
    ------
    InputError
        If it is a file, or has the files of a training without a saved state.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(str(folder), "exists already and is no folder", "train into a new folder")
    for name in (CHECKPOINT, HISTORY):
        if os.path.lexists(folder / name) and not states(folder):
            problem = "exists already, without the state of its training"
            raise InputError(str(folder / name), problem, "train into a new folder")


def states(folder: Path) -> list[Path]:
    """Return the saved states, oldest first."""
    return sorted(p for p in (folder / "state").glob("[0-9]*") if p.is_dir())


def load_state(
    folder: Path, model: torch.nn.Module, optimiser: torch.optim.Optimizer, schedule: Any,
    belongs: str,
) -> TrainState | None:  # fmt: skip
    """Restore the newest state into a model, its optimiser and schedule, and torch's generator.

    Returns
    -------
    TrainState or None
        None where none was saved.

    Raises
    ------
    InputError
        If the state is damaged or of another training.
    """
    folders = states(folder)
    if not folders:
        return None
    newest, fix = folders[-1], "train into a new folder"
    try:
        about = parse_json(read_bounded(newest / _ABOUT))
        if about["format"] != FORMAT:
            raise ValueError(f"format {about['format']!r}")
        if file_digest(newest / _TENSORS)["sha256"] != about["sha256"]:
            raise ValueError("SHA-256 of the tensors differs")
        tensors = load_file(newest / _TENSORS)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise InputError(str(newest), f"is damaged ({error})", fix) from None
    if about["belongs"] != belongs:
        raise InputError(str(folder), "is of a training with other settings or another graph", fix)
    model.load_state_dict(_under(tensors, "model/"))
    steps: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in _under(tensors, "optimiser/").items():
        i, _, key = name.partition("/")
        steps.setdefault(int(i), {})[key] = value
    optimiser.load_state_dict({"state": steps, "param_groups": about["groups"]})
    schedule.load_state_dict(about["schedule"])
    torch.set_rng_state(tensors["random"])
    return TrainState(about["epoch"], about["history"], _under(tensors, "best/"),
                      about["best_value"], about["best_epoch"])  # fmt: skip


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _plain(values: dict[str, Any]) -> Any:
    """Return what JSON holds of a schedule: numbers and names."""
    return json.loads(json.dumps({k: v for k, v in values.items() if not callable(v)}))
