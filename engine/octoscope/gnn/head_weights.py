"""Checks the weights of a head and builds it: every tensor is known, present and fits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from octoscope.errors import InputError, warn
from octoscope.gnn.heads import KINDS, Head, Mlp, RelationAttention, RelationAttentionMlp

_BELONG = "check that weights and settings belong together"
_MORE = re.compile(r"(mlp|output_mlp)\.(\d{1,2})\.(weight|bias)")


def head_of(
    weights: Mapping[str, torch.Tensor], settings: Mapping[str, Any], width: int, where: str
) -> Head:
    """Build a head from its weights (names without ``head.head.``) and settings.

    Parameters
    ----------
    width
        Of an embedding, which the encoder gives.

    Raises
    ------
    InputError
        If the kind is not supported, or a weight is missing, unknown or of a shape that does not
        fit.
    """
    kind = KINDS.get(str(settings.get("head")))
    if kind is None:
        raise InputError(
            f"{where}: head", f"is {settings.get('head')!r}, supported are {', '.join(KINDS)}",
            "give a checkpoint with one of these heads",
        )  # fmt: skip
    missing = [k for k in kind.keys if k not in weights]
    if missing:
        raise InputError(f"{where}: head.{missing[0]}", "is missing", _BELONG)
    unknown = [k for k in weights if k not in kind.keys and not _is_layer(k, kind)]
    if unknown:
        raise InputError(f"{where}: head.{unknown[0]}", f"is no weight of {kind.kind}", _BELONG)
    plain = {k: v if v.dtype == torch.bool else v.to(torch.float32) for k, v in weights.items()}
    for name, expected in _expected(kind, plain, width, where).items():
        if tuple(plain[name].shape) != expected:
            raise InputError(
                f"{where}: head.{name}",
                f"has shape {tuple(plain[name].shape)}, expected {expected}",
                _BELONG,
            )
    groups = 1
    if kind in (RelationAttention, RelationAttentionMlp):
        stated = settings.get("relation_attention_heads")
        if stated is None:
            warn(f"{where}: relation_attention_heads is not stated; 4 is assumed")
        groups = 4 if stated is None else stated
        hidden = int(weights["query_proj.weight"].shape[0])
        if not isinstance(groups, int) or groups < 1 or hidden % groups:
            raise InputError(
                f"{where}: relation_attention_heads", f"is {groups!r}, which does not divide "
                f"the width {hidden}", _BELONG,
            )  # fmt: skip
    return kind(plain, width, groups)


def _is_layer(name: str, kind: type[Head]) -> bool:
    match = _MORE.fullmatch(name)
    own = "mlp" if kind is Mlp else "output_mlp"
    has = kind is Mlp or any(k.startswith("output_mlp") for k in kind.keys)
    return bool(match and has and match.group(1) == own and int(match.group(2)) % 3 == 0)


def _expected(
    kind: type[Head], weights: Mapping[str, torch.Tensor], width: int, where: str
) -> dict[str, tuple[int, ...]]:
    """Return name -> shape that follows from the width and the sizes that are free."""
    for name, tensor in weights.items():
        dimensions = 1 if name.endswith("bias") or name == "is_symmetric" else 2
        if tensor.ndim != dimensions:
            raise InputError(f"{where}: head.{name}", f"has {tensor.ndim} dimensions", _BELONG)
    if kind.relation_key and not weights["relation_emb.weight"].shape[0]:
        raise InputError(f"{where}: head.relation_emb.weight", "holds no relation", _BELONG)
    relations, columns = weights["relation_emb.weight"].shape if kind.relation_key else (0, 0)
    shape: dict[str, tuple[int, ...]] = {}
    if kind.kind in ("rotate", "conditional_rotate"):
        if width % 2:
            raise InputError(f"{where}: head", f"RotatE on an odd width {width}", _BELONG)
        shape["relation_emb.weight"] = (relations, width // 2)
        if "is_symmetric" in kind.keys:
            shape["is_symmetric"] = (relations,)
        return shape
    if kind.kind in ("distmult", "transe"):
        return {"relation_emb.weight": (relations, width)}
    if kind.kind == "attention":
        inner = int(weights["query_proj.weight"].shape[0])
        return dict.fromkeys(kind.keys, (inner, width))
    first = next((k for k in kind.keys if k in ("mlp.0.weight", "edge_proj.weight",
                                                "edge_mlp.0.weight")), None)  # fmt: skip
    if first is None:
        return shape
    hidden = int(weights[first].shape[0])
    shape |= {first: (hidden, 2 * width), first.replace("weight", "bias"): (hidden,)}
    for name in weights:
        part, _, what = name.rpartition(".")
        if part in ("query_proj", "relation_gate.0"):
            shape[name] = (hidden, columns) if what == "weight" else (hidden,)
        elif part in ("key_proj", "value_proj"):
            shape[name] = (hidden, hidden) if what == "weight" else (hidden,)
        elif part == "output_proj":
            shape[name] = (1, hidden) if what == "weight" else (1,)
    return shape | _layers(kind, weights, hidden, where)


def _layers(
    kind: type[Head], weights: Mapping[str, torch.Tensor], hidden: int, where: str
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the layers of an MLP, the last of which gives one number."""
    name = "mlp" if kind is Mlp else "output_mlp"
    matches = [m for m in map(_MORE.fullmatch, weights) if m and m.group(1) == name]
    numbers = sorted({int(m.group(2)) for m in matches})
    if not numbers:
        return {}
    for at in range(0, numbers[-1] + 1, 3):
        for what in ("weight", "bias"):
            if f"{name}.{at}.{what}" not in weights:
                raise InputError(f"{where}: head.{name}.{at}.{what}", "is missing", _BELONG)
    shape: dict[str, tuple[int, ...]] = {}
    before = hidden
    for at in numbers:
        if kind is Mlp and at == 0 and len(numbers) > 1:
            continue
        if kind is Mlp and at == 0:
            before = int(weights["mlp.0.weight"].shape[1])
        out = 1 if at == numbers[-1] else int(weights[f"{name}.{at}.weight"].shape[0])
        shape |= {f"{name}.{at}.weight": (out, before), f"{name}.{at}.bias": (out,)}
        before = out
    return shape
