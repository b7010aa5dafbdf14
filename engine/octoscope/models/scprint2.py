"""scPRINT-2 (Kalfon et al. 2025), native: genes of many organisms, scPRINT's layers.

Value s_g = log2(1 + x_g) (``log``), x_g / sum of x over the context (``sum``), or x_g (``raw``).
Metacell encoder: f(s) = W_shared [g(s); 0], g and W_shared stacks of linear, LayerNorm, ReLU; the
0 stands for the sum over neighbouring cells, of which none are given.
Continuous encoder: as scPRINT.
Gene token: E[g] + f(s_g) + PE[g]; E through the fine-tuned layers where the file has them.
Layers and output: as scPRINT, without a depth token.

Cell and class tokens are among the genes only in files without cell-specific blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse

from octoscope.errors import InputError
from octoscope.models.family_options import read_options
from octoscope.models.protocol import GENE, PAD, TOKEN_KINDS, GeneMatch, Tokens, Variant
from octoscope.models.scprint import ScPRINT
from octoscope.models.scprint2_file import ScPRINT2File, read_file
from octoscope.models.scprint_file import names_scprint2
from octoscope.models.scprint_tokens import ScPRINT2Options
from octoscope.models.weight_files import checkpoint_in, require_checkpoint_in, text_inside

_CELL, _CLASS, _METACELL = (TOKEN_KINDS.index(k) for k in ("cell", "class", "context"))
_NOT_METACELL = 0  # row of the token's table


class ScPRINT2(ScPRINT):
    """scPRINT-2: a Lightning checkpoint (`.ckpt`), or a folder that holds one."""

    family = "scprint2"
    variants = (
        Variant(
            "small-v2", "from the file", "from the file", "from the file", "small-v2.ckpt",
            "huggingface.co/jkobject/scPRINT", "Apache-2.0 (weights)",
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
        self, weights: dict[str, torch.Tensor], file: ScPRINT2File, settings: ScPRINT2Options,
        *, seed: int,
    ) -> None:  # fmt: skip
        super().__init__(weights, file, settings, seed=seed)
        self._style, self._metacell = file.style, file.metacell_token
        self._special = [] if file.cell_blocks else [_CELL, *[_CLASS] * len(file.classes)]
        self._special += [_METACELL] if file.metacell_token else []
        kinds = dict.fromkeys(self._special)
        self.special_kinds: tuple[str, ...] = tuple(TOKEN_KINDS[k] for k in kinds)
        blocks = ", cell-specific blocks" if file.cell_blocks else ""
        self.variant = f"{file.style} encoder{blocks}"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Tell whether this is a torch file of scPRINT-2, or a folder with one."""
        checkpoint = checkpoint_in(path)
        return checkpoint is not None and names_scprint2(text_inside(checkpoint))

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> ScPRINT2:
        """Read a Lightning checkpoint without running code from it.

        Raises
        ------
        InputError
            If the file is absent, damaged or of another layout, an option unknown, or a weight
            missing, unexpected or of the wrong shape.
        """
        checkpoint = require_checkpoint_in(path, "give scPRINT-2's checkpoint")
        file = read_file(checkpoint)
        settings = read_options(ScPRINT2Options, options)
        normalization = settings.normalization or file.normalization
        if normalization == "both":  # upstream's first branch: the logarithm is never reached
            normalization = "sum"
        if normalization not in ("sum", "log", "raw"):
            raise InputError(
                f"{checkpoint}: hyper_parameters.normalization",
                f"{normalization!r}; this version knows sum, log, raw and both",
                "set models.*.options.normalization if one of them is what it was trained with",
            )
        settings = settings.model_copy(update={"normalization": normalization})
        return cls(file.take(dtype, device, settings.ignored_weights), file, settings, seed=seed)

    def max_tokens(self, match: GeneMatch, expressed: int) -> int:
        """Return the tokens of every cell: genes, and special tokens where they are among them."""
        return self._most_genes(match) + len(self._special)

    def tokenize(self, counts: sparse.csr_matrix, match: GeneMatch, cell_ids: np.ndarray) -> Tokens:
        """Return special and gene tokens; zero-count genes of the context included.

        A cell without counts in its context gets padding only where values are shares of it.
        """
        matched = match.model_counts(counts)
        genes = self._contexts(matched, match, cell_ids)
        values, usable = self._scaled(self._counts_of(matched, genes))
        first = len(self._special)
        shape = (len(cell_ids), first + genes.shape[1])
        gene = np.full(shape, -1, np.int32)
        kind = np.full(shape, PAD, np.int8)
        value = np.full(shape, np.nan, np.float32)
        row = np.zeros(shape, np.int64)
        kind[usable, :first], kind[usable, first:] = self._special, GENE
        tokens = np.array(self._special, np.int64)
        row[:, :first] = np.where(tokens == _METACELL, _NOT_METACELL, np.arange(first))
        row[:, first:], value[:, first:] = genes, values
        gene[:, first:] = np.where(usable[:, None], genes, -1)
        return Tokens(np.asarray(cell_ids), gene, kind, value, row, kind != PAD)

    def embed(self, tokens: Tokens) -> torch.Tensor:
        """Return the residual stream, float32 whatever the weights' dtype."""
        kind, row, value = (
            torch.from_numpy(a).to(self._device) for a in (tokens.kind, tokens.row, tokens.value)
        )
        out = torch.zeros((*kind.shape, self.d), device=self._device)
        genes = kind == GENE
        out[genes] = self._gene_tokens(row[genes], self._expression(value[genes]))
        tables = {(_CELL, _CLASS): "class_encoder", (_METACELL,): "metacell_encoder"}
        for kinds, name in tables.items():
            at = sum((kind == k for k in kinds), torch.zeros_like(genes))
            if bool(at.any()):
                out[at] = F.embedding(row[at], self._w[f"{name}.embedding.weight"]).float()
        return out

    def _expression(self, value: torch.Tensor) -> torch.Tensor:
        if self._style == "continuous":
            return self._value(value, "expr_encoder")
        own = self._stack(value.to(self._dtype)[:, None], "expr_encoder.self_layers")
        return self._stack(F.pad(own, (0, self.d)), "expr_encoder.shared_layers").float()
