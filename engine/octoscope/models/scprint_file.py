"""scPRINT's Lightning checkpoint: hyper-parameters, layouts of 1.x and 2.x, expected weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from octoscope.errors import InputError
from octoscope.models.key_prefixes import unwrapped
from octoscope.models.weight_files import look
from octoscope.models.weights import MOST_LAYERS, load_lightning, narrowed, take_strict
from octoscope.models.whole_numbers import as_whole

# Heads that do not enter the encoder, one by one; proof: tests/models/test_ignored_weights.py.
HEADS = (
    "expr_decoder.fc.",
    "expr_decoder.pred_var_zero.",
    "cls_decoders.",
    "grad_reverse_discriminator_loss.",
    "mvc_decoder.gene2query.",
    "mvc_decoder.norm.",
    "mvc_decoder.pred_var_zero.",
    "mvc_decoder.fc1.",
    "mvc_decoder.fc2.",
    "bottleneck_mlps.",
)
# What marks another architecture: a part of a weight's name, or a hyper-parameter and its value.
_OTHER_WEIGHTS = {
    "cell_transformer.": "cell-specific blocks",
    ".mixer.Wq.": "cell-specific blocks (cross-attention)",
    "metacell_encoder.": "metacell tokens",
}
_OTHER_SETTINGS = {
    "cell_specific_blocks": True,
    "use_metacell_token": True,
    "depth_atinput": False,
    "prenorm": False,
}
# Which attention the blocks use (scprint's and simpler-flash's names); both are the same softmax.
_ATTENTION = ("attention", "attn_type", "transformer")
_SOFTMAX = (None, "flash", "legacy-flash", "normal")
_V1 = (
    "give one of scPRINT's v1 checkpoints (small-v1, medium-v1.5, large-v1); family scprint2 reads "
    "those of scPRINT-2"
)
_ADAPTERS = ("gene_encoder.1", "gene_encoder.3")  # fine-tuned gene embeddings
_GENE_TABLES = {
    "gene_encoder.embedding.weight": "1.x",
    "gene_encoder.0.embedding.weight": "1.x",
    "gene_encoder.embeddings.weight": "2.x",
    "gene_encoder.0.embeddings.weight": "2.x",
}


@dataclass(frozen=True)
class ScPRINTFile:
    """Hyperparameters of a checkpoint, and its weights under one set of names."""

    path: Path
    state: Mapping[str, torch.Tensor]
    layout: str
    genes: list[str]
    classes: list[str]
    normalization: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d: int
    heads: ClassVar[tuple[str, ...]] = HEADS

    def take(
        self, dtype: torch.dtype, device: torch.device, ignored_weights: list[str]
    ) -> dict[str, torch.Tensor]:
        """Return every encoder weight, strictly; what begins as ``ignored_weights`` is unread.

        Raises
        ------
        InputError
            Naming the first missing, unexpected or wrongly shaped weight.
        """
        weights = take_strict(
            self.state,
            self.expected_shapes(),
            self.heads,
            where=str(self.path),
            dtype=dtype,
            device=device,
            declared=ignored_weights,
        )
        if "pos_encoder.pe" in weights:
            weights["pos_encoder.pe"] = weights["pos_encoder.pe"].flatten(1)
        if _ADAPTERS[0] + ".weight" in weights:
            # Sequential(table, Linear, ReLU, Linear): one table, worked out once
            table = weights["gene_encoder.weight"].float()
            for i, name in enumerate(_ADAPTERS):
                parts = (weights.pop(f"{name}.{p}").float() for p in ("weight", "bias"))
                table = F.linear(F.relu(table) if i else table, *parts)
            where = f"{self.path}: gene_encoder.weight, through its adapters"
            weights["gene_encoder.weight"] = narrowed(where, table, dtype)
        return weights

    def expected_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name -> shape of every encoder weight."""
        d, kv = self.d, self.n_kv_heads * (self.d // self.n_heads)
        n = len(self.genes)
        shapes: dict[str, tuple[int, ...]] = {"gene_encoder.weight": (n, d), **self.token_tables()}
        if "pos_encoder.pe" in self.state:
            flat = self.state["pos_encoder.pe"].ndim == 2
            shapes["pos_encoder.pe"] = (n, d) if flat else (n, 1, d)
        linear: dict[str, tuple[int, int]] = {}
        if any(n.startswith(_ADAPTERS) for n in self.state):
            linear |= dict.fromkeys(_ADAPTERS, (d, d))
        norms = {"transformer.norm": d}
        for name, (inside, hidden) in self.value_encoders().items():
            linear[f"{name}.0"] = (hidden, inside)
            step = 0
            while f"{name}.{step + 4}.weight" in self.state:
                norms[f"{name}.{step + 1}"] = hidden
                step += 4
                linear[f"{name}.{step}"] = (hidden, hidden)
            linear[f"{name}.{step}"] = (d, linear[f"{name}.{step}"][1])  # the last one
        for i in range(self.n_layers):
            p = f"transformer.blocks.{i}."
            norms |= {p + "norm1": d, p + "norm2": d}
            linear |= {
                p + "mixer.Wqkv": (d + 2 * kv, d),
                p + "mixer.out_proj": (d, d),
                p + "mlp.fc1": (self._ff(p), d),
                p + "mlp.fc2": (d, self._ff(p)),
            }
        for name, width in norms.items():
            shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)
        for name, shape in linear.items():
            shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, (shape[0],)
        return shapes

    def token_tables(self) -> dict[str, tuple[int, int]]:
        """Return the tables of tokens other than genes."""
        return {"class_encoder.embedding.weight": (len(self.classes) + 1, self.d)}

    def value_encoders(self) -> dict[str, tuple[int, int]]:
        """Return name -> (inputs, width) of what encodes numbers; each ends at ``d``."""
        return dict.fromkeys(("expr_encoder.encoder", "depth_encoder.encoder"), (1, self.d))

    def _ff(self, block: str) -> int:
        """Return the width of a block's MLP: 4 d unless the file says otherwise."""
        weight = self.state.get(f"{block}mlp.fc1.weight")
        return 4 * self.d if weight is None else int(weight.shape[0])


def names_scprint(names: list[str]) -> bool:
    """Tell from the names inside a file whether they are scPRINT's, of this or another version."""
    return any("gene_encoder." in n for n in names) and any("expr_encoder." in n for n in names)


def names_scprint2(names: list[str]) -> bool:
    """Tell from the names inside a file whether they are scPRINT-2's: without a depth token."""
    return names_scprint(names) and not any("depth_encoder." in n for n in names)


def read_file(path: Path) -> ScPRINTFile:
    """Read a checkpoint.

    Raises
    ------
    InputError
        If it is not scPRINT v1, or a hyper-parameter is absent or cannot be used.
    """
    state, settings = load_lightning(path, finite=False)
    state = unwrapped(state, "expr_encoder.encoder.0.weight", where=str(path))
    if not names_scprint([*state]):
        raise InputError(str(path), f"not scPRINT's weights: {look(state)}", _V1)
    for part, what in _OTHER_WEIGHTS.items():
        hit = next((n for n in state if part in n), None)
        if hit is not None:
            raise InputError(f"{path}: {hit}", f"{what}: not scPRINT v1", _V1)
    for name, value in _OTHER_SETTINGS.items():
        if settings.get(name) is value:
            raise InputError(f"{path}: hyper_parameters.{name}", f"{value}: not scPRINT v1", _V1)
    refuse_attention(path, settings, _V1)
    if not any(n.startswith("depth_encoder.") for n in state):
        raise InputError(f"{path}: depth_encoder", "absent: no depth token, not scPRINT v1", _V1)
    return ScPRINTFile(**described(path, state, settings, _V1))


def refuse_attention(path: Path, settings: Mapping[str, Any], fix: str) -> None:
    """Refuse a checkpoint whose probabilities are no softmax.

    Raises
    ------
    InputError
        Naming the hyper-parameter and its value.
    """
    for name in _ATTENTION:
        if settings.get(name) not in _SOFTMAX:
            raise InputError(
                f"{path}: hyper_parameters.{name}",
                f"{settings[name]!r}; softmax attention (flash, normal) is implemented, others "
                "(softpick, criss-cross, hyper, linear) are not",
                fix,
            )


def described(
    path: Path, state: dict[str, torch.Tensor], settings: Mapping[str, Any], fix: str
) -> dict[str, Any]:
    """Return the fields of :class:`ScPRINTFile`; genes are a list, or organism -> list.

    Raises
    ------
    InputError
        If a hyper-parameter is absent, or does not fit the others.
    """
    table = [name for name in _GENE_TABLES if name in state]
    if len(table) != 1:
        raise InputError(f"{path}: gene_encoder.embedding.weight", f"found {table or 'none'}", fix)
    state["gene_encoder.weight"] = state.pop(table[0])
    try:
        listed = settings["genes"]
        if isinstance(listed, Mapping):  # rows follow `organisms`, not the mapping's own order
            listed = [g for organism in settings["organisms"] for g in listed[organism]]
        genes = [str(g) for g in listed]
        where = f"{path}: hyper_parameters"
        d, n_layers, n_heads = (
            as_whole(settings[k], k, where, fix) for k in ("d_model", "nlayers", "nhead")
        )
        kv = settings.get("num_heads_kv")
        n_kv_heads = n_heads if kv is None else as_whole(kv, "num_heads_kv", where, fix)
        # 1.x: class -> count; files saved by 2.x: a list, with the counts beside it
        named = settings.get("classes")
        classes = [str(c) for c in (settings["label_counts"] if named is None else named)]
        normalization = str(settings.get("normalization") or "sum")
        codes = settings.get("gene_pos_enc")
        position = None if codes is None else np.array([int(c) for c in codes], np.int64)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: hyper_parameters", f"cannot be used ({error!r})", fix) from None
    impossible = min(n_heads, n_kv_heads, n_layers) < 1 or n_layers > MOST_LAYERS
    if impossible or d % n_heads or n_heads % n_kv_heads:
        text = f"d_model {d}, nhead {n_heads}, num_heads_kv {kv}, nlayers {n_layers}"
        raise InputError(f"{path}: hyper_parameters", text, fix)
    if len(set(genes)) != len(genes):
        raise InputError(f"{path}: hyper_parameters.genes", "holds a gene twice", fix)
    if position is not None and "pos_encoder.pe" not in state:
        if len(position) != len(genes) or position.min() < 1:
            raise InputError(
                f"{path}: hyper_parameters.gene_pos_enc",
                f"{len(position)} codes for {len(genes)} genes",
                fix,
            )
        state["pos_encoder.pe"] = _position_code(position, d)
    return {
        "path": path, "state": state, "layout": _GENE_TABLES[table[0]], "genes": genes,
        "classes": classes, "normalization": normalization, "n_layers": n_layers,
        "n_heads": n_heads, "n_kv_heads": n_kv_heads, "d": d,
    }  # fmt: skip


def _position_code(position: np.ndarray, d: int) -> torch.Tensor:
    """Return [genes, 1, d]: row p - 1 of the interleaved sine and cosine table (Vaswani 2017)."""
    rate = 10000.0 ** (-np.arange(0, d, 2) / d)
    angle = (position - 1)[:, None] * rate
    code = np.zeros((len(position), d))
    code[:, 0::2], code[:, 1::2] = np.sin(angle), np.cos(angle[:, : d // 2])
    return torch.from_numpy(code.astype(np.float32))[:, None]
