"""scPRINT v1 (Kalfon et al. 2025), native: small, medium and large; 1.x and 2.x files.

value s: f(s) = W4 relu(LN(W0 min(max(s, 0), 1e5) + b0)) + b4
gene token: E[g] + f_expr(s_g) + PE[g]; depth token: f_depth(log2(1 + D)); cell and class: C[row]
s_g = x_g / sum of x over the context (`sum`) or log2(1 + x_g) (`log`); D = total over all genes
layer: a = LN1(h); h' = h + Wo softmax(q k^T / sqrt(d_head)) v + bo
       h'' = h' + W2 gelu(W1 LN2(h') + b1) + b2                    (pre-norm, eps 1e-6)
output = LN(h)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse

from octoscope.errors import InputError
from octoscope.genes import GeneTable, select_genes, symbols_of_ensembl
from octoscope.models.blocks import attend, by_cell, head_weights, layer_norm, split_heads
from octoscope.models.family_options import read_options
from octoscope.models.gene_matching import by_ensembl
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
from octoscope.models.scprint_file import (
    ScPRINTFile,
    names_scprint,
    names_scprint2,
    read_file,
)
from octoscope.models.scprint_tokens import (
    ORDERS,
    PER_CELL,
    ScPRINT2Options,
    ScPRINTOptions,
    choose_in_cell,
    choose_overall,
)
from octoscope.models.weight_files import checkpoint_in, require_checkpoint_in, text_inside

_DEPTH, _CELL, _CLASS = (TOKEN_KINDS.index(k) for k in ("depth", "cell", "class"))
_MAX_VALUE = 1e5
_SOURCE, _LICENCE = "huggingface.co/jkobject/scPRINT", "Apache-2.0 (weights)"


class ScPRINT:
    """scPRINT: a Lightning checkpoint (`.ckpt`), or a folder that holds one."""

    family = "scprint"
    files: tuple[Path, ...] = ()
    special_kinds: tuple[str, ...] = ("depth", "cell", "class")
    # head counts of the published files are read from them: training configurations disagree
    variants: tuple[Variant, ...] = (
        Variant("small", "4", "128", "from the file", "small-v1.ckpt", _SOURCE, _LICENCE),
        Variant("medium", "8", "256", "from the file", "medium-v1.5.ckpt", _SOURCE, _LICENCE),
        Variant("large", "16", "512", "from the file", "large-v1.ckpt", _SOURCE, _LICENCE),
    )
    # fp32 against the authors' code (docs/models.md)
    tolerances: Mapping[str, float] = {
        "attn": 2e-6,
        "hidden": 2e-5,
        "logits": 2e-5,
        "lse": 2e-5,
        "output": 2e-5,
    }

    def __init__(
        self, weights: dict[str, torch.Tensor], file: ScPRINTFile,
        settings: ScPRINTOptions | ScPRINT2Options, *, seed: int,
    ) -> None:  # fmt: skip
        self._w = weights
        self._settings = settings
        self._first = ORDERS[settings.token_order] if isinstance(settings, ScPRINTOptions) else ()
        self._seed = seed if settings.context_seed is None else settings.context_seed
        self._normalization = settings.normalization or file.normalization
        self._kv_heads = file.n_kv_heads
        self.n_layers, self.n_heads, self.d = file.n_layers, file.n_heads, file.d
        self._classes = file.classes
        size = (str(self.n_layers), str(self.d))
        known = {(v.n_layers, v.d): v.name for v in self.variants}
        self.variant = f"{known.get(size, 'custom')}, {file.layout} layout"
        self.options: Mapping[str, Any] = settings.model_dump() | {
            "normalization": self._normalization
        }
        ids = np.array(file.genes, dtype=object)
        self._genes = GeneTable(ids, symbols_of_ensembl(ids))
        self._context: tuple[GeneMatch, np.ndarray] | None = None
        table = weights["gene_encoder.weight"]
        self._device, self._dtype = table.device, table.dtype

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Tell whether this is a torch file with weights of scPRINT, or a folder with one."""
        checkpoint = checkpoint_in(path)
        if checkpoint is None:
            return False
        names = text_inside(checkpoint)
        return names_scprint(names) and not names_scprint2(names)

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> ScPRINT:
        """Read a Lightning checkpoint without running code from it.

        Raises
        ------
        InputError
            If the file is absent, damaged or of another layout (scPRINT-2, metacell tokens,
            cell-specific blocks), an option unknown, or a weight missing, unexpected or of the
            wrong shape.
        """
        checkpoint = require_checkpoint_in(path, "give scPRINT's checkpoint")
        file = read_file(checkpoint)
        settings = read_options(ScPRINTOptions, options)
        normalization = settings.normalization or file.normalization
        if normalization not in ("sum", "log"):
            raise InputError(
                f"{checkpoint}: hyper_parameters.normalization",
                f"{normalization!r}; this version knows sum and log",
                "set models.*.options.normalization if one of them is what it was trained with",
            )
        return cls(file.take(dtype, device, settings.ignored_weights), file, settings, seed=seed)

    @property
    def genes(self) -> GeneTable:
        """Genes of the checkpoint in row order (human, then mouse)."""
        return self._genes

    def match(self, genes: GeneTable) -> GeneMatch:
        """Match Ensembl ids; of equal ids the atlas keeps one (`atlas.duplicate_genes`).

        Raises
        ------
        InputError
            If no gene of the atlas is in the checkpoint.
        """
        return by_ensembl(self._genes, genes, "models.*.path: hyper_parameters.genes")

    def max_tokens(self, match: GeneMatch, expressed: int) -> int:
        """Return the tokens of every cell: depth, cell, classes, genes."""
        return self._most_genes(match) + len(self._classes) + 2

    def _most_genes(self, match: GeneMatch) -> int:
        chosen = self._settings.context_genes is not None or match.panel is not None
        if self._rule(match) in PER_CELL or not chosen:  # chosen in each cell, or not yet
            return min(self._settings.max_len, len(match.allowed))
        return len(self._fixed(match))

    def use_upstream_randomness(self) -> None:
        """Refuse contexts that the authors draw from a global stream.

        Raises
        ------
        InputError
            For the rules that choose genes in each cell.
        """
        if self._settings.context in PER_CELL:
            raise InputError(
                "--rng upstream",
                f"context {self._settings.context!r} draws from numpy's global stream upstream",
                "give the genes (context: some), or leave it out",
            )

    def _rule(self, match: GeneMatch) -> str:
        default = "most_var_within" if match.panel is None else "some"
        return self._settings.context or default

    def _named(self, match: GeneMatch) -> np.ndarray:
        """Return model genes of ``context_genes``, restricted to a declared panel."""
        names = self._settings.context_genes
        if names is None:
            return np.zeros(0, np.int64)
        rows, _ = select_genes(names, match.genes, where="models.*.options.context_genes")
        return rows if match.panel is None else rows[match.panel[rows]]

    def _fixed(self, match: GeneMatch) -> np.ndarray:
        """Return the context of rule ``some``: ascending model genes."""
        if self._settings.context_genes is None and match.panel is not None:
            return match.allowed
        if self._context is None or self._context[0] is not match:  # looked up once for all batches
            self._context = match, self._named(match)
        chosen = self._context[1]
        if not len(chosen):
            raise InputError(
                "models.*.options.context_genes",
                f"rule {self._rule(match)!r} has no genes to use",
                "list genes of the atlas, or choose another context",
            )
        return chosen

    def dataset_options(
        self, statistics: GeneStatistics | None, match: GeneMatch
    ) -> dict[str, Any] | None:
        """Fix the context of the rules that look at the whole data set."""
        rule = self._rule(match)
        if rule == "some" or rule in PER_CELL:
            return {}
        if statistics is None:
            return None
        chosen = choose_overall(rule, statistics, match, self._settings.max_len, self._named(match))
        return {"context": "some", "context_genes": [str(g) for g in match.genes.ensembl[chosen]]}

    def tokenize(self, counts: sparse.csr_matrix, match: GeneMatch, cell_ids: np.ndarray) -> Tokens:
        """Return depth, cell, class and gene tokens; zero-count genes of the context included.

        A cell without counts in its context gets padding only (its values are undefined).
        """
        matched = match.model_counts(counts)
        depth = np.log2(1 + np.asarray(counts.sum(axis=1), np.float64).ravel())
        genes = self._contexts(matched, match, cell_ids)
        raw, usable = self._scaled(self._counts_of(matched, genes))
        n_class = len(self._classes)
        shape = (len(cell_ids), genes.shape[1] + n_class + 2)
        gene = np.full(shape, -1, np.int32)
        kind = np.full(shape, PAD, np.int8)
        value = np.full(shape, np.nan, np.float32)
        row = np.full(shape, -1, np.int64)
        at = {name: i for i, name in enumerate(self._first)}
        first = n_class + 2
        row[:, at["cell"]], row[:, 2:first] = 0, 1 + np.arange(n_class)
        row[:, first:], value[:, first:], value[:, at["depth"]] = genes, raw, depth
        kind[usable, at["depth"]], kind[usable, at["cell"]] = _DEPTH, _CELL
        kind[usable, 2:first], kind[usable, first:] = _CLASS, GENE
        gene[:, first:] = np.where(usable[:, None], genes, -1)
        return Tokens(np.asarray(cell_ids), gene, kind, value, row, kind != PAD)

    def _scaled(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return values [cells, genes] of counts, in place, and whether a cell has any."""
        total = raw.sum(1)
        if self._normalization == "log":
            raw[raw > 0] = np.log2(1 + raw[raw > 0])  # log2(1 + 0) is 0
        if self._normalization in ("log", "raw"):
            return raw, np.ones(len(total), bool)
        # a context without counts is undefined where values are divided by its sum
        usable = total > 0
        raw /= np.where(usable, total, 1)[:, None]
        return raw, usable

    def _counts_of(self, matched: sparse.csr_matrix, genes: np.ndarray) -> np.ndarray:
        """Return [cells, genes] float64 counts of each cell's own genes."""
        raw = np.zeros(genes.shape)
        position = np.full(matched.shape[1], -1)
        for c, (low, high) in enumerate(pairwise(matched.indptr.tolist())):
            if c == 0 or genes.strides[0]:  # else all cells have the first one's genes
                position[:] = -1
                position[genes[c]] = np.arange(genes.shape[1])
            at = position[matched.indices[low:high]]
            raw[c, at[at >= 0]] = matched.data[low:high][at >= 0]
        return raw

    def _contexts(
        self, matched: sparse.csr_matrix, match: GeneMatch, cell_ids: np.ndarray
    ) -> np.ndarray:
        """Return [cells, genes] ascending model genes."""
        rule = self._rule(match)
        if rule not in PER_CELL:
            fixed = self._fixed(match)
            return np.broadcast_to(fixed, (len(cell_ids), len(fixed)))
        allowed = match.allowed
        room = min(self._settings.max_len, len(allowed))
        may = np.zeros(len(self._genes), bool)
        may[allowed] = True
        chosen = np.zeros((len(cell_ids), room), np.int64)
        for c, cell_id in enumerate(cell_ids):
            span = slice(matched.indptr[c], matched.indptr[c + 1])
            columns, values = matched.indices[span], matched.data[span]
            inside = may[columns] & (values > 0)
            chosen[c] = choose_in_cell(
                rule, columns[inside], values[inside], allowed, room, self._seed, str(cell_id)
            )
        return chosen

    def embed(self, tokens: Tokens) -> torch.Tensor:
        """Return the residual stream, float32 whatever the weights' dtype."""
        w = self._w
        kind, row, value = (
            torch.from_numpy(a).to(self._device) for a in (tokens.kind, tokens.row, tokens.value)
        )
        out = torch.zeros((*kind.shape, self.d), device=self._device)
        genes, depth = kind == GENE, kind == _DEPTH
        classes = (kind == _CELL) | (kind == _CLASS)
        out[genes] = self._gene_tokens(row[genes], self._value(value[genes], "expr_encoder"))
        out[depth] = self._value(value[depth], "depth_encoder")
        out[classes] = F.embedding(row[classes], w["class_encoder.embedding.weight"]).float()
        return out

    def _gene_tokens(self, row: torch.Tensor, expression: torch.Tensor) -> torch.Tensor:
        out = F.embedding(row, self._w["gene_encoder.weight"]).float() + expression
        if "pos_encoder.pe" in self._w:
            out += self._w["pos_encoder.pe"][row].float()
        return out

    def _value(self, value: torch.Tensor, name: str) -> torch.Tensor:
        x = value.clamp(0, _MAX_VALUE).to(self._dtype)[:, None]
        return self._stack(x, f"{name}.encoder").float()

    def _stack(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """Apply linear layers with a LayerNorm and ReLU before each but the first."""
        step = 0
        x = self._linear(x, f"{name}.0")
        while f"{name}.{step + 4}.weight" in self._w:
            x = F.relu(self._norm(x, f"{name}.{step + 1}", 1e-5))
            step += 4
            x = self._linear(x, f"{name}.{step}")
        return x

    def layer(
        self, i: int, residual: torch.Tensor, mask: torch.Tensor
    ) -> tuple[LayerAttention, torch.Tensor]:
        """Run layer ``i`` (pre-norm)."""
        p = f"transformer.blocks.{i}."
        d_head = self.d // self.n_heads
        sizes = [self.d, self._kv_heads * d_head, self._kv_heads * d_head]
        qkv = self._linear(self._norm(residual, p + "norm1"), p + "mixer.Wqkv").split(sizes, -1)
        q, k, v = (split_heads(x, x.shape[-1] // d_head) for x in qkv)
        if self._kv_heads != self.n_heads:  # consecutive query heads share a key and value head
            k, v = (x.repeat_interleave(self.n_heads // self._kv_heads, 1) for x in (k, v))
        residual = residual + self._linear(attend(q, k, v, mask), p + "mixer.out_proj")
        z = by_cell(F.gelu, self._linear(self._norm(residual, p + "norm2"), p + "mlp.fc1"))
        residual = residual + self._linear(z, p + "mlp.fc2")
        return LayerAttention(q, k, 1 / math.sqrt(d_head), mask), residual

    def projections(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return W_q and W_k of layer ``i``, each [heads, d_head, d], without biases."""
        d_head = self.d // self.n_heads
        sizes = [self.d, self._kv_heads * d_head, self._kv_heads * d_head]
        q, k, _ = self._w[f"transformer.blocks.{i}.mixer.Wqkv.weight"].split(sizes)
        k = head_weights(k, self._kv_heads).repeat_interleave(self.n_heads // self._kv_heads, 0)
        return head_weights(q, self.n_heads), k

    def gene_embeddings(self, genes: np.ndarray) -> torch.Tensor:
        """Return [genes, d]: E[g], through fine-tuned layers where the file has them; no place."""
        row = torch.from_numpy(genes).to(self._device)
        return F.embedding(row, self._w["gene_encoder.weight"])

    def output(self, residual: torch.Tensor) -> torch.Tensor:
        """Return the final LayerNorm of the residual stream."""
        return self._norm(residual, "transformer.norm")

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, self._w[f"{name}.weight"], self._w[f"{name}.bias"])

    def _norm(self, x: torch.Tensor, name: str, eps: float = 1e-6) -> torch.Tensor:
        return layer_norm(x, self._w[f"{name}.weight"], self._w[f"{name}.bias"], eps)
