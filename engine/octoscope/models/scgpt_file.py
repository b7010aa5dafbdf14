"""scGPT's files: where they are, the vocabulary, and which weights belong to the encoder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from octoscope.errors import InputError
from octoscope.models.weight_files import folder_of, holds_weight, weights_in
from octoscope.models.weights import read_json

# What does not enter the encoder, one by one; proof: tests/models/test_ignored_weights.py.
HEADS = (
    "flag_encoder.",
    "decoder.",
    "mvc_decoder.",
    "cls_decoder.",
    "grad_reverse_discriminator.",
    "batch_encoder.",
    "mod_encoder.",
)
# Names of the weights in published folders, in tutorials and in ports to Hugging Face.
_WEIGHTS = ("best_model.pt", "model.pt", "model.safetensors", "pytorch_model.bin")
_TABLE = "encoder.embedding.weight"
ANCHOR = "value_encoder.linear1.weight"  # in every file, once: shows prefixes of wrappers
_LAYOUTS = (
    # torch's attention, and the wrapper around flash attention since 2026
    (re.compile(r"self_attn\._impl\."), "self_attn."),
    (re.compile(r"self_attn\.in_proj_"), "self_attn.Wqkv."),
)


@dataclass(frozen=True)
class ScGPTFiles:
    """The three files of a checkpoint, and the folder that completes it, if one is named."""

    args: Path
    vocabulary: Path
    weights: Path
    base: str | None


def find_files(path: Path, base: str | None) -> ScGPTFiles:
    """Find the files of a folder, or beside a weights file.

    Parameters
    ----------
    base
        Folder with ``args.json`` and ``vocab.json``, for a checkpoint that lacks one; relative
        ones are tried from the checkpoint, its two parents and the working directory.

    Raises
    ------
    InputError
        If there are no weights, several, or one of the other files is nowhere.
    """
    folder = folder_of(path).resolve()
    weights = weights_in(path, _WEIGHTS)
    if weights is None:
        problem = f"holds no weights ({_WEIGHTS[0]} or another .pt, .bin, .safetensors)"
        raise InputError(str(path), problem, "complete the folder in models.*.path")
    folders = [folder_of(path)]
    if base is not None:
        near = (folder, folder.parent, folder.parent.parent, Path.cwd())
        folders += [p / base for p in near if (p / base).is_dir()][:1]
        if len(folders) == 1:
            raise InputError("models.*.options.base", f"{base}: no such folder", "check the path")
    return ScGPTFiles(
        args=_beside(folders, "args.json", "config.json"),
        vocabulary=_beside(folders, "vocab.json", "default_census_vocab.json"),
        weights=weights,
        base=str(folders[1].resolve()) if len(folders) > 1 else None,
    )


def _beside(folders: list[Path], *names: str) -> Path:
    """Return the first file there, by the published name before those of ports."""
    file = next((p / n for p in folders for n in names if (p / n).exists()), None)
    if file is None:
        raise InputError(
            ", ".join(str(p / names[0]) for p in folders),
            "does not exist (fine-tuning scripts save the weights alone)",
            "copy it from the checkpoint that was fine-tuned, or name that checkpoint's folder in "
            "models.*.options.base (octoscope models and attention: --option base=FOLDER)",
        )
    return file


def is_scgpt(path: Path) -> bool:
    """Tell whether a folder holds scGPT's three files, or its weights file those of scGPT."""
    named = all((path / n).exists() for n in ("args.json", "vocab.json", _WEIGHTS[0]))
    return named or holds_weight(path, _WEIGHTS, ANCHOR)


def own_name(name: str) -> str:
    """Return a weight's name as the published files have it (``self_attn.Wqkv.``)."""
    for layout, ours in _LAYOUTS:
        name = layout.sub(ours, name)
    return name


def read_vocabulary(path: Path) -> dict[str, int]:
    """Return token -> row of the embedding: rows 0, 1, 2, ..., each once.

    Raises
    ------
    InputError
        If the file is absent or not such a table, or ``<pad>`` or ``<cls>`` is missing.
    """
    read = read_json(path, "models.*.path")
    try:
        vocab = {str(k): int(v) for k, v in read.items()}
    except (TypeError, ValueError) as error:
        fix = "give scGPT's own vocab.json"
        raise InputError(str(path), f"not token -> row ({error})", fix) from None
    absent = [n for n in ("<pad>", "<cls>") if n not in vocab]
    if absent:
        special = ", ".join(n for n in vocab if not n[:1].isalnum()) or "none"
        problem = f"no {' or '.join(absent)} (special tokens there: {special})"
        raise InputError(str(path), problem, "give scGPT's own vocab.json")
    if sorted(vocab.values()) != list(range(len(vocab))):
        top = max(vocab.values()) + 1
        raise InputError(
            str(path),
            f"{len(vocab)} tokens on {len(set(vocab.values()))} of {top} rows: rows are without "
            "a token, used twice or below 0",
            "give the whole vocab.json that the checkpoint was trained with",
        )
    return vocab


def table_rows(
    state: Mapping[str, torch.Tensor], vocab: Mapping[str, int], *, padded: bool, files: ScGPTFiles
) -> int:
    """Return the rows that the embedding must have: one per token, or more where that is allowed.

    Raises
    ------
    InputError
        If the table in ``state`` has another number of rows than the vocabulary has tokens.
    """
    if _TABLE not in state:
        return len(vocab)  # named as missing with the other weights
    rows = int(state[_TABLE].shape[0])
    if rows < len(vocab) or (rows > len(vocab) and not padded):
        fix = "give the vocab.json that the checkpoint was trained with"
        if rows > len(vocab):
            fix += "; if the rows beyond it are padding, set models.*.options.padded_table: true"
        problem = f"{len(vocab)} tokens, and {_TABLE} in {files.weights.name} has {rows} rows"
        raise InputError(str(files.vocabulary), problem, fix)
    return rows


def expected_shapes(rows: int, d: int, ff: int, n_layers: int) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of every encoder weight."""
    shapes: dict[str, tuple[int, ...]] = {_TABLE: (rows, d)}

    def pair(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, (shape[0],)

    pair("encoder.enc_norm", d)
    pair("value_encoder.linear1", d, 1)
    pair("value_encoder.linear2", d, d)
    pair("value_encoder.norm", d)
    for i in range(n_layers):
        p = f"transformer_encoder.layers.{i}."
        pair(p + "self_attn.Wqkv", 3 * d, d)
        pair(p + "self_attn.out_proj", d, d)
        pair(p + "linear1", ff, d)
        pair(p + "linear2", d, ff)
        pair(p + "norm1", d)
        pair(p + "norm2", d)
    return shapes
