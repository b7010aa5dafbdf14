"""scGPT's files: the vocabulary, and which weights belong to the encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from octoscope.errors import InputError
from octoscope.models.weights import read_json

# What does not enter the encoder, one by one; proof: tests/models/test_ignored_weights.py.
HEADS = (
    "flag_encoder.",
    "decoder.",
    "mvc_decoder.",
    "cls_decoder.",
    "grad_reverse_discriminator.",
    "batch_encoder.",
)
_TABLE = "encoder.embedding.weight"


def read_vocabulary(path: Path) -> dict[str, int]:
    """Return token -> row of the embedding: rows 0, 1, 2, ..., each once.

    Raises
    ------
    InputError
        If the file is absent or not such a table, or ``<pad>`` or ``<cls>`` is missing.
    """
    read = read_json(path, "models.*.path")
    try:
        vocab = {str(k): int(v) for k, v in read.items()}
    except (TypeError, ValueError) as error:
        fix = "give scGPT's own vocab.json"
        raise InputError(str(path), f"not token -> row ({error})", fix) from None
    if "<pad>" not in vocab or "<cls>" not in vocab:
        raise InputError(str(path), "no <pad> or <cls>", "give scGPT's vocab")
    if sorted(vocab.values()) != list(range(len(vocab))):
        top = max(vocab.values()) + 1
        raise InputError(
            str(path),
            f"{len(vocab)} tokens on {len(set(vocab.values()))} of {top} rows: rows are without "
            "a token, used twice or below 0",
            "give the whole vocab.json that the checkpoint was trained with",
        )
    return vocab


def table_rows(
    state: Mapping[str, torch.Tensor], vocab: Mapping[str, int], *, padded: bool, path: Path
) -> int:
    """Return the rows that the embedding must have: one per token, more only where allowed.

    Raises
    ------
    InputError
        If the table in ``state`` has another number of rows than the vocabulary has tokens.
    """
    if _TABLE not in state:
        return len(vocab)  # named as missing with the other weights
    rows = int(state[_TABLE].shape[0])
    if rows < len(vocab) or (rows > len(vocab) and not padded):
        fix = "give the vocab.json that the checkpoint was trained with"
        if rows > len(vocab):
            fix += "; if the rows beyond it are padding, set models.*.options.padded_table: true"
        problem = f"{len(vocab)} tokens, and {_TABLE} in best_model.pt has {rows} rows"
        raise InputError(str(path / "vocab.json"), problem, fix)
    return rows


def expected_shapes(rows: int, d: int, ff: int, n_layers: int) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of every encoder weight."""
    shapes: dict[str, tuple[int, ...]] = {_TABLE: (rows, d)}

    def pair(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, (shape[0],)

    pair("encoder.enc_norm", d)
    pair("value_encoder.linear1", d, 1)
    pair("value_encoder.linear2", d, d)
    pair("value_encoder.norm", d)
    for i in range(n_layers):
        p = f"transformer_encoder.layers.{i}."
        pair(p + "self_attn.Wqkv", 3 * d, d)
        pair(p + "self_attn.out_proj", d, d)
        pair(p + "linear1", ff, d)
        pair(p + "linear2", d, ff)
        pair(p + "norm1", d)
        pair(p + "norm2", d)
    return shapes
