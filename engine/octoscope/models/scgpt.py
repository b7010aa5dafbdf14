"""scGPT (Cui et al. 2024), native: the encoder of the published whole-human and organ models.

h0 = LN(E[token]) + LN(W2 relu(W1 min(x, 512) + b1) + b2), through a batch norm if the file has one;
     a perturbation model adds P[not perturbed]
layer: a = softmax(q k^T / sqrt(d_head)); y = LN1(h + (a v) Wo^T + bo)
       h' = LN2(y + W2 relu(W1 y + b1) + b2)                       (post-norm, eps 1e-5)
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse

from octoscope.genes import GeneTable, ensembl_of_symbols
from octoscope.models.blocks import attend, head_weights
from octoscope.models.cell_groups import CellGroups
from octoscope.models.family_options import read_options
from octoscope.models.gene_matching import by_symbol
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
from octoscope.models.ragged import kept, padded, token_mask
from octoscope.models.scgpt_args import PADDING, read_args, warn_of_padding
from octoscope.models.scgpt_batch_norm import OPTION, BatchNorm, split_batch_norm
from octoscope.models.scgpt_file import (
    ANCHOR,
    HEADS,
    expected_shapes,
    find_files,
    is_scgpt,
    own_name,
    read_vocabulary,
    table_rows,
)
from octoscope.models.scgpt_perturbation import split_flags
from octoscope.models.scgpt_tokens import (
    CellRandomness,
    ScGPTOptions,
    UpstreamRandomness,
    bin_cells,
    choose_tokens,
)
from octoscope.models.weight_files import outside
from octoscope.models.weights import load_state, take_strict

_FILES = "args.json, vocab.json, best_model.pt"
_SOURCE = "links in the README of github.com/bowang-lab/scGPT"
_LICENCE = "see that repository"
_MAX_VALUE = 512.0
_CLS = TOKEN_KINDS.index("cls")
_SPECIAL = re.compile(r"<\w+>")  # <pad>, <cls>, <eoc>, and those that fine-tuning appends


class ScGPT:
    """A scGPT folder (``args.json``, ``vocab.json``, ``best_model.pt``), or its weights file."""

    family = "scgpt"
    special_kinds = ("cls",)
    variants = (
        Variant("whole-human", "12", "512", "8", _FILES, _SOURCE, _LICENCE),
        Variant(
            "organs, pan-cancer, continual", "args.json", "args.json", "args.json",
            _FILES, _SOURCE, _LICENCE,
        ),
    )  # fmt: skip
    # fp32 against the authors' code (docs/models.md)
    tolerances: Mapping[str, float] = {
        "attn": 2e-6,
        "hidden": 5e-6,
        "logits": 2e-5,
        "lse": 2e-5,
        "output": 5e-6,
    }

    def __init__(
        self,
        weights: dict[str, torch.Tensor],
        vocab: dict[str, int],
        settings: ScGPTOptions,
        *,
        n_layers: int,
        n_heads: int,
        seed: int,
        batch_norm: BatchNorm | None = None,
        flag: torch.Tensor | None = None,
        files: tuple[Path, ...] = (),
    ) -> None:
        self._w = weights
        self._batch_norm, self._flag = batch_norm, flag
        self.cell_groups = settings.batch if isinstance(settings.batch, CellGroups) else None
        self.groups_option = OPTION
        self._vocab = vocab
        self._settings = settings
        self.files = files
        self.n_layers, self.n_heads = n_layers, n_heads
        self.d = int(weights["encoder.embedding.weight"].shape[1])
        reading = settings.pert_encoder
        kind = "" if reading is None else f", perturbation model ({reading})"
        self.variant = f"{settings.recipe}{kind}"
        self.options: Mapping[str, Any] = settings.model_dump()
        self._device = weights["encoder.embedding.weight"].device
        self._randomness: CellRandomness | UpstreamRandomness = CellRandomness(
            seed if settings.binning_seed is None else settings.binning_seed,
            seed if settings.sampling_seed is None else settings.sampling_seed,
        )
        names = sorted((r, n) for n, r in vocab.items() if not _SPECIAL.fullmatch(n))
        self._rows = np.array([r for r, _ in names], np.int64)
        symbols = np.array([n for _, n in names], dtype=object)
        self._genes = GeneTable(ensembl_of_symbols(symbols), symbols)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Tell whether the folder, or the file, holds weights of scGPT."""
        return is_scgpt(path)

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> ScGPT:
        """Read the published files; dimensions come from ``args.json`` and the tensors.

        Raises
        ------
        InputError
            If a file is absent or damaged, an option unknown, or a weight missing, unexpected or
            of the wrong shape.
        """
        given = read_options(ScGPTOptions, options)
        files = find_files(path, given.base)
        args = read_args(files.args)
        vocab = read_vocabulary(files.vocabulary)
        where = str(files.weights)
        stated = f"{files.args}: {args.heads_field}"
        n_heads = heads_of(
            cls.family, args.n_layers, args.d, args.n_heads, given.n_heads, where=stated
        )
        if "pad_value" not in (options or {}):
            warn_of_padding(args, str(files.args))
        defaults: dict[str, Any] = {"pad_value": args.pad_value}
        if (options or {}).get("recipe") == "preprocessor":
            defaults["n_bins"] = args.n_bins  # embed_data fixes 51
        settings = read_options(ScGPTOptions, options, defaults)
        state = unwrapped(load_state(files.weights, finite=False), ANCHOR, where=where)
        state = renamed(state, own_name, where=where)
        batch_norm, state = split_batch_norm(
            state, settings.batch, args.d, where=where, device=device
        )
        flag, mode, state = split_flags(
            state, settings.pert_encoder, args.d, where=where, dtype=dtype, device=device
        )
        settings = settings.model_copy(update={"base": files.base, "pert_encoder": mode})
        rows = table_rows(state, vocab, padded=settings.padded_table, files=files)
        weights = take_strict(
            state,
            expected_shapes(rows, args.d, args.ff, args.n_layers),
            HEADS,
            where=where,
            dtype=dtype,
            device=device,
            declared=settings.ignored_weights,
        )
        return cls(
            weights,
            vocab,
            settings,
            n_layers=args.n_layers,
            n_heads=n_heads,
            seed=seed,
            batch_norm=batch_norm,
            flag=flag,
            files=outside(path, files.args, files.vocabulary, files.weights),
        )

    @property
    def genes(self) -> GeneTable:
        """Vocabulary genes in row order; Ensembl ids from GENCODE where the symbol is unique."""
        return self._genes

    def max_tokens(self, match: GeneMatch, expressed: int) -> int:
        """Return ``max_length``, or the genes that one cell can have, ``<cls>`` included."""
        s = self._settings
        genes = len(match.allowed)
        if not (s.recipe == "preprocessor" and s.include_zero_gene):
            genes = min(genes, expressed)
        return min(s.max_length, genes + 1)

    def dataset_options(
        self, statistics: GeneStatistics | None, match: GeneMatch
    ) -> dict[str, Any] | None:
        """Fix the gene filter of recipe ``preprocessor``, which runs over the whole data set.

        And what loading settled: where the base is, how ``pert_encoder`` is read, the heads and
        the value of padding where they were warned of.
        """
        s = self._settings
        settled = {n: v for n in ("base", "pert_encoder") if (v := getattr(s, n)) is not None}
        settled |= settled_heads(self.family, self.n_layers, self.d, self.n_heads)
        if s.pad_value != PADDING:
            settled["pad_value"] = s.pad_value
        filtered = s.recipe == "preprocessor" and s.filter_gene_by_counts
        if not filtered or s.context_genes is not None:
            return settled
        if statistics is None:
            return None
        keep = (match.model_gene >= 0) & (statistics.total >= s.filter_gene_by_counts)
        genes = [str(g) for g in match.genes.ensembl[match.model_gene[keep]]]
        return settled | {"context_genes": genes}

    def use_upstream_randomness(self) -> None:
        """Draw from the authors' sequential streams; tokens then depend on the order of cells."""
        seed = self._settings.binning_seed or 0
        sampling = self._settings.sampling_seed
        self._randomness = UpstreamRandomness(seed, seed if sampling is None else sampling)

    def match(self, genes: GeneTable) -> GeneMatch:
        """Match symbols exactly (case matters), as the authors do; by Ensembl id without symbols.

        Raises
        ------
        InputError
            If no gene of the atlas is in the vocabulary.
        """
        return by_symbol(self._genes, genes, "models.*.path: vocab.json")

    def tokenize(self, counts: sparse.csr_matrix, match: GeneMatch, cell_ids: np.ndarray) -> Tokens:
        """Apply the chosen recipe; see :mod:`octoscope.models.scgpt_tokens`."""
        s = self._settings
        keep, order = self._context(counts, match)
        indptr, (columns, values) = kept(
            keep[counts.indices], counts.indptr, counts.indices, counts.data
        )
        if s.recipe == "preprocessor":
            values = self._scale(values, indptr)
        all_genes = s.recipe == "preprocessor" and s.include_zero_gene
        ordered = isinstance(self._randomness, CellRandomness)
        room = s.max_length - 1
        uniforms = np.empty(len(values))
        cut: dict[int, np.ndarray] = {}
        for c, (low, high) in enumerate(pairwise(indptr.tolist())):
            draw, permutation = self._randomness.cell(str(cell_ids[c]))
            if high > low:
                uniforms[low:high] = draw(high - low)
            n = len(order) if all_genes else high - low
            if n > room:
                cut[c] = choose_tokens(n, room, permutation, keep_order=ordered)
        bins = bin_cells(values, indptr, s.n_bins, uniforms)
        if all_genes:
            dense = np.zeros((len(cell_ids), len(match.model_gene)), np.float32)
            dense[np.repeat(np.arange(len(cell_ids)), np.diff(indptr)), columns] = bins
            bins, columns = dense[:, order].ravel(), np.tile(order, len(cell_ids))
            indptr = np.arange(len(cell_ids) + 1) * len(order)
        if cut:
            ends = list(pairwise(indptr.tolist()))
            chosen = [a + cut[c] if c in cut else np.arange(a, b) for c, (a, b) in enumerate(ends)]
            at = np.concatenate(chosen)
            columns, bins = columns[at], bins[at]
            indptr = np.concatenate([[0], np.cumsum([len(p) for p in chosen])])
        return self._assemble(match.model_gene[columns], bins, indptr, cell_ids)

    def _context(self, counts: sparse.csr_matrix, match: GeneMatch) -> tuple[Any, np.ndarray]:
        """Return which atlas genes may become tokens, as a mask and as ascending columns."""
        s = self._settings
        keep = match.model_gene >= 0
        if match.panel is not None:
            keep &= match.panel[match.model_gene]
        if s.recipe == "preprocessor":
            if s.context_genes is not None:
                names = set(s.context_genes)
                model = match.genes
                named = np.array(
                    [
                        e in names or g in names
                        for e, g in zip(model.ensembl, model.symbol, strict=True)
                    ]
                )
                keep &= np.where(match.model_gene >= 0, named[match.model_gene], False)
            elif s.filter_gene_by_counts:
                # A filter over the data set: the caller passes all cells, or context_genes.
                totals = np.asarray(counts.sum(axis=0)).ravel()
                keep &= totals >= s.filter_gene_by_counts
        return keep, np.flatnonzero(keep)

    def _scale(self, values: np.ndarray, indptr: np.ndarray) -> np.ndarray:
        s = self._settings
        factors = np.ones(len(indptr) - 1, np.float32)
        for c, (low, high) in enumerate(pairwise(indptr.tolist())):
            total = values[low:high].sum(dtype=np.float32)
            if s.normalize_total and total > 0:
                # float32 in this order, as scanpy's normalize_total computes it
                factors[c] = np.float32(total / np.float32(s.normalize_total))
        if s.normalize_total:
            values = values / np.repeat(factors, np.diff(indptr))
        return np.log1p(values) if s.log1p else values

    def _assemble(
        self, genes: np.ndarray, bins: np.ndarray, indptr: np.ndarray, cell_ids: np.ndarray
    ) -> Tokens:
        s = self._settings
        lengths = np.diff(indptr)
        shape = (len(lengths), 1 + int(lengths.max(initial=0)))
        gene = padded(genes, indptr, shape, -1, np.int32, first=1)
        value = padded(bins, indptr, shape, s.pad_value, np.float32, first=1)
        kind = np.where(token_mask(lengths, shape[1], first=1), np.int8(GENE), np.int8(PAD))
        row = np.append(self._rows, self._vocab["<pad>"])[gene]
        kind[:, 0], row[:, 0] = _CLS, self._vocab["<cls>"]
        if s.recipe == "preprocessor":
            value[:, 0] = 0.0
        return Tokens(np.asarray(cell_ids), gene, kind, value, row, kind != PAD)

    def embed(self, tokens: Tokens) -> torch.Tensor:
        """Return [cells, tokens, d]: gene embedding plus embedded bin; flag, batch norm if any."""
        w = self._w
        row = torch.from_numpy(tokens.row).to(self._device)
        dtype = w["encoder.embedding.weight"].dtype
        value = torch.from_numpy(tokens.value).to(self._device, dtype).unsqueeze(-1)
        g = self._gene_tokens(row)
        v = F.relu(self._linear(value.clamp(max=_MAX_VALUE), "value_encoder.linear1"))
        v = self._norm(self._linear(v, "value_encoder.linear2"), "value_encoder.norm")
        h = g + v if self._flag is None else g + v + self._flag
        return h if self._batch_norm is None else self._batch_norm(h, tokens.group)

    def _gene_tokens(self, row: torch.Tensor) -> torch.Tensor:
        rows = F.embedding(row, self._w["encoder.embedding.weight"])
        return self._norm(rows, "encoder.enc_norm")

    def layer(
        self, i: int, residual: torch.Tensor, mask: torch.Tensor
    ) -> tuple[LayerAttention, torch.Tensor]:
        """Run layer ``i`` (post-norm)."""
        p = f"transformer_encoder.layers.{i}."
        cells, tokens, d = residual.shape
        d_head = d // self.n_heads
        qkv = self._linear(residual, p + "self_attn.Wqkv")
        q, k, v = qkv.view(cells, tokens, 3, self.n_heads, d_head).permute(2, 0, 3, 1, 4).unbind(0)
        attended = attend(q, k, v, mask)
        y = self._norm(residual + self._linear(attended, p + "self_attn.out_proj"), p + "norm1")
        z = self._linear(F.relu(self._linear(y, p + "linear1")), p + "linear2")
        return LayerAttention(q, k, 1 / math.sqrt(d_head), mask), self._norm(y + z, p + "norm2")

    def projections(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return W_q and W_k of layer ``i``, each [heads, d_head, d], without biases."""
        weight = self._w[f"transformer_encoder.layers.{i}.self_attn.Wqkv.weight"]
        q, k, _ = weight.chunk(3)
        return head_weights(q, self.n_heads), head_weights(k, self.n_heads)

    def gene_embeddings(self, genes: np.ndarray) -> torch.Tensor:
        """Return [genes, d]: LN(E[token]), as layer 0 and the authors' gene networks use it."""
        row = torch.from_numpy(self._rows[genes]).to(self._device)
        return self._gene_tokens(row)

    def output(self, residual: torch.Tensor) -> torch.Tensor:
        """Return the residual itself: there is no final norm."""
        return residual

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, self._w[f"{name}.weight"], self._w[f"{name}.bias"])

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(
            x, x.shape[-1:], self._w[f"{name}.weight"], self._w[f"{name}.bias"], eps=1e-5
        )
