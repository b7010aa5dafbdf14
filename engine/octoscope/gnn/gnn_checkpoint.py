"""A trained graph neural network read from a checkpoint: encoder, head and what it was made for.

Two formats are read: a napistu-torch checkpoint (``model.ckpt`` beside ``config.json``), and
Octoscope's own (``gnn.safetensors`` beside ``gnn.json``). No code in a file is run. Sizes come from
the shapes of the tensors; the settings beside them name what shapes cannot tell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from octoscope.bounded_reads import read_bounded
from octoscope.digests import file_digest
from octoscope.errors import InputError, reads
from octoscope.gnn.directed_encoder import any_encoder_of
from octoscope.gnn.encoders import Encoder
from octoscope.gnn.head_weights import head_of
from octoscope.gnn.heads import Head
from octoscope.models.weights import load_lightning, load_state, read_json
from octoscope.output_files import new_folder

OWN_WEIGHTS, OWN_SETTINGS, OWN_FORMAT = "gnn.safetensors", "gnn.json", "octoscope-gnn/1"
PEER_WEIGHTS, PEER_SETTINGS = "model.ckpt", "config.json"
_LABELS = ("relation_type_labels", "relations")  # where names of relations stand


@dataclass(frozen=True)
class Checkpoint:
    """A trained model.

    Attributes
    ----------
    encoder
        Turns vertex features and edges into embeddings.
    head
        Turns two embeddings, and a relation, into a raw score.
    relations
        Names of the relations in the order of the head's table; empty for heads without relations.
        Where the checkpoint does not name them: ``relation 0``, ``relation 1``, ...
    data
        What it says of the graph that it was trained on: numbers of vertices, edges and features,
        and digests.
    digest
        SHA-256 of the file of weights.
    path
        The folder or file that was read.
    settings
        Settings of encoder and head.
    weights
        Tensors by name as the file has them: ``encoder.convs.0...``, ``head.head...``.
    device
        Where encoder and head compute.
    """

    encoder: Encoder
    head: Head
    relations: tuple[str, ...]
    data: dict[str, Any]
    digest: str
    path: Path
    settings: dict[str, Any] = field(default_factory=dict)
    weights: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False)
    device: str = "cpu"

    def to(self, device: str) -> Checkpoint:
        """Return the checkpoint whose encoder and head compute on a device of torch."""
        if device == self.device:
            return self
        encoder = replace(
            self.encoder, edge=_moved(self.encoder.edge, device),
            layers=tuple(_moved(layer, device) for layer in self.encoder.layers),
        )  # fmt: skip
        head = replace(self.head, weights=_moved(self.head.weights, device))
        return replace(self, encoder=encoder, head=head, device=device)


def _moved(weights: Mapping[str, torch.Tensor], device: str) -> dict[str, torch.Tensor]:
    return {name: tensor.to(device) for name, tensor in weights.items()}


@reads("get the checkpoint again")
def open_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Parameters
    ----------
    path
        Folder with ``model.ckpt`` and ``config.json``, the ``.ckpt`` file, a folder with
        ``gnn.safetensors`` and ``gnn.json``, or a repository folder of the Hugging Face cache.

    Raises
    ------
    InputError
        If nothing of the kind is there, the file is damaged or holds code, a weight is missing,
        unknown, wrongly shaped or not finite, or the encoder or head is not supported.
    """
    folder = _resolved(Path(path))
    if folder.is_dir() and (folder / OWN_SETTINGS).exists():
        return _own(folder)
    file = folder / PEER_WEIGHTS if folder.is_dir() else folder
    if not file.is_file():
        raise InputError(
            str(folder),
            f"holds neither {PEER_WEIGHTS} nor {OWN_SETTINGS}",
            "give the folder of a napistu-torch or Octoscope checkpoint, or a .ckpt file",
        )
    state, settings = load_lightning(file)
    stated = settings.get("model")
    stated = stated if isinstance(stated, Mapping) else {}
    model = {k: dict(v) if isinstance(v, Mapping) else {k: v} for k, v in stated.items() if v}
    beside = file.with_name(PEER_SETTINGS)
    config = read_json(beside, "the checkpoint") if beside.exists() else {}
    of_config = config.get("model")
    flat = of_config if isinstance(of_config, dict) else {}
    encoder = {**flat, **model.get("encoder", {})}
    head = {**flat, **model.get("head", {})}
    data = settings.get("data")
    about = dict(data) if isinstance(data, Mapping) else {}
    weights = {str(k).removeprefix("task."): v for k, v in state.items()}
    return _assembled(weights, encoder, head, about, file_digest(file)["sha256"], file)


def _own(folder: Path) -> Checkpoint:
    about = read_json(folder / OWN_SETTINGS, "the checkpoint")
    if about.get("format") != OWN_FORMAT:
        raise InputError(
            f"{folder / OWN_SETTINGS}: format",
            f"is {about.get('format')!r}, expected {OWN_FORMAT!r}",
            "give a checkpoint that this version wrote",
        )
    file = folder / OWN_WEIGHTS
    digest = file_digest(file)["sha256"] if file.is_file() else None
    if digest != about.get("sha256"):
        raise InputError(
            str(file), "is not the file that gnn.json describes (SHA-256 differs)", "get it again"
        )
    parts = {k: about.get(k) for k in ("encoder", "head", "data")}
    wrong = next((k for k, v in parts.items() if not isinstance(v, dict)), None)
    if wrong:
        raise InputError(f"{folder / OWN_SETTINGS}: {wrong}", "is no object", "get it again")
    encoder, head, data = (dict(about[k]) for k in ("encoder", "head", "data"))
    return _assembled(load_state(file), encoder, head, data, str(digest), folder)


def _assembled(
    weights: Mapping[str, torch.Tensor],
    encoder: dict[str, Any],
    head: dict[str, Any],
    data: dict[str, Any],
    digest: str,
    where: Path,
) -> Checkpoint:
    of_encoder = {k: v for k, v in weights.items() if k.startswith("encoder.")}
    of_head = {k: v for k, v in weights.items() if k.startswith("head.")}
    for name, tensor in weights.items():
        flags = tensor.dtype == torch.bool and name.endswith(".is_symmetric")
        if not tensor.dtype.is_floating_point and not flags:
            raise InputError(
                f"{where}: {name}", f"is of {str(tensor.dtype).removeprefix('torch.')}, not of "
                "floating-point numbers", "give the checkpoint before it was quantised",
            )  # fmt: skip
    other = sorted(set(weights) - set(of_encoder) - set(of_head))
    if other:
        raise InputError(
            f"{where}: {other[0]}",
            f"is neither of the encoder nor of the head ({len(other)} such weights)",
            "give a checkpoint of an edge prediction task",
        )
    data = data | {k: _listed(data[k]) for k in _LABELS if k in data}
    part = any_encoder_of(_without(of_encoder, "encoder."), encoder, str(where))
    top = head_of(_without(of_head, "head.head.", "head."), head, part.out_channels, str(where))
    return Checkpoint(
        part, top, _relations(top, data, str(where)), data, digest, where,
        {"encoder": encoder, "head": head}, weights,
    )  # fmt: skip


def _without(weights: Mapping[str, torch.Tensor], *prefixes: str) -> dict[str, torch.Tensor]:
    out = {}
    for name, tensor in weights.items():
        prefix = next((p for p in prefixes if name.startswith(p)), "")
        out[name.removeprefix(prefix)] = tensor
    return out


def _listed(names: object) -> object:
    """Return names by position as a list, which JSON keeps; anything else as it is."""
    if isinstance(names, Mapping) and set(names) == set(range(len(names))):
        return [names[i] for i in range(len(names))]
    return names


def _relations(head: Head, data: Mapping[str, Any], where: str) -> tuple[str, ...]:
    if not head.n_relations:
        return ()
    names = next((data[k] for k in _LABELS if data.get(k)), None)
    if names is None:
        return tuple(f"relation {i}" for i in range(head.n_relations))
    if not isinstance(names, list | tuple):
        raise InputError(f"{where}: relation_type_labels", f"is {names!r}, no list of names",
                         "get the checkpoint again")  # fmt: skip
    names = tuple(str(n) for n in names)
    if len(names) != head.n_relations or len(set(names)) != len(names):
        raise InputError(
            where,
            f"names {len(set(names))} relations, its head has {head.n_relations}",
            "get the checkpoint again",
        )
    return names


def write_checkpoint(
    checkpoint: Checkpoint, folder: Path, digests: Mapping[str, str] | None = None
) -> None:
    """Write a checkpoint in Octoscope's own format into a new folder.

    Parameters
    ----------
    digests
        Of the graph that it was trained on (:attr:`octoscope.gnn.graph.GnnGraph.digests`): another
        graph is then refused. None: those that the checkpoint states, if any.

    Raises
    ------
    InputError
        If the folder exists.
    """
    with new_folder(folder) as hidden:
        file = hidden / OWN_WEIGHTS
        save_file({k: v.contiguous() for k, v in checkpoint.weights.items()}, file)
        about = {
            "format": OWN_FORMAT,
            "sha256": file_digest(file)["sha256"],
            **checkpoint.settings,
            "data": checkpoint.data | ({"digests": dict(digests)} if digests else {}),
        }
        (hidden / OWN_SETTINGS).write_text(json.dumps(about, indent=1, default=str) + "\n")


def _resolved(path: Path) -> Path:
    """Return the snapshot inside a repository folder of the Hugging Face cache, else the path."""
    path = path.expanduser()
    if not path.exists():
        raise InputError(str(path), "does not exist", "check the path of the checkpoint")
    snapshots = path / "snapshots"
    if not (path.is_dir() and snapshots.is_dir()):
        return path
    main = path / "refs" / "main"
    if main.is_file():
        try:
            name = read_bounded(main, 1 << 10).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                str(main), f"names no snapshot ({error})", "download it again"
            ) from None
        if name and Path(name).name == name and (named := snapshots / name).is_dir():
            return named
    folders = sorted(p for p in snapshots.iterdir() if p.is_dir())
    if len(folders) != 1:
        raise InputError(
            str(path),
            f"holds {len(folders)} snapshots and no refs/main",
            "give one snapshot's folder",
        )
    return folders[0]
