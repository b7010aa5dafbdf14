"""napistu-torch 0.4.0's ``AttentionPatternsInputs.compare`` on given arrays, in its environment.

    python peer_compare.py INPUTS.npz OUT_FOLDER

Inputs: ``models`` (names), ``k``, ``absolute``, ``consensus``; of every model ``heads_<model>``,
``w_q_<model>`` and ``w_k_<model>`` [layers, d, d]; of every model and category
``residual_<model>_<category>`` [layers, genes, d]. Writes one Parquet table or npz per comparison
and category, the aggregation over categories, and the matrices that were compared:
``<category>.attention.<model>.<layer>.npy``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from napistu_torch.foundation_models.attention_patterns import (
    AttentionPatternsInputs,
    aggregate_embedding_comparisons_over_categories,
)
from napistu_torch.foundation_models.foundation_models import (
    AttentionLayer,
    FoundationModel,
    FoundationModels,
    FoundationModelWeights,
)
from napistu_torch.foundation_models.gene_embeddings import GeneEmbeddings, GeneEmbeddingsSet


def main() -> None:
    data, folder = np.load(sys.argv[1]), Path(sys.argv[2])
    names = [str(m) for m in data["models"]]
    categories = [str(c) for c in data["categories"]]
    genes = [f"ENSG{i:011d}" for i in range(data[f"residual_{names[0]}_{categories[0]}"].shape[1])]
    annotations = pd.DataFrame({"vocab_name": genes, "ensembl_gene": genes})

    def embeddings(model, layer, values, category):
        return GeneEmbeddings(
            embedding=values.copy(), ordered_gene_ids=genes, gene_annotations=annotations,
            model_name=model, layer_idx=layer, category=category,
        )  # fmt: skip

    models = []
    for name in names:
        w_q, w_k = data[f"w_q_{name}"], data[f"w_k_{name}"]
        models.append(
            FoundationModel(
                weights=FoundationModelWeights(
                    static_gene_embeddings=embeddings(
                        name, None, data[f"residual_{name}_{categories[0]}"][0], None
                    ),
                    attention_layers=[
                        AttentionLayer(layer_idx=i, W_q=w_q[i], W_k=w_k[i], W_v=w_q[i], W_o=w_q[i])
                        for i in range(len(w_q))
                    ],
                ),
                gene_annotations=annotations,
                model_metadata={
                    "model_name": name,
                    "n_genes": len(genes),
                    "n_vocab": len(genes),
                    "ordered_vocabulary": genes,
                    "embed_dim": w_q.shape[1],
                    "n_layers": len(w_q),
                    "n_heads": int(data[f"heads_{name}"]),
                },
            )  # fmt: skip
        )
    compared = {}
    for category in categories:
        streams = [
            embeddings(name, i, values, category)
            for name in names
            for i, values in enumerate(data[f"residual_{name}_{category}"])
        ]
        inputs = AttentionPatternsInputs(
            GeneEmbeddingsSet.from_gene_embeddings(streams, verbose=False),
            FoundationModels(models=models),
        )
        options = {
            "top_k": int(data["k"]),
            "by_absolute_value": bool(data["absolute"]),
            "ignore_self_attention": True,
        }
        for model in inputs.attended_embeddings.values():
            for i in range(model.n_layers):
                matrix = model.compute_attention(
                    i, target_ids=inputs.common_gene_ids, apply_softmax=False
                )
                np.save(folder / f"{category}.attention.{model.model_name}.{i}.npy", matrix)
        compared[category] = inputs.compare(consensus_method=str(data["consensus"]), **options)
        write(compared[category], folder, category)
        top = inputs.get_consensus_top_attentions(
            k=int(data["k"]), consensus_method="absolute-argmax",
            by_absolute_value=bool(data["absolute"]), ignore_self_attention=True,
        )  # fmt: skip
        top.to_parquet(folder / f"{category}.absolute_argmax_top.parquet")
    write(aggregate_embedding_comparisons_over_categories(compared), folder, "all")


def write(comparisons: dict, folder: Path, category: str) -> None:
    for name, value in comparisons.items():
        if isinstance(value, pd.DataFrame):
            value.to_parquet(folder / f"{category}.{name}.parquet")
        elif isinstance(value, dict):
            for key, part in value.items():
                stem = folder / f"{category}.{name}.{str(key).replace('/', '_')}"
                if isinstance(part, pd.DataFrame):
                    part.to_parquet(f"{stem}.parquet")
                elif isinstance(part, np.ndarray | float):
                    np.save(f"{stem}.npy", np.asarray(part))


if __name__ == "__main__":
    main()
