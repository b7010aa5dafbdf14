"""Heads: two embeddings, and where the head knows relations a relation, to one raw score.

Ten heads of napistu-torch, from their formulas (docs/gnn.md). What depends on one vertex is
computed once per vertex: a linear layer of ``[z_src, z_dst]`` is the sum of one product per end.
Names of weights are those of the checkpoints.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch.nn import functional

from octoscope.gnn.pair_loops import dots, related_dots, relu_dots

Weights = Mapping[str, torch.Tensor]
Vertices = dict[str, torch.Tensor]
_EPS = 1e-8  # inside the square roots of the distances


@dataclass(frozen=True)
class Head(ABC):
    """A head.

    Attributes
    ----------
    weights
        Tensors by name.
    width
        Width of an embedding.
    groups
        Attention heads of the two relation attention heads; 1 elsewhere.
    """

    weights: Weights
    width: int
    groups: int = 1

    kind: ClassVar[str]
    keys: ClassVar[tuple[str, ...]] = ()
    symmetric: ClassVar[bool] = False  # cannot tell a to b from b to a
    relation_key: ClassVar[str] = ""
    # what corrected mode changes against the peer, in words
    corrections: ClassVar[tuple[str, ...]] = ()

    @property
    def n_relations(self) -> int:
        """Number of relations, 0 for a head that knows none."""
        return int(self.weights[self.relation_key].shape[0]) if self.relation_key else 0

    def vertices(self, z: torch.Tensor) -> Vertices:
        """Return what a score needs of each vertex, from [vertices, width] embeddings."""
        return {"z": z}

    @abstractmethod
    def raw(
        self, of: Vertices, src: torch.Tensor, dst: torch.Tensor, relation: torch.Tensor
    ) -> torch.Tensor:
        """Return [pairs] float32 raw scores.

        Parameters
        ----------
        of
            Of :meth:`vertices`.
        src, dst
            [pairs] int64 vertices.
        relation
            [pairs] int64 relations; ignored by heads without.
        """

    def probability(
        self, raw: torch.Tensor, relation: torch.Tensor, corrected: bool
    ) -> torch.Tensor:
        """Return [pairs] float32 in 0..1 that grow with the raw score: ``sigmoid(raw)``."""
        return torch.sigmoid(raw)

    def for_mode(self, corrected: bool) -> Head:
        """Return the head whose raw scores are of the mode: the same for all heads but one."""
        return self


class DotProduct(Head):
    """``mean_k(z_src,k z_dst,k)``."""

    kind = "dot_product"
    symmetric = True

    def raw(self, of: Vertices, src: Any, dst: Any, relation: Any) -> torch.Tensor:
        return dots(of["z"], of["z"], src, dst) / self.width


class Attention(Head):
    """``(W_q z_src) . (W_k z_dst) / sqrt(d)`` on unit embeddings."""

    kind = "attention"
    keys = ("query_proj.weight", "key_proj.weight")

    def vertices(self, z: torch.Tensor) -> Vertices:
        unit = functional.normalize(z, dim=1)
        q, k = (functional.linear(unit, self.weights[name]) for name in self.keys)
        return {"query": q / math.sqrt(q.shape[1]), "key": k}

    def raw(self, of: Vertices, src: Any, dst: Any, relation: Any) -> torch.Tensor:
        return dots(of["query"], of["key"], src, dst)


_ONE_HIDDEN = {"mlp.0.weight", "mlp.0.bias", "mlp.3.weight", "mlp.3.bias"}


class Mlp(Head):
    """``MLP([z_src, z_dst])``, ReLU between its layers."""

    kind = "mlp"
    keys = ("mlp.0.weight", "mlp.0.bias")

    def vertices(self, z: torch.Tensor) -> Vertices:
        return _ends(z, self.weights["mlp.0.weight"], self.weights["mlp.0.bias"])

    def raw(self, of: Vertices, src: Any, dst: Any, relation: Any) -> torch.Tensor:
        w = self.weights
        if set(w) == _ONE_HIDDEN:
            return relu_dots(of["src"], of["dst"], w["mlp.3.weight"][0], src, dst) + w["mlp.3.bias"]
        first = of["src"][src] + of["dst"][dst]
        return _mlp(first.relu_(), w, "mlp", 3) if "mlp.3.weight" in w else first[:, 0]


class DistMult(Head):
    """``mean_k(z_src,k r_k z_dst,k)`` (Yang et al. 2015)."""

    kind = "distmult"
    keys = ("relation_emb.weight",)
    relation_key = "relation_emb.weight"
    symmetric = True

    def raw(self, of: Vertices, src: Any, dst: Any, relation: Any) -> torch.Tensor:
        by_relation = self.weights[self.relation_key]
        return related_dots(of["z"], by_relation, of["z"], src, relation, dst) / self.width


_DISTANCE = (
    "the peer's probability is sigmoid(-distance), which never exceeds 0.5; corrected is "
    "1 - distance / largest possible distance"
)


class TransE(Head):
    """``-sqrt(|z_src + r - z_dst|^2 + 1e-8)`` on unit embeddings (Bordes et al. 2013).

    The largest distance is 2 + the largest norm of a relation.
    """

    kind = "transe"
    keys = ("relation_emb.weight",)
    relation_key = "relation_emb.weight"
    corrections = (_DISTANCE,)

    def vertices(self, z: torch.Tensor) -> Vertices:
        return {"z": functional.normalize(z, dim=1)}

    def raw(self, of: Vertices, src: Any, dst: Any, relation: Any) -> torch.Tensor:
        moved = of["z"][src] + self.weights[self.relation_key][relation] - of["z"][dst]
        return -((moved * moved).sum(1) + _EPS).sqrt()

    def probability(self, raw: torch.Tensor, relation: Any, corrected: bool) -> torch.Tensor:
        if not corrected:
            return torch.sigmoid(raw)
        largest = 2 + self.weights[self.relation_key].norm(dim=1).max()
        return (1 + raw / largest).clamp(0, 1)


class RotatE(Head):
    """``-mean_k |z_src,k e^(i r_k) - z_dst,k|`` on unit embeddings (Sun et al. 2019).

    The first half of an embedding is the real part, the second the imaginary part. Unit vectors of
    K complex numbers differ by at most 2 in norm, so the mean is at most 2 / sqrt(K).
    """

    kind = "rotate"
    keys: ClassVar[tuple[str, ...]] = ("relation_emb.weight",)
    relation_key = "relation_emb.weight"
    corrections: ClassVar[tuple[str, ...]] = (_DISTANCE,)

    def vertices(self, z: torch.Tensor) -> Vertices:
        return {"z": functional.normalize(z, dim=1)}

    def raw(self, of: Vertices, src: Any, dst: Any, relation: Any) -> torch.Tensor:
        (a, b), (c, d) = of["z"][src].chunk(2, 1), of["z"][dst].chunk(2, 1)
        phase = self.weights[self.relation_key][relation]
        cos, sin = phase.cos(), phase.sin()
        re, im = a * cos - b * sin - c, a * sin + b * cos - d
        return -(re * re + im * im + _EPS).sqrt().mean(1)

    @property
    def largest(self) -> float:
        """The largest possible distance."""
        return 2 / math.sqrt(self.width // 2)

    def probability(self, raw: torch.Tensor, relation: Any, corrected: bool) -> torch.Tensor:
        return (1 + raw / self.largest).clamp(0, 1) if corrected else torch.sigmoid(raw)


class ConditionalRotatE(RotatE):
    """RotatE for relations with a direction, ``similarity - 1`` for symmetric ones.

    The peer's similarity is the mean over columns of products of unit vectors, so it lies within
    1/width of 0 and symmetric relations hardly vary; corrected mode takes the cosine.
    """

    kind = "conditional_rotate"
    keys = ("relation_emb.weight", "is_symmetric")
    corrections = (
        _DISTANCE,
        "the peer's similarity of symmetric relations is a mean over the columns of unit vectors "
        "and hardly varies (0 plus or minus 1/width); corrected is their cosine",
    )
    cosine = False

    def raw(self, of: Vertices, src: Any, dst: Any, relation: Any) -> torch.Tensor:
        symmetric = self.weights["is_symmetric"].bool()[relation]
        product = dots(of["z"], of["z"], src, dst)
        similarity = product if self.cosine else product / self.width
        return torch.where(symmetric, similarity - 1, super().raw(of, src, dst, relation))

    def probability(self, raw: torch.Tensor, relation: Any, corrected: bool) -> torch.Tensor:
        if not corrected:
            return torch.sigmoid(raw)
        symmetric = self.weights["is_symmetric"].bool()[relation]
        largest = torch.where(symmetric, 2.0, self.largest)
        return (1 + raw / largest).clamp(0, 1)

    def for_mode(self, corrected: bool) -> Head:
        return _Cosine(self.weights, self.width) if corrected else self


class _Cosine(ConditionalRotatE):
    cosine = True


class RelationAttention(Head):
    """A relation asks a linear layer of both ends through attention heads.

    ``h = W [z_src, z_dst] + b`` on unit embeddings; the softmax runs over the attention heads of
    ``Q(r) . K(h) / sqrt(d)``, so it is a gate per head; the score is linear in gate times ``V(h)``.
    """

    kind = "relation_attention"
    keys = (
        "relation_emb.weight", "edge_proj.weight", "edge_proj.bias", "query_proj.weight",
        "query_proj.bias", "key_proj.weight", "key_proj.bias", "value_proj.weight",
        "value_proj.bias", "output_proj.weight", "output_proj.bias",
    )  # fmt: skip
    relation_key = "relation_emb.weight"

    def vertices(self, z: torch.Tensor) -> Vertices:
        unit = functional.normalize(z, dim=1)
        return _ends(unit, self.weights["edge_proj.weight"], self.weights["edge_proj.bias"])

    def raw(self, of: Vertices, src: Any, dst: Any, relation: Any) -> torch.Tensor:
        attended = _gated(of["src"][src] + of["dst"][dst], relation, self.weights, self.groups)
        return _linear(attended, self.weights, "output_proj")[:, 0]


class RelationAttentionMlp(Head):
    """As relation attention on ``h = relu(W [z_src, z_dst] + b)``, added to h, through an MLP."""

    kind = "relation_attention_mlp"
    keys = (
        "relation_emb.weight", "edge_mlp.0.weight", "edge_mlp.0.bias", "query_proj.weight",
        "query_proj.bias", "key_proj.weight", "key_proj.bias", "value_proj.weight",
        "value_proj.bias", "output_mlp.0.weight", "output_mlp.0.bias",
    )  # fmt: skip
    relation_key = "relation_emb.weight"

    def vertices(self, z: torch.Tensor) -> Vertices:
        return _ends(z, self.weights["edge_mlp.0.weight"], self.weights["edge_mlp.0.bias"])

    def raw(self, of: Vertices, src: Any, dst: Any, relation: Any) -> torch.Tensor:
        hidden = (of["src"][src] + of["dst"][dst]).relu_()
        attended = _gated(hidden, relation, self.weights, self.groups) + hidden
        return _mlp(attended, self.weights, "output_mlp", 0)


class RelationGatedMlp(Head):
    """``MLP(relu(W [z_src, z_dst] + b) * tanh(G r + c))``."""

    kind = "relation_gated_mlp"
    keys = (
        "relation_emb.weight", "edge_mlp.0.weight", "edge_mlp.0.bias", "relation_gate.0.weight",
        "relation_gate.0.bias", "output_mlp.0.weight", "output_mlp.0.bias",
    )  # fmt: skip
    relation_key = "relation_emb.weight"

    def vertices(self, z: torch.Tensor) -> Vertices:
        return _ends(z, self.weights["edge_mlp.0.weight"], self.weights["edge_mlp.0.bias"])

    def raw(self, of: Vertices, src: Any, dst: Any, relation: Any) -> torch.Tensor:
        gate = torch.tanh(_linear(self.weights[self.relation_key], self.weights, "relation_gate.0"))
        hidden = (of["src"][src] + of["dst"][dst]).relu_() * gate[relation]
        return _mlp(hidden, self.weights, "output_mlp", 0)


def _linear(x: torch.Tensor, weights: Weights, name: str) -> torch.Tensor:
    return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _ends(z: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> Vertices:
    """Return a linear layer of ``[z_src, z_dst]`` as one term per end."""
    first, second = weight.chunk(2, dim=1)
    return {"src": functional.linear(z, first, bias), "dst": functional.linear(z, second)}


def _mlp(x: torch.Tensor, weights: Weights, name: str, start: int) -> torch.Tensor:
    """Return [pairs] of the layers of an MLP from ``start`` on, in steps of 3 (ReLU, dropout)."""
    at = start
    while f"{name}.{at}.weight" in weights:
        if at > start:
            x = x.relu_()
        x = _linear(x, weights, f"{name}.{at}")
        at += 3
    return x[:, 0]


def _gated(hidden: torch.Tensor, relation: Any, weights: Weights, groups: int) -> torch.Tensor:
    query = _linear(weights["relation_emb.weight"], weights, "query_proj")[relation]
    shape = (len(hidden), groups, -1)
    key = _linear(hidden, weights, "key_proj").view(shape)
    value = _linear(hidden, weights, "value_proj").view(shape)
    logits = (query.view(shape) * key).sum(-1) / math.sqrt(key.shape[-1])
    return (torch.softmax(logits, 1)[:, :, None] * value).view(len(hidden), -1)


KINDS: dict[str, type[Head]] = {
    c.kind: c
    for c in (
        DotProduct, Attention, Mlp, DistMult, TransE, RotatE, ConditionalRotatE,
        RelationAttention, RelationAttentionMlp, RelationGatedMlp,
    )
}  # fmt: skip
