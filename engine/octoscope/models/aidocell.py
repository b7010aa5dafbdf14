"""AIDO.Cell (GenBio AI), native: the encoder of the published 3M, 10M and 100M models.

value v: u = leaky_relu_0.1(v w1 + b1); a = softmax(alpha u + W2 u + b2) over bins; e = a T
h0 = e(v) + P[position in the gene list]
layer: y = LN(h); h' = h + Wo softmax(q k^T / sqrt(d_head)) v
       h'' = h' + Wdown (silu(Wgate z) * Wup z), z = LN(h')        (pre-norm, eps of the config)
output = LN(h)

Tokens: all 19,264 list genes, zeros included, then two depth tokens, no mask.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, field_validator
from scipy import sparse

from octoscope.bounded_reads import read_bounded
from octoscope.errors import InputError
from octoscope.models.blocks import (
    attend,
    by_cell,
    embed_values,
    head_weights,
    layer_norm,
    split_heads,
)
from octoscope.models.family_options import read_options
from octoscope.models.gene_list import gene_list_19264
from octoscope.models.gene_matching import OnGeneList
from octoscope.models.head_counts import heads_of, settled_heads
from octoscope.models.key_prefixes import renamed, unwrapped
from octoscope.models.protocol import (
    GENE,
    PAD,
    TOKEN_KINDS,
    GeneMatch,
    GeneStatistics,
    LayerAttention,
    Tokens,
    Variant,
)
from octoscope.models.weight_files import folder_of, holds_weight, outside, weights_in
from octoscope.models.weights import MOST_LAYERS, load_state, read_json, take_strict
from octoscope.models.whole_numbers import as_whole

_DEPTH = TOKEN_KINDS.index("depth")
_TARGET, _LOG10_FLOOR, _CAP = 1e4, 5.0, 20.0
# Heads that do not enter the encoder, one by one; proof: tests/models/test_ignored_weights.py.
HEADS = (
    "cls.predictions.transform.",
    "cls.predictions.decoder.",
    "cls.predictions.bias",
    "adapter.",
    "classifier.",
)
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_SIZES = (
    "num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size", "bin_num",
    "max_position_embeddings",
)  # fmt: skip
_ANCHOR = "gene_embedding.lookup_table.weight"
_FILES = "config.json, pytorch_model.bin"
_LICENCE = "GenBio AI community licence"
_FIXED = {
    "model_type": "cellfoundation",
    "normalization_type": "LayerNorm",
    "position_embedding_type": "absolute",
    "hidden_act": "swiglu",
}
_MAY_LACK = ("position_embedding_type", "hidden_act")  # the class's own defaults


class AIDOCellOptions(BaseModel):
    """Settings of AIDO.Cell's input.

    ``context``: ``full``, the published input, or ``shared``: only list genes that the atlas has
    (values as in the full input). A shorter input changes every hidden state.
    ``n_heads``: heads of attention, where ``config.json`` is wrong or cannot be confirmed.
    ``ignored_weights``: beginnings of weights that are heads on the encoder's output.
    """

    model_config = ConfigDict(extra="forbid")

    context: Literal["full", "shared"] = "full"
    depth_tokens: Literal[0, 2] = 2
    n_heads: int | None = Field(None, ge=1)
    ignored_weights: list[str] = []

    @field_validator("context", mode="before")
    @classmethod
    def _spelled_out(cls, value: Any) -> Any:
        return "shared" if str(value).startswith("genes shared by") else value


class AIDOCell(OnGeneList):
    """AIDO.Cell: a folder with ``config.json`` and ``pytorch_model.bin`` or safetensors."""

    family = "aidocell"
    special_kinds = ("depth",)
    variants = (
        Variant("3M", "6", "128", "4", _FILES, "huggingface.co/genbio-ai/AIDO.Cell-3M", _LICENCE),
        Variant("10M", "8", "256", "8", _FILES, "huggingface.co/genbio-ai/AIDO.Cell-10M", _LICENCE),
        Variant(
            "100M", "18", "640", "20", _FILES, "huggingface.co/genbio-ai/AIDO.Cell-100M", _LICENCE
        ),
    )
    # fp32 against the authors' code at full length (docs/models.md)
    tolerances: Mapping[str, float] = {
        "attn": 1e-5,
        "attn_rel": 1e-3,
        "hidden": 2e-4,
        "logits": 1e-4,
        "lse": 1e-4,
        "output": 2e-4,
    }

    def __init__(
        self,
        weights: dict[str, torch.Tensor],
        config: Mapping[str, Any],
        settings: AIDOCellOptions,
        files: tuple[Path, ...] = (),
    ) -> None:
        self._w = weights
        self.files = files
        self._settings = settings
        self._eps = float(config["layer_norm_eps"])
        self._alpha = float(config["bin_alpha"])
        self._mask_id = float(config.get("mask_token_id", -1))
        self._pad_id = float(config.get("pad_token_id", -2))
        self.n_layers = int(config["num_hidden_layers"])
        self.n_heads = int(config["num_attention_heads"])
        self.d = int(config["hidden_size"])
        size = (str(self.n_layers), str(self.d), str(self.n_heads))
        known = {(v.n_layers, v.d, v.n_heads): v.name for v in self.variants}
        self.variant = known.get(size, "custom")
        self.options: Mapping[str, Any] = settings.model_dump()
        table = weights["position_embedding.weight"]
        self._device, self._dtype = table.device, table.dtype

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Tell whether ``config.json`` names AIDO.Cell's model type, or the weights are its own."""
        config = folder_of(path) / "config.json"
        with suppress(OSError):
            if b'"cellfoundation"' in read_bounded(config):
                return True
        return holds_weight(path, _WEIGHTS, _ANCHOR)

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> AIDOCell:
        """Read the published files; dimensions come from ``config.json``, checked on the tensors.

        Raises
        ------
        InputError
            If a file is absent or damaged, a setting is not one of the published models', an
            option unknown, or a weight missing, unexpected or of the wrong shape.
        """
        where = folder_of(path) / "config.json"
        config = read_json(where, "models.*.path")
        for name, value in _FIXED.items():
            if config.get(name, value if name in _MAY_LACK else None) != value:
                raise InputError(
                    f"{where}: {name}",
                    f"{config.get(name)!r}, the published models have {value!r}",
                    "give a published AIDO.Cell folder",
                )
        try:
            for name in _SIZES:
                as_whole(config.get(name, 0), name, str(where), "give AIDO.Cell's own config.json")
            shapes = expected_shapes(config)
            float(config["bin_alpha"])
            float(config.get("mask_token_id", -1)), float(config.get("pad_token_id", -2))
            if float(config["layer_norm_eps"]) < 0:
                raise ValueError(f"layer_norm_eps {config['layer_norm_eps']}")
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise InputError(
                str(where), f"cannot be used ({error!r})", "give AIDO.Cell's own config.json"
            ) from None
        n_genes = int(config["max_position_embeddings"])
        if n_genes != len(gene_list_19264()):
            raise InputError(
                f"{where}: max_position_embeddings",
                f"{n_genes}; the published gene list has {len(gene_list_19264())}",
                "give a published AIDO.Cell folder",
            )
        settings = read_options(AIDOCellOptions, options)
        config["num_attention_heads"] = heads_of(
            cls.family, int(config["num_hidden_layers"]), int(config["hidden_size"]),
            int(config["num_attention_heads"]), settings.n_heads,
            where=f"{where}: num_attention_heads",
        )  # fmt: skip
        file = weights_in(path, _WEIGHTS) or path / _WEIGHTS[-1]
        # the published file holds the masked-language-model class, its encoder under `bert.`
        state = unwrapped(
            load_state(file, finite=False), _ANCHOR, where=str(file), inner=("bert.", "")
        )
        state = renamed(state, lambda n: n.removeprefix("bert."), where=str(file))
        weights = take_strict(
            state, shapes, HEADS, where=str(file), dtype=dtype, device=device,
            declared=settings.ignored_weights,
        )  # fmt: skip
        return cls(weights, config, settings, files=outside(path, where, file))

    def max_tokens(self, match: GeneMatch, expressed: int) -> int:
        """Return the length of every cell's input."""
        return len(self._context(match)) + self._settings.depth_tokens

    def dataset_options(
        self, statistics: GeneStatistics | None, match: GeneMatch
    ) -> dict[str, Any] | None:
        """Fix the heads; nothing depends on other cells."""
        return dict(settled_heads(self.family, self.n_layers, self.d, self.n_heads))

    def _context(self, match: GeneMatch) -> np.ndarray:
        if match.panel is not None:
            return match.allowed
        return match.matched if self._settings.context == "shared" else np.arange(len(self.genes))

    def tokenize(self, counts: sparse.csr_matrix, match: GeneMatch, cell_ids: np.ndarray) -> Tokens:
        """Return one token per gene of the context, zeros included, then the depth tokens.

        v = ln(1 + count / s * 1e4), s = total over list genes; depth = max(log10 s, 5) twice;
        all capped at 20. A cell without list genes gets padding only (its values are undefined).
        """
        matched = match.model_counts(counts)
        total = np.asarray(matched.sum(axis=1), np.float64).ravel()
        usable = total > 0
        context, depth = self._context(match), self._settings.depth_tokens
        n, shape = len(context), (len(cell_ids), len(context) + depth)
        gene, kind = np.empty(shape, np.int32), np.full(shape, GENE, np.int8)
        row = np.empty(shape, np.int64)
        gene[:] = np.r_[context, np.full(depth, -1)]
        row[:] = np.r_[context, len(self.genes) + np.arange(depth)]
        value = np.zeros(shape, np.float32)
        # ln(1 + 0) is 0: only what is above 0 is computed
        position = np.full(len(self.genes), -1)
        position[context] = np.arange(n)
        cell = np.repeat(np.arange(len(cell_ids)), np.diff(matched.indptr))
        at = position[matched.indices]
        inside = (at >= 0) & usable[cell]
        cell, at, raw = cell[inside], at[inside], matched.data[inside].astype(np.float64)
        value[cell, at] = np.minimum(np.log1p(raw / total[cell] * _TARGET), _CAP)
        if depth:
            level = np.clip(np.log10(total[usable]), _LOG10_FLOOR, _CAP)
            kind[usable, n:], value[usable, n:] = _DEPTH, level[:, None]
        if not usable.all():
            gene[~usable], kind[~usable], value[~usable] = -1, PAD, self._pad_id
        return Tokens(np.asarray(cell_ids), gene, kind, value, row, kind != PAD)

    def embed(self, tokens: Tokens) -> torch.Tensor:
        """Return the residual stream, float32 whatever the weights' dtype."""
        w, p = self._w, "gene_embedding."
        value = torch.from_numpy(tokens.value).to(self._device)
        row = torch.from_numpy(tokens.row).to(self._device)
        e = embed_values(
            value,
            (w[p + "linear1.weight"], w[p + "linear1.bias"]),
            (w[p + "linear2.weight"], w[p + "linear2.bias"]),
            w[p + "lookup_table.weight"],
            self._alpha,
            {
                self._mask_id: w[p + "mask_embedding.weight"][0],
                self._pad_id: w[p + "pad_embedding.weight"][0],
            },
        )
        return e.float() + F.embedding(row, w["position_embedding.weight"]).float()

    def layer(
        self, i: int, residual: torch.Tensor, mask: torch.Tensor
    ) -> tuple[LayerAttention, torch.Tensor]:
        """Run layer ``i`` (pre-norm)."""
        p = f"encoder.layer.{i}."
        y = self._norm(residual, p + "attention.ln")
        q, k, v = (
            split_heads(self._linear(y, f"{p}attention.self.{n}"), self.n_heads)
            for n in ("query", "key", "value")
        )
        residual = residual + self._linear(attend(q, k, v, mask), p + "attention.output.dense")
        z = self._norm(residual, p + "ln")
        gated = by_cell(F.silu, self._linear(z, p + "mlp.gate_proj"))
        gated = gated * self._linear(z, p + "mlp.up_proj")
        residual = residual + self._linear(gated, p + "mlp.down_proj")
        return LayerAttention(q, k, 1 / math.sqrt(q.shape[-1]), mask), residual

    def projections(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return W_q and W_k of layer ``i``, each [heads, d_head, d], without biases."""
        name = f"encoder.layer.{i}.attention.self"
        q, k = (self._w[f"{name}.{n}.weight"] for n in ("query", "key"))
        return head_weights(q, self.n_heads), head_weights(k, self.n_heads)

    def gene_embeddings(self, genes: np.ndarray) -> torch.Tensor:
        """Return [genes, d]: P[place in the list], which alone tells genes apart."""
        row = torch.from_numpy(genes).to(self._device)
        return F.embedding(row, self._w["position_embedding.weight"])

    def output(self, residual: torch.Tensor) -> torch.Tensor:
        """Return the final LayerNorm of the residual stream."""
        return self._norm(residual, "encoder.ln")

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, self._w[f"{name}.weight"], self._w.get(f"{name}.bias"))

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return layer_norm(x, self._w[f"{name}.weight"], self._w[f"{name}.bias"], self._eps)


def expected_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of every encoder weight."""
    d, ff, bins = (int(config[k]) for k in ("hidden_size", "intermediate_size", "bin_num"))
    n_layers, heads = int(config["num_hidden_layers"]), int(config["num_attention_heads"])
    if heads < 1 or d % heads or not 1 <= n_layers <= MOST_LAYERS:
        raise ValueError(f"hidden_size {d}, num_attention_heads {heads}, layers {n_layers}")
    biased = bool(config.get("add_linear_bias", False))
    shapes: dict[str, tuple[int, ...]] = {
        "gene_embedding.linear1.weight": (bins, 1),
        "gene_embedding.linear1.bias": (bins,),
        "gene_embedding.linear2.weight": (bins, bins),
        "gene_embedding.linear2.bias": (bins,),
        "gene_embedding.lookup_table.weight": (bins, d),
        "gene_embedding.mask_embedding.weight": (1, d),
        "gene_embedding.pad_embedding.weight": (1, d),
        "position_embedding.weight": (int(config["max_position_embeddings"]) + 2, d),
    }
    norms = ["encoder.ln"]
    linear: dict[str, tuple[int, int]] = {}
    for i in range(n_layers):
        p = f"encoder.layer.{i}."
        norms += [p + "attention.ln", p + "ln"]
        linear |= {p + f"attention.self.{n}": (d, d) for n in ("query", "key", "value")}
        linear |= {
            p + "attention.output.dense": (d, d),
            p + "mlp.up_proj": (ff, d),
            p + "mlp.gate_proj": (ff, d),
            p + "mlp.down_proj": (d, ff),
        }
    for name in norms:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (d,)
    for name, shape in linear.items():
        shapes[f"{name}.weight"] = shape
        if biased:
            shapes[f"{name}.bias"] = (shape[0],)
    return shapes
