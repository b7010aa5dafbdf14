"""Two small stores of napistu-torch 0.4.0 and its own comparison of them, in its environment.

    python make_napistu_stores.py GENES.tsv OUT_FOLDER

GENES: lines ``ensembl<TAB>symbol``. Writes ``scGPT`` and ``AIDOCell_aido_cell_3m`` (random weights
and streams), read back by the peer, and under ``expected`` one table per comparison and category.
No biology in them. One model has more than ten layers, whose weights the peer's loading mixes up.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from napistu_torch.foundation_models.attention_patterns import AttentionPatternsInputs
from napistu_torch.foundation_models.foundation_models import (
    AttentionLayer,
    FoundationModel,
    FoundationModels,
    FoundationModelStore,
    FoundationModelWeights,
)
from napistu_torch.foundation_models.gene_embeddings import GeneEmbeddings
from peer_compare import write

CATEGORIES = ("T cell", "macrophage (2)")
K = 80
MODELS = (  # name, variant, layers, heads, d, first and last gene, whether rows are symbols
    ("scGPT", None, 3, 4, 16, 0, 30, False),
    ("AIDOCell", "aido_cell_3m", 11, 2, 8, 3, 33, True),
)


def main() -> None:
    genes = pd.read_csv(sys.argv[1], sep="\t", names=["ensembl_gene", "symbol"])
    folder, rng = Path(sys.argv[2]), np.random.default_rng(0)
    stores = []
    for name, variant, n_layers, n_heads, d, first, last, by_symbol in MODELS:
        own = genes.iloc[first:last].sample(frac=1, random_state=len(stores))
        annotations = own.assign(vocab_name=own["symbol"]).reset_index(drop=True)
        ids = list(annotations["symbol" if by_symbol else "ensembl_gene"])

        def embeddings(values, layer=None, category=None):
            return GeneEmbeddings(
                embedding=values.astype(np.float32), ordered_gene_ids=ids,  # noqa: B023
                gene_annotations=annotations, model_name=name, model_variant=variant,  # noqa: B023
                layer_idx=layer, category=category,
                dataset_name=None if layer is None else "immune",
                dataset_uri=None if layer is None else "immune.h5ad",
            )  # fmt: skip

        layers = [
            AttentionLayer(
                layer_idx=i,
                **{w: rng.normal(size=(d, d)).astype(np.float32)
                   for w in ("W_q", "W_k", "W_v", "W_o")},
            )
            for i in range(n_layers)
        ]  # fmt: skip
        shared = rng.normal(size=(len(ids), d))
        model = FoundationModel(
            weights=FoundationModelWeights(
                static_gene_embeddings=embeddings(shared), attention_layers=layers
            ),
            gene_annotations=annotations,
            model_metadata={
                "model_name": name, "model_variant": variant, "n_genes": len(ids),
                "n_vocab": len(ids), "ordered_vocabulary": ids, "embed_dim": d,
                "n_layers": n_layers, "n_heads": n_heads,
            },
        )  # fmt: skip
        store = FoundationModelStore(folder / model.disk_name)
        model.save(store)
        store.save_residuals(
            [
                embeddings(shared + rng.normal(size=shared.shape), i, category)
                for category in CATEGORIES
                for i in range(n_layers)
            ]
        )
        stores.append(store)
    models = FoundationModels(models=[FoundationModel.load(s, verbose=False) for s in stores])
    expected = folder / "expected"
    expected.mkdir()
    for category in CATEGORIES:
        inputs = AttentionPatternsInputs.from_expression(models, "immune", category, verbose=False)
        comparison = inputs.compare(top_k=K, consensus_method="sum")
        streams = comparison.pop("residual_stream_correlations")
        pd.Series(streams, name="spearman").rename_axis("pair").reset_index().to_csv(
            expected / f"{category}.residual_stream_correlations.tsv", sep="\t", index=False
        )
        comparison.pop("cross_model_x_layer_top_attentions")
        write(comparison, expected, category)


if __name__ == "__main__":
    main()
