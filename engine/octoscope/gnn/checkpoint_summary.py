"""What a checkpoint holds, in words and numbers."""

from __future__ import annotations

from typing import Any

from octoscope.gnn.gnn_checkpoint import Checkpoint


def describe_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return encoder, head, sizes, relations, corrections, and the graph that it was trained on."""
    encoder, head, data = checkpoint.encoder, checkpoint.head, checkpoint.data
    edge = "none"
    if encoder.edge:
        read = "" if encoder.uses_edge_weights else f", which {encoder.kind} does not use"
        edge = f"{encoder.edge_channels} features to one weight{read}"
    return {
        "encoder": encoder.kind,
        "layers": len(encoder.layers),
        "aggregator": encoder.aggregator if encoder.kind in ("graph_conv", "sage") else None,
        "attention_heads": encoder.heads if encoder.kind == "gat" else None,
        "vertex_features": encoder.in_channels,
        "width": encoder.out_channels,
        "edge_encoder": edge,
        "head": head.kind,
        "direction": "cannot tell a to b from b to a" if head.symmetric else "ordered pairs",
        "relations": list(checkpoint.relations),
        "trained_on": {k: data.get(k) for k in ("name", "num_nodes", "num_edges")},
        "corrections": list(head.corrections),
        "sha256": checkpoint.digest,
    }
