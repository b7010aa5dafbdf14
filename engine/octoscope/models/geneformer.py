"""Geneformer (Theodoris et al. 2023), V1 and V2: BERT of Hugging Face transformers.

rank value: v_g = (sum of counts that are gene g) / median_g; tokens in falling order of v
h0 = LN(Eword[token] + Eposition[rank] + Etype[0])
layer: y = LN(h + Wo softmax(q k^T / sqrt(d_head)) v + bo)
       h' = LN(y + W2 act(W1 y + b1) + b2)                 (post-norm; eps and act of the config)

Expression enters only as the order of the tokens. q and k are taken inside the model's own forward
pass, through an attention function registered with ``AttentionInterface``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse

from octoscope.bounded_reads import read_bounded
from octoscope.errors import InputError
from octoscope.genes import GeneTable, symbols_of_ensembl
from octoscope.json_values import parse_json
from octoscope.models.blocks import attend, head_weights
from octoscope.models.family_options import read_options
from octoscope.models.gene_matching import by_mapping
from octoscope.models.geneformer_belonging import (
    GeneformerOptions,
    check_buffers,
    check_config,
    settle,
    warn_of_activation,
)
from octoscope.models.geneformer_files import Dictionaries, find_dictionaries
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
from octoscope.models.ragged import kept, ranked, token_mask
from octoscope.models.weight_files import folder_of, holds_weight, outside, weights_in
from octoscope.models.weights import MOST_LAYERS, load_state, read_json, take_strict
from octoscope.models.whole_numbers import as_whole

_CLS, _EOS = TOKEN_KINDS.index("cls"), TOKEN_KINDS.index("eos")
# Heads that do not enter the encoder, one by one; proof: tests/models/test_ignored_weights.py.
HEADS = (
    "cls.predictions.bias",
    "cls.predictions.transform.",
    "cls.predictions.decoder.",
    "pooler.dense.",
    "cls.seq_relationship.",
    "classifier.",
    "classification_heads.",
    "attention_pool.",
    "attention_layer.",
    "adapter.",
)
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_ANCHOR = "embeddings.word_embeddings.weight"
_COUNTS = ("num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size")
_ATTENTION = "octoscope"
_SOURCE, _LICENCE = "huggingface.co/ctheodoris/Geneformer", "Apache-2.0"
_FILES = "config.json, model.safetensors; dictionaries: {} of the geneformer package"
_SIZES = {
    # name: layers, d, heads
    "V1-10M (gf-6L)": (6, 256, 4),
    "V1-40M (gf-12L-i2048)": (12, 512, 8),
    "V2 gf-12L-38M": (12, 512, 8),
    "V2 gf-20L-151M": (20, 896, 14),
    "V2-104M": (12, 768, 12),
    "V2-316M": (18, 1152, 18),
}


class Geneformer:
    """Geneformer: a Hugging Face folder (``config.json``, weights) and pickled dictionaries."""

    family = "geneformer"
    special_kinds: tuple[str, ...] = ("cls", "eos")
    variants = tuple(
        Variant(
            name, str(size[0]), str(size[1]), str(size[2]),
            _FILES.format("gc30M" if name.startswith("V1") else "gc104M (gc95M before)"),
            _SOURCE, _LICENCE,
        )
        for name, size in _SIZES.items()
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
        bert: Any,
        dictionaries: Dictionaries,
        settings: GeneformerOptions,
        files: tuple[Path, ...],
    ) -> None:
        bert.load_state_dict(weights, strict=True, assign=True)
        self._bert = bert.eval().requires_grad_(False)
        self._settings, self._dictionaries = settings, dictionaries
        self.files = files
        config = bert.config
        self.n_layers, self.n_heads = config.num_hidden_layers, config.num_attention_heads
        self.d = config.hidden_size
        self._special = bool(settings.special_tokens)
        self.special_kinds = ("cls", "eos") if self._special else ()
        size = (self.n_layers, self.d, self.n_heads)
        known = [n for n, s in _SIZES.items() if s == size and n[:2] == settings.convention]
        self.variant = known[0] if known else f"{settings.convention}, custom size"
        self.options: Mapping[str, Any] = settings.model_dump()
        tokens, medians = dictionaries.tokens, dictionaries.medians
        rows = {g: r for g, r in tokens.items() if not g.startswith("<") and g in medians}
        names = sorted(rows, key=rows.__getitem__)
        self._rows = np.array([rows[g] for g in names], np.int64)
        self._median = np.array([medians[g] for g in names])
        ids = np.array(names, dtype=object)
        self._genes = GeneTable(ids, symbols_of_ensembl(ids))

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Tell whether ``config.json`` names BERT, or the weights are BERT's."""
        try:
            config = parse_json(read_bounded(folder_of(path) / "config.json"))
        except (OSError, ValueError):
            config = None
        named = isinstance(config, dict) and config.get("model_type") == "bert"
        return named or holds_weight(path, _WEIGHTS, _ANCHOR)

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> Geneformer:
        """Read weights and dictionaries; dimensions come from ``config.json``.

        Raises
        ------
        InputError
            If a file is absent or damaged, a dictionary holds more than text and numbers, an
            option unknown, or a weight missing, unexpected or of the wrong shape.
        """
        given = read_options(GeneformerOptions, options)
        folder = folder_of(path)
        bert = _skeleton(folder / "config.json", given.n_heads)
        dictionaries = find_dictionaries(folder, given.dictionaries, mapped=given.collapse_ensembl)
        settings = settle(given, bert.config, dictionaries)
        file = weights_in(path, _WEIGHTS) or path / _WEIGHTS[-1]
        # the published file holds the masked-language-model class, its encoder under `bert.`
        state = unwrapped(
            load_state(file, finite=False), _ANCHOR, where=str(file), inner=("bert.", "")
        )
        state = renamed(state, _current, where=str(file))
        check_buffers(state, str(file))
        shapes = {n: tuple(v.shape) for n, v in bert.state_dict().items()}
        weights = take_strict(
            state, shapes, HEADS, where=str(file), dtype=dtype, device=device,
            declared=settings.ignored_weights,
        )  # fmt: skip
        files = (*dictionaries.files, *outside(path, folder / "config.json", file))
        return cls(weights, bert, dictionaries, settings, files)

    @property
    def genes(self) -> GeneTable:
        """Genes of the token dictionary that have a median, in row order."""
        return self._genes

    def match(self, genes: GeneTable) -> GeneMatch:
        """Match current Ensembl ids; retired ids are resolved and duplicates added up.

        As the authors do, an id that their mapping lacks is dropped even where a symbol is known.

        Raises
        ------
        InputError
            If no gene of the atlas is in the dictionary.
        """
        d = self._dictionaries
        mapping = d.mapping if self._settings.collapse_ensembl else None
        return by_mapping(self._genes, genes, mapping, d.tokens, str(d.folder))

    def max_tokens(self, match: GeneMatch, expressed: int) -> int:
        """Return the largest input: expressed genes up to ``max_input``, special tokens too."""
        special = len(self.special_kinds)
        return min(self._max_input, min(len(match.allowed), expressed) + special)

    @property
    def _max_input(self) -> int:
        assert self._settings.max_input is not None
        return self._settings.max_input

    def dataset_options(
        self, statistics: GeneStatistics | None, match: GeneMatch
    ) -> dict[str, Any] | None:
        """Fix the heads, and where the dictionaries are: every worker reads the same ones."""
        return {"dictionaries": str(self._dictionaries.folder)} | settled_heads(
            self.family, self.n_layers, self.d, self.n_heads
        )

    def tokenize(self, counts: sparse.csr_matrix, match: GeneMatch, cell_ids: np.ndarray) -> Tokens:
        """Return expressed genes by falling count / median, cut at ``max_input``.

        Totals and the factor 10,000 of the published recipe are common to a cell and change no
        order. Ties are broken by token row (upstream: by an unstable sort).
        """
        matched = match.model_counts(counts)
        panel = np.zeros(len(self._genes), bool)
        panel[match.allowed] = True
        inside = panel[matched.indices] & (matched.data > 0)
        indptr, (genes, raw) = kept(inside, matched.indptr, matched.indices, matched.data)
        values = raw.astype(np.float64) / self._median[genes]
        special = len(self.special_kinds)
        room = self._max_input - special
        first, n = int(special > 0), np.minimum(np.diff(indptr), room)
        lengths = np.where(n > 0, n + special, 0)  # nothing of the model: padding only
        shape = (len(cell_ids), int(lengths.max(initial=1)))
        is_token = token_mask(n, shape[1], first)
        gene = np.full(shape, -1, np.int32)
        gene[is_token] = genes[ranked(values, indptr, room)]
        tokens = self._dictionaries.tokens
        kind = np.where(is_token, np.int8(GENE), np.int8(PAD))
        row = np.append(self._rows, tokens["<pad>"])[gene]
        if special:
            cells = np.flatnonzero(n)
            kind[cells, 0], row[cells, 0] = _CLS, tokens["<cls>"]
            ends = n[cells] + 1
            kind[cells, ends], row[cells, ends] = _EOS, tokens["<eos>"]
        value = np.full(shape, np.nan, np.float32)
        return Tokens(np.asarray(cell_ids), gene, kind, value, row, kind != PAD)

    def embed(self, tokens: Tokens) -> torch.Tensor:
        """Return the residual stream: word, position and type rows, normalised."""
        row = torch.from_numpy(tokens.row).to(self._bert.embeddings.word_embeddings.weight.device)
        # given in full: the module's own buffers were never filled (it is built without storage)
        rank = torch.arange(row.shape[1], device=row.device)[None]
        return self._bert.embeddings(
            input_ids=row, position_ids=rank, token_type_ids=torch.zeros_like(row)
        )

    def layer(
        self, i: int, residual: torch.Tensor, mask: torch.Tensor
    ) -> tuple[LayerAttention, torch.Tensor]:
        """Run layer ``i`` of the transformers model."""
        layer = self._bert.encoder.layer[i]
        after = layer(residual, attention_mask=mask)
        part = layer.attention.self
        q, k, scale = part.__dict__.pop(_ATTENTION)
        return LayerAttention(q, k, scale, mask), after

    def projections(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return W_q and W_k of layer ``i``, each [heads, d_head, d], without biases."""
        part = self._bert.encoder.layer[i].attention.self
        q, k = part.query.weight, part.key.weight
        return head_weights(q, self.n_heads), head_weights(k, self.n_heads)

    def gene_embeddings(self, genes: np.ndarray) -> torch.Tensor:
        """Return [genes, d]: rows of the word table, without rank, type and LayerNorm."""
        table = self._bert.embeddings.word_embeddings.weight
        return F.embedding(torch.from_numpy(self._rows[genes]).to(table.device), table)

    def output(self, residual: torch.Tensor) -> torch.Tensor:
        """Return the residual itself: the last operation is the layer's own LayerNorm."""
        return residual


def _current(name: str) -> str:
    """Return a weight's name without the class prefix, LayerNorm parts as they are called now."""
    name = name.removeprefix("bert.")
    for old, new in (
        (".LayerNorm.gamma", ".LayerNorm.weight"),
        (".LayerNorm.beta", ".LayerNorm.bias"),
    ):
        name = name.removesuffix(old) + new if name.endswith(old) else name
    return name


def _attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
    attention_mask: torch.Tensor, scaling: float | None = None, **_: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Attend as the model does, and leave q and k ([cells, heads, tokens, d_head]) behind."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    module.__dict__[_ATTENTION] = (query, key, scale)
    out = attend(query, key, value, attention_mask)
    return out.unflatten(-1, (query.shape[1], -1)), None


def _skeleton(path: Path, n_heads: int | None) -> Any:
    """Return the model without weights; ``n_heads`` is declared, or None.

    Raises
    ------
    InputError
        If the config cannot be used, or asks for another architecture.
    """
    # imported here: seconds of start-up that the other families do not need
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AttentionInterface, BertConfig, BertModel

    config = read_json(path, "models.*.path")
    check_config(config, str(path))
    for name in _COUNTS:
        as_whole(config.get(name, 0), name, str(path), "download it again")
    AttentionInterface.register(_ATTENTION, _attention)
    # ways of training and of saving memory that would wrap the layers called here
    for name in ("gradient_checkpointing", "chunk_size_feed_forward"):
        config.pop(name, None)
    try:
        settings = BertConfig(**config)
        settings.num_attention_heads = heads_of(
            Geneformer.family, settings.num_hidden_layers, settings.hidden_size,
            settings.num_attention_heads, n_heads, where=f"{path}: num_attention_heads",
        )  # fmt: skip
        if settings.num_hidden_layers > MOST_LAYERS:
            raise ValueError(f"num_hidden_layers {settings.num_hidden_layers}")
        settings._attn_implementation = _ATTENTION
        with torch.device("meta"):
            bert = BertModel(settings, add_pooling_layer=False)
    except (
        ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError, RuntimeError,
        AssertionError, StrictDataclassError, OverflowError,
    ) as error:  # fmt: skip
        text = " ".join(str(error).split())[:200]
        raise InputError(str(path), f"cannot be used ({text})", "download it again") from None
    warn_of_activation(config, str(path))
    return bert
