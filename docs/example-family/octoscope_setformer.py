"""SetFormer: a sixth family in one file, as an example to copy.

h0 = E[gene] ln(1 + x)                          for every expressed gene x, one <cell> token first
layer: h' = h + Wo softmax(q k^T / sqrt(d_head)) v, with q, k, v = W LN(h) + b
output = LN(h)                                  (LN without affine part, eps 1e-5)

A family is a class that follows `octoscope.models.protocol.FoundationModel`; the entry point in
`pyproject.toml` is all that Octoscope needs to find it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from octoscope.errors import InputError
from octoscope.genes import GeneTable, symbols_of_ensembl
from octoscope.models import GeneMatch, GeneStatistics, LayerAttention, Tokens, Variant
from octoscope.models.blocks import attend, split_heads
from octoscope.models.gene_matching import by_ensembl
from octoscope.models.protocol import GENE, PAD, TOKEN_KINDS
from octoscope.models.weights import load_state, read_json, take_strict
from scipy import sparse

_CELL = TOKEN_KINDS.index("cell")
_FILES = ("setformer.json", "weights.safetensors")


class SetFormer:
    """A folder with ``setformer.json`` (genes, d, heads, layers) and ``weights.safetensors``."""

    family = "setformer"
    files: tuple[Path, ...] = ()
    special_kinds = ("cell",)
    variants = (Variant("example", "2", "16", "2", ", ".join(_FILES), "this folder", "MIT"),)
    tolerances: Mapping[str, float] = dict.fromkeys(
        ("attn", "hidden", "logits", "lse", "output"), 1e-5
    )

    def __init__(self, weights: dict[str, torch.Tensor], settings: Mapping[str, Any]) -> None:
        self._w = weights
        self.variant = "example"
        self.options: Mapping[str, Any] = {}
        self.n_layers, self.n_heads = int(settings["layers"]), int(settings["heads"])
        self.d = int(settings["d"])
        ids = np.array(settings["genes"], dtype=object)
        self._genes = GeneTable(ids, symbols_of_ensembl(ids))

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Tell whether the folder holds both files."""
        return all((path / name).exists() for name in _FILES)

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> SetFormer:
        """Read the two files; every weight is expected by name and shape."""
        if options:
            raise InputError("models.*.options", f"{dict(options)}", "this family has none")
        settings = read_json(path / _FILES[0], "models.*.path")
        d = int(settings["d"])
        shapes: dict[str, tuple[int, ...]] = {
            "gene.weight": (len(settings["genes"]), d),
            "cell.weight": (1, d),
        }
        for i in range(int(settings["layers"])):
            shapes |= {f"{i}.qkv.weight": (3 * d, d), f"{i}.qkv.bias": (3 * d,)}
            shapes |= {f"{i}.out.weight": (d, d), f"{i}.out.bias": (d,)}
        file = path / _FILES[1]
        weights = take_strict(
            load_state(file), shapes, (), where=str(file), dtype=dtype, device=device
        )
        return cls(weights, settings)

    @property
    def genes(self) -> GeneTable:
        """Genes of the checkpoint in row order."""
        return self._genes

    def match(self, genes: GeneTable) -> GeneMatch:
        """Match Ensembl ids."""
        return by_ensembl(self._genes, genes, "models.*.path: setformer.json")

    def max_tokens(self, match: GeneMatch, expressed: int) -> int:
        """Return the genes that one cell can express, and the cell token."""
        return min(len(match.allowed), expressed) + 1

    def dataset_options(
        self, statistics: GeneStatistics | None, match: GeneMatch
    ) -> dict[str, Any] | None:
        """Nothing depends on other cells."""
        return {}

    def tokenize(self, counts: sparse.csr_matrix, match: GeneMatch, cell_ids: np.ndarray) -> Tokens:
        """Return the cell token, then expressed genes in row order with ln(1 + count)."""
        matched = match.model_counts(counts)[:, match.allowed].tocsr()
        n = np.diff(matched.indptr)
        shape = (len(cell_ids), 1 + int(n.max(initial=0)))
        gene = np.full(shape, -1, np.int32)
        kind = np.full(shape, PAD, np.int8)
        value, row = np.zeros(shape, np.float32), np.zeros(shape, np.int64)
        for c in np.flatnonzero(n):
            part = slice(matched.indptr[c], matched.indptr[c + 1])
            genes, at = match.allowed[matched.indices[part]], slice(1, 1 + n[c])
            gene[c, at], row[c, at], kind[c, at] = genes, genes, GENE
            value[c, at] = np.log1p(matched.data[part])
            kind[c, 0] = _CELL
        return Tokens(np.asarray(cell_ids), gene, kind, value, row, kind != PAD)

    def embed(self, tokens: Tokens) -> torch.Tensor:
        """Return the residual stream [cells, tokens, d]."""
        row, value, kind = (torch.from_numpy(a) for a in (tokens.row, tokens.value, tokens.kind))
        scaled = F.embedding(row, self._w["gene.weight"]) * value[..., None]
        return torch.where((kind == _CELL)[..., None], self._w["cell.weight"][0], scaled)

    def layer(
        self, i: int, residual: torch.Tensor, mask: torch.Tensor
    ) -> tuple[LayerAttention, torch.Tensor]:
        """Run layer ``i``; q and k are what the softmax really sees."""
        y = self.output(residual)
        fused = F.linear(y, self._w[f"{i}.qkv.weight"], self._w[f"{i}.qkv.bias"])
        q, k, v = (split_heads(x, self.n_heads) for x in fused.chunk(3, -1))
        out = F.linear(attend(q, k, v, mask), self._w[f"{i}.out.weight"], self._w[f"{i}.out.bias"])
        return LayerAttention(q, k, 1 / math.sqrt(q.shape[-1]), mask), residual + out

    def gene_embeddings(self, genes: np.ndarray) -> torch.Tensor:
        """Return [genes, d]: rows of the table. Leave the method out where there is no table."""
        return F.embedding(torch.from_numpy(genes), self._w["gene.weight"])

    def output(self, residual: torch.Tensor) -> torch.Tensor:
        """Return the normalised residual stream."""
        return F.layer_norm(residual, residual.shape[-1:], eps=1e-5)
