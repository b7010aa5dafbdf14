"""Encoders: vertex features and edges to embeddings, in four kinds of message passing.

Formulas are those of ``torch_geometric.nn`` (GraphConv, GCNConv, SAGEConv, GATConv), whose names
the weights carry; tests compare with its layers. Between layers stands ReLU (ELU after graph
attention), after the last nothing. An edge encoder, where the checkpoint has one, gives each edge
the weight ``sigmoid(L3(relu(L0(edge features))))``; GraphConv and GCN use it, SAGE and GAT do not,
as in napistu-torch.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn import functional

from octoscope.errors import InputError, warn
from octoscope.gnn.messages import Messages

_EDGE = "edge_weighting_value.net."
_EDGES_AT_ONCE = 1 << 18
AGAIN = "check that weights and settings belong together"
Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Encoder(ABC):
    """Layers of message passing.

    Attributes
    ----------
    layers
        One mapping of weights per layer.
    aggregator
        How messages are combined: ``mean``, ``add`` or ``max``; ignored by GCN and GAT.
    edge
        Weights of the edge encoder; empty without one.
    heads
        Attention heads of GAT; the shape of a bias tells whether they stand side by side or are
        averaged.
    """

    layers: tuple[Weights, ...]
    aggregator: str
    edge: Weights
    heads: int = 1

    kind: ClassVar[str]
    keys: ClassVar[tuple[str, ...]]
    uses_edge_weights: ClassVar[bool] = True

    @abstractmethod
    def layer(self, weights: Weights, x: torch.Tensor, messages: Messages) -> torch.Tensor:
        """Return [vertices, out] of one layer from [vertices, in]."""

    def prepare(self, messages: Messages) -> Messages:
        """Return the messages as every layer passes them."""
        return messages

    @property
    def in_channels(self) -> int:
        """Number of features of a vertex."""
        return int(self.layers[0][self.keys[0]].shape[1])

    @property
    def out_channels(self) -> int:
        """Width of an embedding."""
        return int(self.layers[-1][self.keys[0]].shape[0])

    @property
    def edge_channels(self) -> int:
        """Number of features of an edge that the edge encoder reads, 0 without one."""
        return int(self.edge["0.weight"].shape[1]) if self.edge else 0

    @torch.inference_mode()
    def edge_weights(self, edge_attr: np.ndarray, rows: np.ndarray | None = None) -> torch.Tensor:
        """Return [rows] float32 weights in 0..1 from [edges, features], a block of rows at a time.

        ``rows``: [rows] int64 edges; None: all. Features may be mapped from a file.
        """
        rows = np.arange(len(edge_attr)) if rows is None else rows
        device = self.edge["0.weight"].device
        parts = []
        for lo in range(0, len(rows), _EDGES_AT_ONCE):
            values = edge_attr[rows[lo : lo + _EDGES_AT_ONCE]]
            block = torch.from_numpy(np.array(values, dtype=np.float32)).to(device)
            hidden = functional.linear(block, self.edge["0.weight"], self.edge["0.bias"]).relu_()
            out = functional.linear(hidden, self.edge["3.weight"], self.edge["3.bias"])
            parts.append(torch.sigmoid(out[:, 0]))
        return torch.cat(parts) if parts else torch.zeros(0)

    @torch.inference_mode()
    def encode(self, x: torch.Tensor, messages: Messages) -> torch.Tensor:
        """Return [vertices, out_channels] float32 embeddings of [vertices, in_channels] features.

        ``messages`` carry the weights of :meth:`edge_weights` where there is an edge encoder.
        """
        passed = self.prepare(messages)
        for i, weights in enumerate(self.layers):
            x = self.layer(weights, x, passed)
            if i < len(self.layers) - 1:
                x = functional.elu(x) if self.kind == "gat" else x.relu_()
        return x

    def combined(self, x: torch.Tensor, messages: Messages) -> torch.Tensor:
        """Return what arrives at each vertex, combined by the aggregator."""
        if self.aggregator == "max":
            return messages.largest(x)
        return messages.mean(x) if self.aggregator == "mean" else messages.total(x)

    def projected(self, x: torch.Tensor, weight: torch.Tensor, messages: Messages) -> torch.Tensor:
        """Return ``combined(x) @ weight.T``; the narrower side of the product is passed on.

        Sums and means are linear, so the projection may come first; a maximum is not.
        """
        if self.aggregator != "max" and weight.shape[0] < weight.shape[1]:
            return self.combined(functional.linear(x, weight), messages)
        return functional.linear(self.combined(x, messages), weight)


class _Rooted(Encoder):
    """A matrix for what arrives and one for the vertex itself; keys: messages, bias, itself."""

    def layer(self, weights: Weights, x: torch.Tensor, messages: Messages) -> torch.Tensor:
        sent, bias, root = (weights[key] for key in self.keys)
        return self.projected(x, sent, messages) + functional.linear(x, root, bias)


class GraphConv(_Rooted):
    """``h' = W_rel combined(w_e h_j) + b + W_root h_i`` (Morris et al. 2019)."""

    kind = "graph_conv"
    keys = ("lin_rel.weight", "lin_rel.bias", "lin_root.weight")


class Sage(_Rooted):
    """``h' = W_l combined(h_j) + b + W_r h_i`` (Hamilton et al. 2017)."""

    kind = "sage"
    keys = ("lin_l.weight", "lin_l.bias", "lin_r.weight")
    uses_edge_weights = False


class Gcn(Encoder):
    """``h' = D^-1/2 (A + I) D^-1/2 h W + b`` (Kipf and Welling 2017)."""

    kind = "gcn"
    keys = ("lin.weight", "bias")

    def prepare(self, messages: Messages) -> Messages:
        return messages.with_self_loops(keep=True).symmetric()

    def layer(self, weights: Weights, x: torch.Tensor, messages: Messages) -> torch.Tensor:
        return self.projected(x, weights["lin.weight"], messages) + weights["bias"]

    def combined(self, x: torch.Tensor, messages: Messages) -> torch.Tensor:
        return messages.total(x)


class Gat(Encoder):
    """Graph attention: softmax over in-edges and a self loop of leaky_relu(a_src h_j + a_dst h_i).

    Slope 0.2, no dropout (Velickovic et al. 2018).
    """

    kind = "gat"
    keys = ("lin.weight", "att_src", "att_dst", "bias")
    uses_edge_weights = False

    @property
    def out_channels(self) -> int:
        return int(self.layers[-1]["bias"].shape[0])

    def prepare(self, messages: Messages) -> Messages:
        return messages.with_self_loops(keep=False)

    def layer(self, weights: Weights, x: torch.Tensor, messages: Messages) -> torch.Tensor:
        h = functional.linear(x, weights["lin.weight"])
        heads, width = weights["att_src"].shape[1:]
        h = h.view(-1, heads, width)
        from_src, from_dst = ((h * weights[k]).sum(-1) for k in ("att_src", "att_dst"))
        parts = []
        for k in range(heads):
            logits = from_src[messages.src, k] + from_dst[messages.dst, k]
            share = messages.softmax(functional.leaky_relu(logits, 0.2))
            parts.append(messages.weighted(share).total(h[:, k].contiguous()))
        side_by_side = weights["bias"].shape[0] == heads * width
        out = torch.cat(parts, 1) if side_by_side else torch.stack(parts).mean(0)
        return out + weights["bias"]


KINDS: dict[str, type[Encoder]] = {c.kind: c for c in (GraphConv, Sage, Gcn, Gat)}
_AGGREGATORS = {"mean": "mean", "add": "add", "sum": "add", "max": "max"}


def encoder_of(weights: Weights, settings: Mapping[str, Any], where: str) -> Encoder:
    """Build an encoder from its weights (names without ``encoder.``) and settings.

    Raises
    ------
    InputError
        If the kind or aggregator is not supported, or a weight is missing, unknown or of a shape
        that does not fit.
    """
    kind = KINDS.get(str(settings.get("encoder")))
    if kind is None:
        raise InputError(
            f"{where}: encoder",
            f"is {settings.get('encoder')!r}, supported are {', '.join(KINDS)}",
            "give a checkpoint with one of these encoders",
        )
    stated = settings.get(f"{kind.kind}_aggregator")
    if kind in (GraphConv, Sage) and stated is None:
        warn(f"{where}: {kind.kind}_aggregator is not stated; mean is assumed")
    stated = stated or "mean"
    if kind in (GraphConv, Sage) and stated not in _AGGREGATORS:
        raise InputError(
            f"{where}: {kind.kind}_aggregator", f"is {stated!r}",
            f"supported are {', '.join(_AGGREGATORS)}",
        )  # fmt: skip
    edge = {
        k.removeprefix(_EDGE): v.to(torch.float32)
        for k, v in weights.items()
        if k.startswith(_EDGE)
    }
    rest = {k: v for k, v in weights.items() if not k.startswith(_EDGE)}
    layers = _layers(rest, kind, where)
    _check_edge(edge, where)
    heads = int(layers[0]["att_src"].shape[1]) if kind is Gat else 1
    encoder = kind(layers, _AGGREGATORS.get(str(stated), "mean"), edge, heads)
    _check_shapes(encoder, where)
    return encoder


def _layers(weights: Weights, kind: type[Encoder], where: str) -> tuple[Weights, ...]:
    by_number: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in weights.items():
        match = re.fullmatch(r"convs\.(\d{1,3})\.(.+)", name)
        key = {"lin_src.weight": "lin.weight"}.get(match.group(2), match.group(2)) if match else ""
        if match is None or key not in kind.keys:
            raise InputError(
                f"{where}: encoder.{name}", f"is no weight of a {kind.kind} encoder",
                AGAIN,
            )  # fmt: skip
        if tensor.ndim != {"att_src": 3, "att_dst": 3}.get(key, 1 if "bias" in key else 2):
            raise InputError(f"{where}: encoder.{name}", f"has {tensor.ndim} dimensions", AGAIN)
        by_number.setdefault(int(match.group(1)), {})[key] = tensor.to(torch.float32)
    missing = [
        f"convs.{i}.{key}"
        for i in range(max(by_number, default=0) + 1)
        for key in kind.keys
        if key not in by_number.get(i, {})
    ]
    if missing:
        raise InputError(
            f"{where}: encoder.{missing[0]}", f"is missing ({len(missing)} weights)",
            AGAIN,
        )  # fmt: skip
    return tuple(by_number[i] for i in sorted(by_number))


def _check_edge(edge: Weights, where: str) -> None:
    names = {"0.weight", "0.bias", "3.weight", "3.bias"}
    if edge and set(edge) != names:
        odd = sorted(set(edge) ^ names)[0]
        what = "is missing" if odd in names else "is unknown"
        raise InputError(f"{where}: encoder.{_EDGE}{odd}", what, "get the checkpoint again")
    if edge:
        if edge["0.weight"].ndim != 2:
            raise InputError(f"{where}: encoder.{_EDGE}0.weight", "is no matrix", AGAIN)
        width = edge["0.weight"].shape[0]
        _shape(f"{where}: encoder.{_EDGE}0.bias", edge["0.bias"], (width,))
        _shape(f"{where}: encoder.{_EDGE}3.weight", edge["3.weight"], (1, width))
        _shape(f"{where}: encoder.{_EDGE}3.bias", edge["3.bias"], (1,))


def _check_shapes(encoder: Encoder, where: str) -> None:
    width = encoder.in_channels
    for i, weights in enumerate(encoder.layers):
        here = f"{where}: encoder.convs.{i}"
        first = weights[encoder.keys[0]]
        out = int(first.shape[0])
        _shape(f"{here}.{encoder.keys[0]}", first, (out, width))
        if isinstance(encoder, Gat):
            heads = int(weights["att_src"].shape[1]) if weights["att_src"].ndim == 3 else 1
            for key in ("att_src", "att_dst"):
                _shape(f"{here}.{key}", weights[key], (1, heads, out // heads))
            allowed = (out, out // heads)
            width = int(weights["bias"].shape[0]) if weights["bias"].ndim == 1 else -1
            if width not in allowed:
                _shape(f"{here}.bias", weights["bias"], (out,))
            continue
        for key in encoder.keys[1:]:
            _shape(f"{here}.{key}", weights[key], (out,) if "bias" in key else (out, width))
        width = out


def _shape(where: str, tensor: torch.Tensor, expected: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != expected:
        raise InputError(
            where, f"has shape {tuple(tensor.shape)}, expected {expected}",
            AGAIN,
        )  # fmt: skip
