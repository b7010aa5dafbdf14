"""Train the Geneformer demonstration checkpoint: masked tokens of ranked genes.

    python scripts/train_demo_geneformer.py

Seeded; minutes on two cores. The model is transformers' BERT (`octoscope.models.geneformer`), the
files are in the published layout of the second series. The dictionaries (tokens, medians, gene
ids) are made from the demonstration genes and cells, and lie beside the weights.
"""

from __future__ import annotations

import json
import pickle

import numpy as np
import torch
import torch.nn.functional as F
from demo_training import CHECKPOINTS, HELD_OUT, choose_genes, demo_cells, fit, initial, split
from octoscope.models import Tokens
from octoscope.models.geneformer import Geneformer
from safetensors.torch import save_file

OUT = CHECKPOINTS / "geneformer-demo"
SEED, STEPS, BATCH, MASKED = 20261126, 5000, 24, 0.3
D, HEADS, LAYERS, FF, POSITIONS = 64, 4, 3, 128, 512
HEAD = {
    "cls.predictions.transform.dense.weight": (D, D),
    "cls.predictions.transform.dense.bias": (D,),
    "cls.predictions.transform.LayerNorm.weight": (D,),
    "cls.predictions.transform.LayerNorm.bias": (D,),
}


def write_dictionaries(genes: list[str], symbols: list[str], medians: np.ndarray) -> int:
    OUT.mkdir(parents=True, exist_ok=True)
    special = ["<pad>", "<mask>", "<cls>", "<eos>"]
    tokens = {name: i for i, name in enumerate([*special, *genes])}
    mapping = {s.upper(): g for g, s in zip(genes, symbols, strict=True) if s}
    mapping |= {g: g for g in genes}
    for name, value in (
        ("token_dictionary_demo.pkl", tokens),
        ("gene_median_dictionary_demo.pkl", dict(zip(genes, map(float, medians), strict=True))),
        ("ensembl_mapping_dict_demo.pkl", mapping),
    ):
        (OUT / name).write_bytes(pickle.dumps(value, protocol=4))
    return len(tokens)


def write(
    weights: dict[str, torch.Tensor], head: dict[str, torch.Tensor], vocab: int, notes: str
) -> None:
    config = {
        "architectures": ["BertForMaskedLM"], "attention_probs_dropout_prob": 0.02,
        "hidden_act": "relu", "hidden_dropout_prob": 0.02, "hidden_size": D,
        "initializer_range": 0.02, "intermediate_size": FF, "layer_norm_eps": 1e-12,
        "max_position_embeddings": POSITIONS, "model_type": "bert", "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS, "pad_token_id": 0, "position_embedding_type": "absolute",
        "torch_dtype": "float32", "type_vocab_size": 2, "use_cache": True, "vocab_size": vocab,
    }  # fmt: skip
    (OUT / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    state = {f"bert.{n}": v.detach().clone().contiguous() for n, v in weights.items()}
    state |= {n: v.detach().clone() for n, v in head.items()}
    save_file(state, OUT / "model.safetensors")
    (OUT / "model.safetensors").chmod(0o644)
    (OUT / "DEMONSTRATION.md").write_text(notes)


def encoder_shapes(vocab: int) -> dict[str, tuple[int, ...]]:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=vocab, hidden_size=D, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        intermediate_size=FF, max_position_embeddings=POSITIONS,
    )  # fmt: skip
    with torch.device("meta"):
        model = BertModel(config, add_pooling_layer=False)
    return {n: tuple(v.shape) for n, v in model.state_dict().items()}


def main() -> None:
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    atlas, batch = demo_cells()
    dense = batch.counts.toarray()
    chosen = [i for i in choose_genes(atlas, dense) if dense[:, i].any()]  # others have no median
    at = sorted(chosen, key=lambda i: str(atlas.genes.ensembl[i]))
    genes = [str(atlas.genes.ensembl[i]) for i in at]
    scaled = dense / dense.sum(1, keepdims=True) * 1e4
    medians = np.array([np.median(scaled[:, i][scaled[:, i] > 0]) for i in at])
    vocab = write_dictionaries(genes, [str(atlas.genes.symbol[i]) for i in at], medians)
    head = initial(HEAD, SEED + 1) | {"cls.predictions.bias": torch.zeros(vocab)}
    write(initial(encoder_shapes(vocab), SEED), head, vocab, "untrained\n")
    model = Geneformer.load(OUT, device=torch.device("cpu"))
    tokens = model.tokenize(batch.counts, model.match(atlas.genes), batch.cell_ids)
    weights = dict(model._bert.named_parameters())
    for tensor in (*weights.values(), *head.values()):
        tensor.requires_grad_(True)
    words = weights["embeddings.word_embeddings.weight"]

    def loss_of(cells: np.ndarray) -> torch.Tensor:
        part = tokens.take(np.asarray(cells))
        hidden = (rng.random(part.row.shape) < MASKED) & (part.kind == 0)
        row = np.where(hidden, 1, part.row)
        masked = Tokens(part.cell_ids, part.gene, part.kind, part.value, row, part.mask)
        h, mask = model.embed(masked), torch.from_numpy(masked.mask)
        for i in range(model.n_layers):
            _, h = model.layer(i, h, mask)
        x = h[torch.from_numpy(hidden)]
        p = "cls.predictions.transform."
        x = F.relu(F.linear(x, head[p + "dense.weight"], head[p + "dense.bias"]))
        x = F.layer_norm(x, (D,), head[p + "LayerNorm.weight"], head[p + "LayerNorm.bias"], 1e-12)
        scores = F.linear(x, words, head["cls.predictions.bias"])
        return F.cross_entropy(scores, torch.from_numpy(part.row)[torch.from_numpy(hidden)])

    train, held_out = split(len(batch.cell_ids), rng)
    check = fit(
        [*weights.values(), *head.values()], loss_of, train, held_out, rng,
        steps=STEPS, batch=BATCH,
    )  # fmt: skip
    seen = np.bincount(tokens.row[train][tokens.kind[train] == 0], minlength=vocab) + 1.0
    held_out_rows = tokens.row[held_out][tokens.kind[held_out] == 0]
    baseline = float(-np.log(seen / seen.sum())[held_out_rows].mean())
    notes = (
        "# Demonstration checkpoint\n\n"
        f"Geneformer's architecture and file layout (second series), {LAYERS} layers, {HEADS} "
        f"heads, d = {D}, {len(genes)} genes, trained by `scripts/train_demo_geneformer.py` (seed "
        f"{SEED}, {STEPS} steps of masked tokens) on the 559 embedded cells.\n\n"
        f"Held-out cells ({HELD_OUT}): cross entropy of masked tokens is {check:.3f} nats; how "
        f"often each gene is expressed alone gives {baseline:.3f}.\n\n"
        "It shows that the engine works. It is not Geneformer, and its attention is no evidence "
        "about Geneformer or about biology.\n"
    )
    write(weights, head, vocab, notes)
    Geneformer.load(OUT, device=torch.device("cpu"))
    print(f"wrote {OUT.name}: held out {check:.4f}, frequencies {baseline:.4f}")


if __name__ == "__main__":
    main()
