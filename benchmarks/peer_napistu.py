"""napistu-torch 0.4.0 on given arrays; runs in the peer's own environment, never in ours.

    python peer_napistu.py INPUTS.npz OURS.npz OUT.json [--no-parity]

Calls ``LayerwiseAttentionInputs.compare_layer_attention_consistency`` as documented, times it, then
checks our union values and ranks against the peer's own matrices by the epsilon rule: with
epsilon = 1e-6 max|A|, every rank lies between those of value + epsilon and value - epsilon.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
import torch
from measure import measured
from napistu_torch.foundation_models.attention_patterns import LayerwiseAttentionInputs
from napistu_torch.foundation_models.foundation_models import (
    AttentionLayer,
    FoundationModel,
    FoundationModelWeights,
)
from napistu_torch.foundation_models.gene_embeddings import GeneEmbeddings


def build(data) -> LayerwiseAttentionInputs:
    residual, heads = data["residual"], int(data["heads"])
    genes = [f"ENSG{i:011d}" for i in range(residual.shape[1])]
    annotations = pd.DataFrame({"vocab_name": genes, "ensembl_gene": genes})

    def embeddings(layer, values):
        return GeneEmbeddings(
            embedding=values, ordered_gene_ids=genes, gene_annotations=annotations,
            model_name="random", layer_idx=layer,
        )  # fmt: skip

    layers = []
    for i in range(len(residual)):
        q, k = data["w_q"][i], data["w_k"][i]
        layers.append(AttentionLayer(layer_idx=i, W_q=q, W_k=k, W_v=q, W_o=q))
    model = FoundationModel(
        weights=FoundationModelWeights(
            static_gene_embeddings=embeddings(None, residual[0]), attention_layers=layers
        ),
        gene_annotations=annotations,
        model_metadata={
            "model_name": "random", "n_genes": len(genes), "n_vocab": len(genes),
            "ordered_vocabulary": genes, "embed_dim": residual.shape[2],
            "n_layers": len(residual), "n_heads": heads,
        },
    )  # fmt: skip
    per_layer = {i: embeddings(i, residual[i]) for i in range(len(residual))}
    return LayerwiseAttentionInputs(residual_stream_embeddings=per_layer, foundation_model=model)


def parity(inputs, data, ours, spearman, table) -> dict:
    """Compare what we found with the peer's own matrices and tables."""
    absolute, k = bool(data["absolute"]), int(data["k"])
    query, key = ours["query"].astype(np.int64), ours["key"].astype(np.int64)
    n = inputs.n_genes
    code = query * n + key
    worst = {"value": 0.0, "ranks_outside": 0, "pairs_differ": 0, "pairs_beyond_epsilon": 0}
    of_union = np.zeros(len(code), bool)
    for i in range(inputs.n_layers):
        matrix = inputs.compute_attention(i, apply_softmax=False)
        size = np.abs(matrix) if absolute else matrix
        epsilon = 1e-6 * float(np.abs(matrix).max())
        mine = ours["values"][i]
        gap = np.abs(matrix[query, key] - mine).max()
        worst["value"] = max(worst["value"], float(gap / (epsilon * 1e6)))
        rising = np.sort(size.ravel())
        value = size[query, key]
        low = 1 + len(rising) - np.searchsorted(rising, value + epsilon, side="right")
        high = 1 + len(rising) - np.searchsorted(rising, value - epsilon, side="right")
        rank = ours["ranks"][i]
        worst["ranks_outside"] += int(((rank < low) | (rank > high)).sum())
        np.fill_diagonal(size, -np.inf)
        flat = size.ravel()
        kth = np.partition(flat, len(flat) - k)[len(flat) - k]
        top = np.flatnonzero(flat >= kth)
        theirs_only = np.setdiff1d(top, ours[f"top_{i}"])
        ours_only = np.setdiff1d(ours[f"top_{i}"], top)
        differing = np.concatenate([theirs_only, ours_only])
        worst["pairs_differ"] += len(differing)
        worst["pairs_beyond_epsilon"] += int((np.abs(flat[differing] - kth) > epsilon).sum())
        of_union |= np.isin(code, top)
    worst["spearman"] = float(np.abs(spearman - ours["spearman"]).max())
    table = table.sort_values(["query_layer", "eval_layer"])
    for name in ("median", "mean"):
        gap = np.abs(table[f"{name}_quantile"].to_numpy() - ours[f"{name}_quantile"])
        worst[f"{name}_quantile"] = float(gap.max())
    worst["union_beyond_peer"] = int((~of_union).sum())
    worst["ok"] = bool(
        worst["ranks_outside"] == 0
        and worst["pairs_beyond_epsilon"] == 0
        and worst["spearman"] <= 1e-6
        and worst["median_quantile"] <= 1e-6
        and worst["value"] <= 1e-6
    )
    return worst


def main() -> None:
    data = np.load(sys.argv[1])
    torch.set_num_threads(int(data["threads"]))
    inputs = build(data)
    (spearman, table), figures = measured(
        lambda: inputs.compare_layer_attention_consistency(
            top_k=int(data["k"]),
            by_absolute_value=bool(data["absolute"]),
            ignore_self_attention=True,
        )
    )
    if "--no-parity" not in sys.argv:
        figures["parity"] = parity(inputs, data, np.load(sys.argv[2]), spearman, table)
    with open(sys.argv[3], "w") as out:
        json.dump(figures, out)


if __name__ == "__main__":
    main()
