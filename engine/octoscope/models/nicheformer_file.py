"""Nicheformer's files: Hugging Face folder or Lightning checkpoint, vocabulary, gene means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from octoscope.bounded_reads import read_npy
from octoscope.errors import InputError
from octoscope.models.head_counts import heads_of
from octoscope.models.key_prefixes import renamed, unwrapped
from octoscope.models.weight_files import folder_of, weights_in
from octoscope.models.weights import (
    MOST_LAYERS,
    load_lightning,
    load_state,
    read_json,
    take_strict,
)

ANCHOR = "embeddings.weight"
WEIGHTS = ("model.safetensors", "pytorch_model.bin", "nicheformer.ckpt")
# Weights that do not enter the encoder, one by one; proof: tests/models/test_ignored_weights.py.
HEADS = (
    "classifier_head.",
    "pooler_head.",
    "cls_head.",
    "encoder_layer.",  # the layer that the authors' class copies; the copies are encoder.layers
)
_GENE = re.compile(r"^ENS[A-Z]*G\d{11}(-\d+)?$")  # ENSG...-1: further copies, which no atlas has
_INNER = "nicheformer."
POSITIONS = "positional_embedding.weight"
_EXTRA_ROWS = 5  # that the embedding has beyond n_tokens
_FIRST_GENE = 30  # row of the first gene: the rows before it are for context and special tokens
# Rows of context tokens, as the authors' tokenizer has them.
SPECIES = {"human": 5, "mouse": 6}
MODALITIES = {"dissociated": 3, "spatial": 4}
ASSAYS = {
    "MERFISH": 7, "CosMx": 8, "Xenium": 9, "10x 5' v2": 10, "10x 3' v3": 11, "10x 3' v2": 12,
    "10x 5' v1": 13, "10x 3' v1": 14, "10x 3' transcription profiling": 15,
    "10x 5' transcription profiling": 16, "CITE-seq": 17, "Smart-seq v4": 18,
}  # fmt: skip
_NONE = "none"


class NicheformerOptions(BaseModel):
    """Settings of Nicheformer.

    Attributes
    ----------
    species, assay, modality
        Context tokens before the genes, in this order; ``none`` leaves one out. There is no
        default: they decide every hidden state.
    technology_mean
        File (.npy) of each gene token's mean in the technology; ``none``: counts as they are.
    recipe
        What the means become. ``notebooks``: rounded half up, at least 1, NaN (not measured) 1, as
        the authors tokenised for training. ``tokenizer``: at least 1e-6, as the published
        tokenizer, so that genes whose mean is 0 come first. ``dataset``: 1 where the mean is 0, as
        the authors' data set class.
    vocabulary
        vocab.json of the published folder; None: beside the weights.
    n_heads
        Heads of attention, where ``config.json`` is wrong or cannot be confirmed.
    """

    model_config = ConfigDict(extra="forbid")
    species: str | None = None
    assay: str | None = None
    modality: str | None = None
    technology_mean: str | None = None
    recipe: Literal["notebooks", "tokenizer", "dataset"] = "notebooks"
    vocabulary: str | None = None
    n_heads: int | None = Field(None, ge=1)
    ignored_weights: list[str] = Field(default_factory=list)


@dataclass(frozen=True)
class NicheformerFile:
    """What the files say, with the weights under the family's own names."""

    weights: Path
    vocabulary: Path
    files: tuple[Path, ...]
    state: Mapping[str, torch.Tensor]
    genes: dict[str, int]
    n_layers: int
    n_heads: int
    length: int

    def take(
        self, dtype: torch.dtype, device: torch.device, ignored_weights: list[str]
    ) -> dict[str, torch.Tensor]:
        """Return every encoder weight, strictly.

        Raises
        ------
        InputError
            Naming the first missing, unexpected or wrongly shaped weight.
        """
        table = self.state[ANCHOR]
        rows, d = table.shape
        ff = self.state.get("encoder.layers.0.linear1.weight", table).shape[0]
        shapes: dict[str, tuple[int, ...]] = {ANCHOR: (rows, d), POSITIONS: (self.length, d)}
        for i in range(self.n_layers):
            p = f"encoder.layers.{i}."
            shapes |= {
                p + "self_attn.in_proj_weight": (3 * d, d), p + "self_attn.in_proj_bias": (3 * d,),
                p + "self_attn.out_proj.weight": (d, d), p + "self_attn.out_proj.bias": (d,),
                p + "linear1.weight": (ff, d), p + "linear1.bias": (ff,),
                p + "linear2.weight": (d, ff), p + "linear2.bias": (d,),
            }  # fmt: skip
            for name in ("norm1", "norm2"):
                shapes[f"{p}{name}.weight"] = shapes[f"{p}{name}.bias"] = (d,)
        return take_strict(
            self.state, shapes, HEADS, where=str(self.weights), dtype=dtype, device=device,
            declared=ignored_weights,
        )  # fmt: skip


def read_file(path: Path, options: NicheformerOptions) -> NicheformerFile:
    """Read weights, settings and vocabulary, and check that they belong together.

    Raises
    ------
    InputError
        If a file is absent, damaged, or does not fit the others.
    """
    file, folder = weights_in(path, WEIGHTS), folder_of(path)
    if file is None:
        raise InputError(str(path), f"holds no weights ({WEIGHTS[0]})", "complete the folder")
    config = folder / "config.json"
    files: tuple[Path, ...]
    if file.suffix == ".ckpt":
        state, settings = load_lightning(file, finite=False)
        where, files = f"{file}: hyper_parameters", (file,)
    else:
        state, settings = load_state(file, finite=False), read_json(config, "models.*.path")
        where, files = str(config), (config, file)
    # the published class holds the encoder under `nicheformer.` beside a head
    state = unwrapped(state, ANCHOR, where=str(file), inner=(_INNER, ""))
    state = renamed(state, lambda name: name.removeprefix(_INNER), where=str(file))
    if ANCHOR not in state or state[ANCHOR].ndim != 2:
        raise InputError(f"{file}: {ANCHOR}", "is absent", "give Nicheformer's weights")
    n_tokens, n_layers, n_heads, length = (
        _count(settings, name, where)
        for name in ("n_tokens", "nlayers", "nheads", "context_length")
    )
    if settings.get("learnable_pe") is False:
        raise InputError(
            f"{where}: learnable_pe", "false: sine positions are not read",
            "give a checkpoint with learned positions, as the published one has",
        )  # fmt: skip
    rows, d = state[ANCHOR].shape
    if d % n_heads:
        raise InputError(f"{where}: nheads", f"{n_heads} do not divide d {d}", "check the file")
    if not where.endswith("hyper_parameters"):  # what the weights' own file holds belongs to them
        n_heads = heads_of("nicheformer", n_layers, d, n_heads, options.n_heads,
                           where=f"{where}: nheads")  # fmt: skip
    if n_layers > MOST_LAYERS:
        raise InputError(f"{where}: nlayers", f"{n_layers} is more than any model has",
                         "give Nicheformer's own settings")  # fmt: skip
    if rows != n_tokens + _EXTRA_ROWS:
        raise InputError(
            f"{where}: n_tokens",
            f"{n_tokens}, but {ANCHOR} has {rows} rows, not {n_tokens + _EXTRA_ROWS}",
            "give the config of the same checkpoint",
        )
    positions = state.get("pos")
    if positions is not None and (
        positions.shape != (length,) or not torch.equal(positions, torch.arange(length))
    ):
        raise InputError(
            f"{file}: pos", f"is not 0 to {length - 1}", "give the published weights file"
        )
    state = {n: v for n, v in state.items() if n != "pos"}
    vocabulary = _vocabulary_file(folder, options.vocabulary)
    genes = _genes(vocabulary, n_tokens)
    return NicheformerFile(
        file, vocabulary, (*files, vocabulary), state, genes, n_layers, n_heads, length
    )


def _count(settings: Mapping[str, Any], name: str, where: str) -> int:
    value = settings.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(
            f"{where}: {name}", f"{value!r} is no count", "give Nicheformer's own settings"
        )
    return value


def _vocabulary_file(folder: Path, given: str | None) -> Path:
    files = [folder / "vocab.json"]
    if given is not None:
        files = [folder / given, Path(given).expanduser()]
    file = next((p for p in files if p.is_file()), None)
    if file is None:
        raise InputError(
            str(files[-1]), "does not exist",
            "name the vocab.json of huggingface.co/theislab/Nicheformer in "
            "models.*.options.vocabulary",
        )  # fmt: skip
    return file.resolve()


def _genes(file: Path, n_tokens: int) -> dict[str, int]:
    """Return gene -> row: rows 30, 31, ..., each once, up to the last token of the model."""
    row_of_gene: dict[str, int] = {}
    for name, row in read_json(file, "models.*.options.vocabulary").items():
        if not isinstance(row, int) or isinstance(row, bool):
            raise InputError(f"{file}: {name}", f"{row!r} is no row", "give vocab.json")
        if row < _FIRST_GENE:
            _check_context(name, row, file)
        elif not _GENE.match(name):
            raise InputError(f"{file}: {name}", "is no Ensembl id", "give vocab.json")
        else:
            row_of_gene[name] = row
    expected = list(range(_FIRST_GENE, n_tokens))
    if sorted(row_of_gene.values()) != expected:
        raise InputError(
            str(file),
            f"{len(row_of_gene)} genes on rows {min(row_of_gene.values(), default=0)} to "
            f"{max(row_of_gene.values(), default=0)}; the model has tokens {_FIRST_GENE} to "
            f"{n_tokens - 1}, one gene each",
            "give the vocab.json that belongs to the weights",
        )
    return row_of_gene


def _check_context(name: str, row: int, file: Path) -> None:
    """Refuse a vocabulary with context tokens on other rows than the authors' tokenizer has."""
    known = {
        **{f"[SPECIES_{n}]": r for n, r in SPECIES.items()},
        **{f"[MODALITY_{n}]": r for n, r in MODALITIES.items()},
        "[PAD]": 1, "[MASK]": 0, "[CLS]": 2,
    }  # fmt: skip
    if known.get(name, row) != row:
        raise InputError(
            f"{file}: {name}", f"row {row}; the authors' tokenizer has {known[name]}",
            "give the published vocab.json",
        )  # fmt: skip


def context_rows(options: NicheformerOptions) -> list[int]:
    """Return the rows of the context tokens, in order.

    Raises
    ------
    InputError
        If one is not chosen, or unknown.
    """
    rows = []
    for field, choices in (("species", SPECIES), ("assay", ASSAYS), ("modality", MODALITIES)):
        value = getattr(options, field)
        allowed = f"say {', '.join(choices)}, or {_NONE} to leave the token out"
        if value is None:
            raise InputError(
                f"models.*.options.{field}", "is not given; it decides every hidden state", allowed
            )
        if value == _NONE:
            continue
        named = {name.casefold(): row for name, row in choices.items()}
        if value.casefold() not in named:
            raise InputError(f"models.*.options.{field}", f"{value!r} is not known", allowed)
        rows.append(named[value.casefold()])
    return rows


def gene_means(
    options: NicheformerOptions, file: NicheformerFile
) -> tuple[np.ndarray, Path | None]:
    """Return [gene tokens] float64 that divide the counts, and the file that they are from.

    Raises
    ------
    InputError
        If no file is chosen, or it does not hold one mean per gene token.
    """
    field = "models.*.options.technology_mean"
    given = options.technology_mean
    if given is None:
        raise InputError(
            field, "is not given; it decides the order of the tokens",
            "name the .npy file of the technology (github.com/theislab/nicheformer, "
            f"data/model_means), or {_NONE} to order by counts",
        )  # fmt: skip
    n = len(file.genes)
    if given == _NONE:
        return np.ones(n), None
    folder = folder_of(file.weights)
    mean_file = next((p for p in (folder / given, Path(given).expanduser()) if p.is_file()), None)
    if mean_file is None:
        raise InputError(field, f"{given}: does not exist", "check the path")
    try:
        mean = read_npy(mean_file)
    except (OSError, ValueError) as error:
        raise InputError(str(mean_file), f"cannot be read: {error}", "download it again") from None
    if mean.shape != (n,) or mean.dtype.kind not in "fiu":
        raise InputError(
            str(mean_file), f"{mean.dtype} {list(mean.shape)}; the vocabulary has {n} genes",
            "give the mean of the model's own genes, in the order of its tokens",
        )  # fmt: skip
    mean = mean.astype(np.float64)
    if np.isinf(mean).any() or (mean < 0).any():
        raise InputError(str(mean_file), "holds infinity or a value below 0", "download it again")
    if options.recipe == "notebooks":
        whole = np.floor(np.nan_to_num(mean) + 0.5)
        return np.maximum(whole, 1.0), mean_file.resolve()
    unknown = int(np.isnan(mean).sum())
    if unknown:  # upstream every such gene becomes a token of every cell, whatever its count
        raise InputError(
            str(mean_file), f"{unknown} genes have no mean (NaN) in this technology",
            "set models.*.options.recipe: notebooks, as the model was trained",
        )  # fmt: skip
    if options.recipe == "dataset":
        return np.where(mean == 0, 1.0, mean), mean_file.resolve()
    return np.maximum(mean, 1e-6), mean_file.resolve()
