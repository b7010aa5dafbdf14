"""Encoder and head with weights that learn: torch-geometric's layers, formulas of ``gnn.heads``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from octoscope.gnn.head_weights import head_of
from octoscope.gnn.heads import Head
from octoscope.gnn_training.train_config import TrainConfig
from octoscope.gnn_training.training_layers import Encoder

DISTANCES = ("transe", "rotate", "conditional_rotate")


class Model(nn.Module):
    """An encoder and a head.

    Parameters
    ----------
    config
        Kinds and sizes.
    features, edge_features
        Numbers of features of a vertex and of an edge.
    relations
        Names of the relations.
    """

    def __init__(
        self, config: TrainConfig, features: int, relations: tuple[str, ...],
        edge_features: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.relations = relations
        self.encoder = Encoder(config, features, edge_features)
        learned, fixed = _head_weights(config, relations)
        # parameters have no dots in their names
        self.head_names = {name.replace(".", "|"): name for name in learned}
        self.head = nn.ParameterDict({k: nn.Parameter(learned[n])
                                      for k, n in self.head_names.items()})  # fmt: skip
        self.fixed, self.config = fixed, config

    def head_weights(self) -> dict[str, torch.Tensor]:
        """Return the weights of the head by the names of a checkpoint."""
        learned = {name: self.head[key] for key, name in self.head_names.items()}
        return {**learned, **self.fixed}

    def scorer(self) -> Head:
        """Return the head with the present weights; gradients flow through it."""
        config = self.config
        settings = {"head": config.head, "relation_attention_heads": config.attention_heads}
        return head_of(self.head_weights(), settings, config.width, "training").for_mode(
            not config.peer
        )

    def take(self, weights: Mapping[str, torch.Tensor], *, head: bool) -> None:
        """Take over the encoder of a checkpoint with the same sizes, and its head.

        Raises
        ------
        RuntimeError, KeyError
            If a weight is missing or has another shape.
        """
        own = {k.removeprefix("encoder."): v for k, v in weights.items()
               if k.startswith("encoder.")}  # fmt: skip
        self.encoder.load_state_dict(own)
        if head:
            self.head.load_state_dict({key: weights[f"head.head.{name}"]
                                       for key, name in self.head_names.items()})  # fmt: skip

    def checkpoint_weights(self) -> dict[str, torch.Tensor]:
        """Return copies of all weights by the names of a checkpoint."""
        encoder = {f"encoder.{k}": v for k, v in self.encoder.state_dict().items()}
        head = {f"head.head.{k}": v for k, v in self.head_weights().items()}
        return {k: v.detach().clone() for k, v in (encoder | head).items()}

    def settings(self) -> dict[str, dict[str, Any]]:
        """Return what a checkpoint states of encoder and head."""
        config = self.config
        return {
            "encoder": {"encoder": config.encoder, "hidden_channels": config.width,
                        "num_layers": config.layers, "directed": config.directed,
                        f"{config.encoder}_aggregator": config.aggregator},
            "head": {"head": config.head, "relation_attention_heads": config.attention_heads},
        }  # fmt: skip


def loss_of(
    head: Head, raw: torch.Tensor, of: torch.Tensor, weight: torch.Tensor, margin: float,
    relation: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """Return the weighted mean loss.

    Distances have a margin between an edge and its negative, ``relu(margin + s_neg - s_pos)``
    (Bordes et al. 2013); other scores the binary cross-entropy.

    Parameters
    ----------
    raw
        [positives + negatives] scores, positives first.
    of
        [negatives] int64 positive of each negative.
    weight
        [positives] float32.
    margin
        As a share of the largest distance.
    relation
        [positives + negatives] int64.
    """
    n = len(weight)
    both = torch.cat([weight, weight[of]])
    if head.kind not in DISTANCES:
        truth = (torch.arange(len(raw)) < n).to(raw)
        each = functional.binary_cross_entropy_with_logits(raw, truth, reduction="none")
        return (each * both).sum() / both.sum()
    chance = 1 + raw / _largest(head, relation)
    each = functional.relu(margin + chance[n:] - chance[:n][of])
    return (each * weight[of]).sum() / weight[of].sum()


def _largest(head: Any, relation: torch.Tensor) -> torch.Tensor | float:
    """Return the largest distance that the head can give."""
    if head.kind == "transe":
        norms = head.weights["relation_emb.weight"].detach().norm(dim=1)
        return float(2 + norms.max())
    if head.kind == "rotate":
        return float(head.largest)
    symmetric = head.weights["is_symmetric"].bool()[relation]
    return torch.where(symmetric, 2.0, head.largest)


def _head_weights(
    config: TrainConfig, relations: tuple[str, ...]
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return first weights that learn, and weights that are fixed."""
    w, h, re, r = config.width, config.hidden, config.relation_width, max(len(relations), 1)
    fixed: dict[str, torch.Tensor] = {}
    if config.head == "conditional_rotate":
        ends = [name.split(" -> ") for name in relations]
        fixed["is_symmetric"] = torch.tensor([e[0] == e[-1] for e in ends])
    near_zero = 0.1 * torch.randn(r, w)
    first: dict[str, Mapping[str, torch.Tensor]] = {
        "dot_product": {},
        "attention": {f"{k}_proj.weight": _matrix(h, w) for k in ("query", "key")},
        "mlp": _linear("mlp.0", h, 2 * w) | _linear("mlp.3", 1, h),
        # as the identity at first: a relation tells nothing before it learns
        "distmult": {"relation_emb.weight": 1 + near_zero},
        "transe": {"relation_emb.weight": near_zero / math.sqrt(w)},
        "rotate": {"relation_emb.weight": near_zero[:, : w // 2].clone()},
        "conditional_rotate": {"relation_emb.weight": near_zero[:, : w // 2].clone()},
        "relation_attention": {
            "relation_emb.weight": torch.randn(r, re), **_linear("edge_proj", h, 2 * w),
            **_linear("query_proj", h, re), **_linear("key_proj", h, h),
            **_linear("value_proj", h, h), **_linear("output_proj", 1, h),
        },
        "relation_attention_mlp": {
            "relation_emb.weight": torch.randn(r, re), **_linear("edge_mlp.0", h, 2 * w),
            **_linear("query_proj", h, re), **_linear("key_proj", h, h),
            **_linear("value_proj", h, h), **_linear("output_mlp.0", h, h),
            **_linear("output_mlp.3", 1, h),
        },
        "relation_gated_mlp": {
            "relation_emb.weight": torch.randn(r, re), **_linear("edge_mlp.0", h, 2 * w),
            **_linear("relation_gate.0", h, re), **_linear("output_mlp.0", h, h),
            **_linear("output_mlp.3", 1, h),
        },
    }  # fmt: skip
    return dict(first[config.head]), fixed


def _linear(name: str, out: int, inside: int) -> dict[str, torch.Tensor]:
    return {f"{name}.weight": _matrix(out, inside), f"{name}.bias": torch.zeros(out)}


def _matrix(out: int, inside: int) -> torch.Tensor:
    return nn.init.xavier_uniform_(torch.empty(out, inside))
