"""scFoundation (Hao et al. 2024), native: the encoder of the published file's sections.

value v: u = leaky_relu_0.1(v w1 + b1); a = softmax(alpha u + W2 u + b2) over bins; e = a T
h0 = e(v) + P[place in the gene list]
layer: y = LN1(h + Wo softmax(q k^T / sqrt(d_head)) v + bo)
       h' = LN2(y + W2 relu(W1 y + b1) + b2)                       (post-norm, eps 1e-5)
output = LN(h)

Tokens: the cell's expressed list genes in list order, then T and S (target and source depth). The
decoder is a Performer: its random-feature kernel has no probability matrix, so it is not read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, field_validator
from scipy import sparse

from octoscope.models.blocks import attend, embed_values, head_weights, split_heads
from octoscope.models.family_options import read_options
from octoscope.models.gene_matching import OnGeneList
from octoscope.models.protocol import (
    GENE,
    PAD,
    TOKEN_KINDS,
    GeneMatch,
    LayerAttention,
    Tokens,
    Variant,
)
from octoscope.models.ragged import kept, padded, token_mask
from octoscope.models.scfoundation_file import SECTIONS, ScFoundationFile, read_section
from octoscope.models.weight_files import checkpoint_in, require_checkpoint_in, text_inside

_COUNT = TOKEN_KINDS.index("count")
_TARGET = 1e4


class ScFoundationOptions(BaseModel):
    """Settings of scFoundation's input.

    ``section``: ``gene`` (gene-level work), ``cell`` or ``rde``; each has weights of its own.
    ``target``: what T and S carry; s is the cell's total over list genes, S = log10 s.
    ``tX``: T = X (published default ``t4``); ``aX``: T = S + X; ``fX``: T = log10(X s);
    ``bulk``: T = S; ``modelgenerator``: T = S = log10 of the sum of normalised values, as that
    package computes both.
    ``ignored_weights``: beginnings of weights that are heads on the encoder's output.
    """

    model_config = ConfigDict(extra="forbid")

    section: Literal["gene", "cell", "rde"] = "gene"
    target: str = "t4"
    # counts are checked to be raw; the name is accepted because dumps of the authors' code state it
    pre_normalized: Literal[False] = False
    ignored_weights: list[str] = []

    @field_validator("target")
    @classmethod
    def _known(cls, value: str) -> str:
        number = r"-?\d+(\.\d+)?([eE][+-]?\d+)?"
        if not re.fullmatch(rf"[taf]{number}|bulk|modelgenerator", value):
            raise ValueError("use t4 or another tX, aX, fX with a number X, bulk, modelgenerator")
        if value[0] == "f" and float(value[1:]) <= 0:
            raise ValueError("fX needs X above 0")
        return value


class ScFoundation(OnGeneList):
    """scFoundation: the published file ``models.ckpt``, or a folder that holds it."""

    family = "scfoundation"
    files: tuple[Path, ...] = ()
    special_kinds = ("count",)
    variants = tuple(
        Variant(
            f"section {name}", "12", "768", "12", "models.ckpt",
            "huggingface.co/genbio-ai/scFoundation",
            "code Apache-2.0; the weights' own terms",
        )
        for name in SECTIONS
    )  # fmt: skip
    # fp32 against the authors' code (docs/models.md)
    tolerances: Mapping[str, float] = {
        "attn": 5e-6,
        "hidden": 2e-5,
        "logits": 2e-5,
        "lse": 2e-5,
        "output": 2e-5,
    }

    def __init__(
        self,
        weights: dict[str, torch.Tensor],
        file: ScFoundationFile,
        settings: ScFoundationOptions,
    ) -> None:
        self._w = weights
        self._file = file
        self._settings = settings
        self.n_layers, self.n_heads, self.d = file.n_layers, file.n_heads, file.d
        published = (file.n_layers, file.d, file.n_heads) == (12, 768, 12)
        self.variant = settings.section if published else f"{settings.section}, custom size"
        self.options: Mapping[str, Any] = settings.model_dump()
        self._device = weights["pos_emb.weight"].device

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Tell whether this is scFoundation's torch file, or a folder that holds it."""
        checkpoint = checkpoint_in(path)
        return checkpoint is not None and "mae_autobin" in text_inside(checkpoint)

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> ScFoundation:
        """Read one section of the published file without running code from it.

        Raises
        ------
        InputError
            If the file is absent, damaged or of another architecture, the section absent, an
            option unknown, or a weight missing, unexpected or of the wrong shape.
        """
        settings = read_options(ScFoundationOptions, options)
        checkpoint = require_checkpoint_in(path, "give scFoundation's models.ckpt")
        file = read_section(checkpoint, settings.section)
        return cls(file.take(dtype, device, settings.ignored_weights), file, settings)

    def max_tokens(self, match: GeneMatch, expressed: int) -> int:
        """Return the genes that one cell can express among those allowed, and T and S."""
        return min(len(match.allowed), expressed) + 2

    def tokenize(self, counts: sparse.csr_matrix, match: GeneMatch, cell_ids: np.ndarray) -> Tokens:
        """Return expressed list genes in list order, then T and S; those at or below 0 vanish.

        v = ln(1 + count / s * 1e4). A panel leaves out tokens; s still counts every list gene.
        """
        matched = match.model_counts(counts)
        total = np.asarray(matched.sum(axis=1), np.float64).ravel()
        panel = np.zeros(len(self.genes), bool)
        panel[match.allowed] = True
        indptr, (genes, raw) = kept(matched.data > 0, matched.indptr, matched.indices, matched.data)
        lengths = np.diff(indptr)
        value = np.log1p(raw / np.repeat(np.maximum(total, 1.0), lengths) * _TARGET)
        depth = [
            self._depth(total[c], value[indptr[c] : indptr[c + 1]]) if n else []
            for c, n in enumerate(lengths.tolist())
        ]
        indptr, (genes, value) = kept(panel[genes], indptr, genes, value)
        return self._assemble(genes, value, indptr, depth, cell_ids)

    def _depth(self, total: float, normalised: np.ndarray) -> list[tuple[int, float]]:
        """Return (row, value) of the tokens T and S that are above 0, of a cell with counts."""
        target, source = self._settings.target, math.log10(total)
        if target == "modelgenerator":
            first = source = math.log10(float(normalised.sum()))
        elif target == "bulk":
            first = source
        else:
            x = float(target[1:])
            first = {"t": x, "a": source + x, "f": math.log10(total * max(x, 1e-300))}[target[0]]
        n = len(self.genes)
        return [(n + i, v) for i, v in enumerate((first, source)) if v > 0]

    def _assemble(
        self, genes: np.ndarray, values: np.ndarray, indptr: np.ndarray,
        depth: list[list[tuple[int, float]]], cell_ids: np.ndarray,
    ) -> Tokens:  # fmt: skip
        lengths = np.diff(indptr)
        # a cell of which nothing of the model is expressed: padding only
        depth = [levels if n else [] for levels, n in zip(depth, lengths.tolist(), strict=True)]
        width = max((n + len(d) for n, d in zip(lengths.tolist(), depth, strict=True)), default=0)
        shape = (len(depth), max(width, 1))
        gene = padded(genes, indptr, shape, -1, np.int32)
        kind = np.where(token_mask(lengths, shape[1]), np.int8(GENE), np.int8(PAD))
        value = padded(values, indptr, shape, np.nan, np.float32)
        row = gene.astype(np.int64)
        for c, levels in enumerate(depth):
            for i, (token_row, level) in enumerate(levels, start=int(lengths[c])):
                kind[c, i], value[c, i], row[c, i] = _COUNT, level, token_row
        return Tokens(np.asarray(cell_ids), gene, kind, value, row, kind != PAD)

    def embed(self, tokens: Tokens) -> torch.Tensor:
        """Return the residual stream; padding takes the pad row of both tables."""
        w, p = self._w, "token_emb."
        pad = self._file.pad_value
        value = torch.from_numpy(np.where(tokens.mask, tokens.value, np.float32(pad)))
        row = torch.from_numpy(np.where(tokens.mask, tokens.row, len(self.genes) + 2))
        e = embed_values(
            value.to(self._device),
            (w[p + "mlp.weight"], w[p + "mlp.bias"]),
            (w[p + "mlp2.weight"], w[p + "mlp2.bias"]),
            w[p + "emb.weight"],
            self._file.bin_alpha,
            {self._file.mask_value: w[p + "emb_mask.weight"][0], pad: w[p + "emb_pad.weight"][0]},
        )
        return e + F.embedding(row.to(self._device), w["pos_emb.weight"])

    def layer(
        self, i: int, residual: torch.Tensor, mask: torch.Tensor
    ) -> tuple[LayerAttention, torch.Tensor]:
        """Run layer ``i`` (post-norm): q and k are taken from the residual stream itself."""
        p = f"encoder.transformer_encoder.{i}."
        fused = F.linear(
            residual, self._w[p + "self_attn.in_proj_weight"], self._w[p + "self_attn.in_proj_bias"]
        )
        q, k, v = (split_heads(x, self.n_heads) for x in fused.chunk(3, -1))
        attended = self._linear(attend(q, k, v, mask), p + "self_attn.out_proj")
        y = self._norm(residual + attended, p + "norm1")
        z = self._linear(F.relu(self._linear(y, p + "linear1")), p + "linear2")
        after = self._norm(y + z, p + "norm2")
        return LayerAttention(q, k, 1 / math.sqrt(q.shape[-1]), mask), after

    def projections(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return W_q and W_k of layer ``i``, each [heads, d_head, d], without biases."""
        q, k, _ = self._w[f"encoder.transformer_encoder.{i}.self_attn.in_proj_weight"].chunk(3)
        return head_weights(q, self.n_heads), head_weights(k, self.n_heads)

    def gene_embeddings(self, genes: np.ndarray) -> torch.Tensor:
        """Return [genes, d]: P[place in the list], which alone tells genes apart."""
        row = torch.from_numpy(genes).to(self._device)
        return F.embedding(row, self._w["pos_emb.weight"])

    def output(self, residual: torch.Tensor) -> torch.Tensor:
        """Return the encoder's final LayerNorm, which follows the last layer's own."""
        return self._norm(residual, "encoder.norm")

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, self._w[f"{name}.weight"], self._w[f"{name}.bias"])

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = self._w[f"{name}.weight"], self._w[f"{name}.bias"]
        return F.layer_norm(x, x.shape[-1:], weight, bias, eps=1e-5)
