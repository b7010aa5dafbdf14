"""Nicheformer (Tejada-Lapuerta, Schaar et al. 2025): BERT-like layers over genes in falling order.

rank value: v_g = count_g / m_g, m_g of the mean in the technology; tokens in falling order of v
h0 = E[token] + P[place]
layer: y = LN(h + Wo softmax(q k^T / sqrt(d_head)) v + bo)
       h' = LN(y + W2 relu(W1 y + b1) + b2)                          (post-norm, eps 1e-12)

Species, assay and modality are tokens before the genes. Factors that are common to a cell, and the
logarithm, change no order. Read from the published Hugging Face files or the Lightning checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse

from octoscope.genes import GeneTable, strip_version, symbols_of_ensembl
from octoscope.models.blocks import attend, head_weights, split_heads
from octoscope.models.family_options import read_options
from octoscope.models.gene_matching import by_ensembl
from octoscope.models.head_counts import settled_heads
from octoscope.models.nicheformer_file import (
    ANCHOR,
    POSITIONS,
    WEIGHTS,
    NicheformerOptions,
    context_rows,
    gene_means,
    read_file,
)
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
from octoscope.models.ragged import kept, ranked, token_mask
from octoscope.models.weight_files import holds_weight, outside

_CONTEXT = TOKEN_KINDS.index("context")
_PAD_ROW = 1
_EPS = 1e-12


class Nicheformer:
    """Nicheformer: a Hugging Face folder, or a Lightning checkpoint with its vocabulary."""

    family = "nicheformer"
    special_kinds: tuple[str, ...] = ("context",)
    variants = (
        Variant(
            "Nicheformer", "12", "512", "16",
            "config.json, model.safetensors, vocab.json; a technology's mean (.npy) of the "
            "authors' code",
            "huggingface.co/theislab/Nicheformer; means in github.com/theislab/nicheformer",
            "code BSD-3-Clause; the weights' own terms",
        ),
    )  # fmt: skip
    # fp32 against the authors' code (docs/models.md)
    tolerances: Mapping[str, float] = {
        "attn": 2e-6,
        "hidden": 1e-5,
        "logits": 1e-5,
        "lse": 1e-5,
        "output": 1e-5,
    }

    def __init__(
        self,
        weights: dict[str, torch.Tensor],
        rows: dict[str, int],
        context: list[int],
        mean: np.ndarray,
        settings: NicheformerOptions,
        *,
        n_layers: int,
        n_heads: int,
        length: int,
        files: tuple[Path, ...],
    ) -> None:
        self._w, self._context, self._settings = weights, context, settings
        self.n_layers, self.n_heads, self._length = n_layers, n_heads, length
        self.d = int(weights[ANCHOR].shape[1])
        self.files = files
        size = (n_layers, self.d, n_heads)
        self.variant = "Nicheformer" if size == (12, 512, 16) else "custom size"
        self.special_kinds = ("context",) if context else ()
        self.options: Mapping[str, Any] = settings.model_dump()
        names = sorted(rows, key=rows.__getitem__)
        self._rows, self._mean = np.array([rows[g] for g in names], np.int64), mean
        # of tokens that are copies of a gene no atlas has a count
        ids = np.array([strip_version(g) or "" for g in names], dtype=object)
        self._genes = GeneTable(ids, symbols_of_ensembl(ids))

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Tell whether the weights file holds Nicheformer's embedding and position tables."""
        return holds_weight(path, WEIGHTS, ANCHOR) and holds_weight(path, WEIGHTS, POSITIONS)

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> Nicheformer:
        """Read weights, vocabulary and means; dimensions come from the files.

        Raises
        ------
        InputError
            If a file is absent or damaged, files do not belong together, an option is unknown or
            needed, or a weight is missing, unexpected or of the wrong shape.
        """
        settings = read_options(NicheformerOptions, options)
        file = read_file(path, settings)
        mean, mean_file = gene_means(settings, file)
        given = {} if mean_file is None else {"technology_mean": str(mean_file)}
        settings = settings.model_copy(update=given | {"vocabulary": str(file.vocabulary)})
        return cls(
            file.take(dtype, device, settings.ignored_weights),
            file.genes,
            context_rows(settings),
            mean,
            settings,
            n_layers=file.n_layers,
            n_heads=file.n_heads,
            length=file.length,
            files=(
                *outside(path, *file.files),
                *(() if mean_file is None else outside(path, mean_file)),
            ),
        )

    @property
    def genes(self) -> GeneTable:
        """Gene tokens in the order of their rows."""
        return self._genes

    def match(self, genes: GeneTable) -> GeneMatch:
        """Match Ensembl ids.

        Raises
        ------
        InputError
            If no gene of the atlas is in the vocabulary.
        """
        return by_ensembl(self._genes, genes, "models.*.path: vocab.json")

    def max_tokens(self, match: GeneMatch, expressed: int) -> int:
        """Return the largest input: expressed genes and the context, up to the model's length."""
        return min(self._length, min(len(match.allowed), expressed) + len(self._context))

    def dataset_options(
        self, statistics: GeneStatistics | None, match: GeneMatch
    ) -> dict[str, Any] | None:
        """Fix the heads, and where vocabulary and means are: every worker reads the same ones."""
        s = self._settings
        files = {"vocabulary": s.vocabulary, "technology_mean": s.technology_mean}
        return files | settled_heads(self.family, self.n_layers, self.d, self.n_heads)

    def tokenize(self, counts: sparse.csr_matrix, match: GeneMatch, cell_ids: np.ndarray) -> Tokens:
        """Return the context and the expressed genes by falling count / mean, cut at the length.

        Ties are broken by token row (upstream: by an unstable sort).
        """
        matched = match.model_counts(counts)
        panel = np.zeros(len(self._genes), bool)
        panel[match.allowed] = True
        inside = panel[matched.indices] & (matched.data > 0)
        indptr, (genes, raw) = kept(inside, matched.indptr, matched.indices, matched.data)
        values = raw.astype(np.float64) / self._mean[genes]
        first = len(self._context)
        room = self._length - first
        n = np.minimum(np.diff(indptr), room)
        lengths = np.where(n > 0, n + first, 0)  # nothing of the model: padding only
        shape = (len(cell_ids), int(lengths.max(initial=1)))
        is_token = token_mask(n, shape[1], first)
        gene = np.full(shape, -1, np.int32)
        gene[is_token] = genes[ranked(values, indptr, room)]
        kind = np.where(is_token, np.int8(GENE), np.int8(PAD))
        row = np.append(self._rows, _PAD_ROW)[gene]
        cells = np.flatnonzero(n)
        for position, token in enumerate(self._context if len(cells) else ()):
            kind[cells, position], row[cells, position] = _CONTEXT, token
        value = np.full(shape, np.nan, np.float32)
        return Tokens(np.asarray(cell_ids), gene, kind, value, row, kind != PAD)

    def embed(self, tokens: Tokens) -> torch.Tensor:
        """Return [cells, tokens, d]: row of the token plus row of its place."""
        table = self._w[ANCHOR]
        row = torch.from_numpy(tokens.row).to(table.device)
        return F.embedding(row, table) + self._w[POSITIONS][: row.shape[1]]

    def layer(
        self, i: int, residual: torch.Tensor, mask: torch.Tensor
    ) -> tuple[LayerAttention, torch.Tensor]:
        """Run layer ``i`` (post-norm)."""
        p = f"encoder.layers.{i}."
        attention = p + "self_attn."
        weight, bias = self._w[attention + "in_proj_weight"], self._w[attention + "in_proj_bias"]
        q, k, v = (
            split_heads(x, self.n_heads) for x in F.linear(residual, weight, bias).chunk(3, -1)
        )
        attended = self._linear(attend(q, k, v, mask), attention + "out_proj")
        y = self._norm(residual + attended, p + "norm1")
        z = self._linear(F.relu(self._linear(y, p + "linear1")), p + "linear2")
        scale = 1 / math.sqrt(self.d // self.n_heads)
        return LayerAttention(q, k, scale, mask), self._norm(y + z, p + "norm2")

    def projections(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return W_q and W_k of layer ``i``, each [heads, d_head, d], without biases."""
        q, k, _ = self._w[f"encoder.layers.{i}.self_attn.in_proj_weight"].chunk(3)
        return head_weights(q, self.n_heads), head_weights(k, self.n_heads)

    def gene_embeddings(self, genes: np.ndarray) -> torch.Tensor:
        """Return [genes, d]: rows of the token table, without place."""
        table = self._w[ANCHOR]
        return F.embedding(torch.from_numpy(self._rows[genes]).to(table.device), table)

    def output(self, residual: torch.Tensor) -> torch.Tensor:
        """Return the residual itself: the last operation is the layer's own LayerNorm."""
        return residual

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, self._w[f"{name}.weight"], self._w[f"{name}.bias"])

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = self._w[f"{name}.weight"], self._w[f"{name}.bias"]
        return F.layer_norm(x, x.shape[-1:], weight, bias, eps=_EPS)
