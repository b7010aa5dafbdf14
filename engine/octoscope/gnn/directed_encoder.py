"""Layers with weights of their own along edges and against them (Rossi et al. 2023).

``torch_geometric.nn.DirGNNConv`` around GraphConv or SAGE: half of each direction's output, and
what the vertex itself gives. Its weights are added up to three matrices and a bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional

from octoscope.errors import InputError
from octoscope.gnn.encoders import AGAIN, Encoder, Weights, encoder_of
from octoscope.gnn.messages import Messages

_PARTS = ("conv_in.", "conv_out.")


class Directed(Encoder):
    """``h' = W_in combined(h_j: j to i) + W_out combined(h_j: i to j) + W_root h_i + b``."""

    kind = "directed"
    keys = ("in.weight", "out.weight", "root.weight", "bias")

    def layer(self, weights: Weights, x: torch.Tensor, messages: Messages) -> torch.Tensor:
        """Return [vertices, out] of one layer from [vertices, in]."""
        arrived = self.projected(x, weights["in.weight"], messages)
        sent = self.projected(x, weights["out.weight"], messages.reverse)
        return arrived + sent + functional.linear(x, weights["root.weight"], weights["bias"])


def any_encoder_of(weights: Weights, settings: Mapping[str, Any], where: str) -> Encoder:
    """Build an encoder, with or without directions; see :func:`encoder_of`.

    Raises
    ------
    InputError
        If the kind or aggregator is not supported, or a weight is missing, unknown or of a shape
        that does not fit.
    """
    if any(part in name for name in weights for part in _PARTS):
        return _directed(weights, settings, where)
    return encoder_of(weights, settings, where)


def _directed(weights: Weights, settings: Mapping[str, Any], where: str) -> Directed:
    kind = settings.get("encoder")
    if kind not in ("sage", "graph_conv"):
        raise InputError(f"{where}: encoder", f"is {kind!r} with weights of two directions",
                         "supported are sage and graph_conv")  # fmt: skip
    along, against = (
        encoder_of(_half(weights, part, kind == "sage", where), settings, where) for part in _PARTS
    )
    if len(along.layers) != len(against.layers):
        raise InputError(f"{where}: encoder", "has directions of different depth", AGAIN)
    sent, bias, root = along.keys
    layers = []
    for i, (a, b) in enumerate(zip(along.layers, against.layers, strict=True)):
        if a[sent].shape != b[sent].shape:
            raise InputError(f"{where}: encoder.convs.{i}", "has directions of different shape",
                             AGAIN)  # fmt: skip
        both = (a[bias] + b[bias]) / 2
        if kind == "sage":
            both = both + _outer_bias(weights, i, both, where)
        layers.append({"in.weight": a[sent] / 2, "out.weight": b[sent] / 2,
                       "root.weight": (a[root] + b[root]) / 2, "bias": both})  # fmt: skip
    return Directed(tuple(layers), along.aggregator, along.edge)


def _half(weights: Weights, part: str, outer: bool, where: str) -> dict[str, torch.Tensor]:
    """Return the weights of one direction, under the names of a layer without direction.

    ``outer``: the matrix of the vertex itself is outside the two directions.
    """
    (other,) = (p for p in _PARTS if p != part)
    half = {}
    for name, tensor in weights.items():
        layer, _, rest = name.rpartition(".lin.") if outer else ("", "", "")
        if layer and rest == "weight":
            half[f"{layer}.lin_r.weight"] = tensor
        elif not (layer and rest == "bias") and other not in name:
            inner = name.replace(part, "")
            if inner in half or (outer and inner.endswith("lin_r.weight")):
                raise InputError(f"{where}: encoder.{name}", "is no weight of two directions",
                                 AGAIN)  # fmt: skip
            half[inner] = tensor
    return half


def _outer_bias(weights: Weights, i: int, like: torch.Tensor, where: str) -> torch.Tensor:
    name = f"convs.{i}.lin.bias"
    if name not in weights:
        raise InputError(f"{where}: encoder.{name}", "is missing", AGAIN)
    if weights[name].shape != like.shape:
        raise InputError(f"{where}: encoder.{name}", f"has shape {tuple(weights[name].shape)}, "
                         f"expected {tuple(like.shape)}", AGAIN)  # fmt: skip
    return weights[name].to(torch.float32)
