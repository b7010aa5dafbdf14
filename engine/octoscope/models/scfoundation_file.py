"""scFoundation's ``models.ckpt``: its sections, their settings, expected weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from octoscope.errors import InputError
from octoscope.models.gene_list import gene_list_19264
from octoscope.models.weight_files import look, weight_names
from octoscope.models.weights import MOST_LAYERS, load_whole, take_strict, tensors_of
from octoscope.models.whole_numbers import as_whole

SECTIONS = ("gene", "cell", "rde")
# The decoder, part by part: a Performer, which has no attention probabilities;
# proof that it stays outside: tests/models/test_ignored_weights.py.
DECODER = (
    "decoder_embed.",
    "decoder.performer.",
    "decoder.norm.",
    "norm.",
    "to_final.",
)
_MODEL = "mae_autobin"
_FIX = "give scFoundation's published models.ckpt"


@dataclass(frozen=True)
class ScFoundationFile:
    """One section of the file: encoder weights by name, and what its settings say."""

    where: str
    state: Mapping[str, torch.Tensor]
    n_layers: int
    n_heads: int
    d: int
    bins: int
    bin_alpha: float
    mask_value: float
    pad_value: float

    def take(
        self, dtype: torch.dtype, device: torch.device, ignored_weights: list[str]
    ) -> dict[str, torch.Tensor]:
        """Return every encoder weight, strictly; what begins as ``ignored_weights`` is unread.

        Raises
        ------
        InputError
            Naming the first missing, unexpected or wrongly shaped weight.
        """
        return take_strict(
            self.state,
            self.expected_shapes(),
            DECODER,
            where=self.where,
            dtype=dtype,
            device=device,
            declared=ignored_weights,
        )

    def expected_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name -> shape of every encoder weight; the MLP is 4 d wide by code."""
        d, bins = self.d, self.bins
        shapes: dict[str, tuple[int, ...]] = {
            "token_emb.mlp.weight": (bins, 1),
            "token_emb.mlp.bias": (bins,),
            "token_emb.mlp2.weight": (bins, bins),
            "token_emb.mlp2.bias": (bins,),
            "token_emb.emb.weight": (bins, d),
            "token_emb.emb_mask.weight": (1, d),
            "token_emb.emb_pad.weight": (1, d),
            "pos_emb.weight": (len(gene_list_19264()) + 3, d),
            "encoder.norm.weight": (d,),
            "encoder.norm.bias": (d,),
        }
        for i in range(self.n_layers):
            p = f"encoder.transformer_encoder.{i}."
            shapes[p + "self_attn.in_proj_weight"] = (3 * d, d)
            shapes[p + "self_attn.in_proj_bias"] = (3 * d,)
            for name, rows, columns in (
                ("self_attn.out_proj", d, d),
                ("linear1", 4 * d, d),
                ("linear2", d, 4 * d),
            ):
                shapes[f"{p}{name}.weight"], shapes[f"{p}{name}.bias"] = (rows, columns), (rows,)
            for name in ("norm1", "norm2"):
                shapes[f"{p}{name}.weight"] = shapes[f"{p}{name}.bias"] = (d,)
        return shapes


def read_section(path: Path, section: str) -> ScFoundationFile:
    """Read one section of the file.

    Raises
    ------
    InputError
        If it is not scFoundation's file, has no such section, or a setting cannot be used.
    """
    whole = load_whole(path)
    if not isinstance(whole, Mapping) or not any(s in whole for s in SECTIONS):
        seen = look(weight_names(path))
        raise InputError(str(path), f"has none of the sections {', '.join(SECTIONS)}; {seen}", _FIX)
    if section not in whole:
        have = [s for s in SECTIONS if s in whole]
        raise InputError(f"{path}: {section}", f"absent; the file has {have}", "choose one of them")
    part, where = whole[section], f"{path}: {section}"
    if not isinstance(part, Mapping) or not {"config", "state_dict"} <= part.keys():
        raise InputError(where, "has no config or no state_dict", _FIX)
    settings = _flat(part["config"])
    try:
        encoder = settings["encoder"]
        d, n_layers, n_heads = (
            as_whole(encoder[k], k, f"{where}: config.encoder", _FIX)
            for k in ("hidden_dim", "depth", "heads")
        )
        kind = str(encoder.get("module_type", "transformer"))
        seq_len = as_whole(settings["seq_len"], "seq_len", f"{where}: config", _FIX)
        file = ScFoundationFile(
            where=where,
            # the loader keeps what follows the first `model.`
            state={
                n.split("model.", 1)[-1]: v
                for n, v in tensors_of(path, part["state_dict"], finite=False).items()
            },
            n_layers=n_layers,
            n_heads=n_heads,
            d=d,
            bins=as_whole(settings["bin_num"], "bin_num", f"{where}: config", _FIX),
            bin_alpha=float(settings["bin_alpha"]),
            mask_value=float(settings.get("mask_token_id", 102)),
            pad_value=float(settings.get("pad_token_id", 103)),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where}: config", f"cannot be used ({error!r})", _FIX) from None
    if kind != "transformer" or not 1 <= n_layers <= MOST_LAYERS or n_heads < 1 or d % n_heads:
        text = f"module_type {kind!r}, hidden_dim {d}, heads {n_heads}, depth {n_layers}"
        raise InputError(f"{where}: config.encoder", text, _FIX)
    if seq_len != len(gene_list_19264()) + 2:
        expected = len(gene_list_19264()) + 2
        raise InputError(f"{where}: config.seq_len", f"{seq_len}, expected {expected}", _FIX)
    return file


def _flat(config: Any) -> dict[str, Any]:
    """Merge the settings of the model and of its data set, chosen by name as the authors do."""
    if not isinstance(config, Mapping):
        return {}
    flat = dict(config)
    for name, chosen in (("model_config", config.get("model")), ("dataset_config", "rnaseq")):
        nested = flat.pop(name, None)
        if isinstance(nested, Mapping):
            inner = nested.get(chosen) if chosen in nested else nested.get(_MODEL)
            flat |= inner if isinstance(inner, Mapping) else {}
    return flat
