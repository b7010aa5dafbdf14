"""A small random Nicheformer, and what its authors' code computes from cells.

    python make_nicheformer_fixture.py CODE CELLS.h5ad OUT_FOLDER

CODE: a folder that holds, as the package ``nicheformer_hf``, the modules of the published Hugging
Face folder (``modeling_nicheformer``, ``tokenization_nicheformer``, ``configuration_nicheformer``,
``masking``; MIT licence). CELLS: counts with Ensembl ids. Writes ``checkpoint`` (config, weights,
vocabulary), ``technology_mean.npy`` and ``dump.npz``. No biology in it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import torch
from safetensors.torch import save_file

sys.path.insert(0, sys.argv[1])
from nicheformer_hf.configuration_nicheformer import NicheformerConfig
from nicheformer_hf.modeling_nicheformer import NicheformerForMaskedLM
from nicheformer_hf.tokenization_nicheformer import NicheformerTokenizer

D, HEADS, LAYERS, LENGTH, GENES, CELLS = 16, 4, 2, 22, 60, 6
CONTEXT = (5, 11, 3)  # human, 10x 3' v3, dissociated


def main() -> None:
    cells, out = ad.read_h5ad(sys.argv[2]), Path(sys.argv[3])
    (out / "checkpoint").mkdir(parents=True)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    totals = np.asarray(cells.X.sum(0)).ravel()
    chosen = rng.choice(np.argsort(-totals)[:700], GENES, replace=False)
    names = [str(g) for g in cells.var_names[chosen]]
    counts = cells.X[:CELLS][:, chosen].toarray().astype(np.float64)
    config = NicheformerConfig(
        dim_model=D, nheads=HEADS, dim_feedforward=24, nlayers=LAYERS, n_tokens=30 + GENES,
        context_length=LENGTH,
    )  # fmt: skip
    model = NicheformerForMaskedLM(config).eval()
    state = {}
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            value = torch.randn(value.shape) * 0.3 + (
                1 if "norm" in name and "weight" in name else 0
            )
        state[name] = value.contiguous()
    model.load_state_dict(state)
    save_file(state, out / "checkpoint/model.safetensors", metadata={"format": "pt"})
    kept = ("dim_model", "nheads", "dim_feedforward", "nlayers", "n_tokens", "context_length",
            "learnable_pe", "specie", "assay", "modality", "dropout", "batch_first")  # fmt: skip
    settings = {k: getattr(config, k) for k in kept} | {"model_type": "nicheformer"}
    (out / "checkpoint/config.json").write_text(json.dumps(settings, indent=1))
    vocabulary = {"[PAD]": 1, "[MASK]": 0, "[CLS]": 2, "[SPECIES_human]": 5,
                  "[MODALITY_dissociated]": 3, "[TECH_10x_3__v3]": 11}  # fmt: skip
    vocabulary |= {g: 30 + i for i, g in enumerate(names)}
    (out / "checkpoint/vocab.json").write_text(json.dumps(vocabulary, indent=0))
    # distinct values per gene, one of them 0, so that no two genes of a cell tie
    mean = rng.uniform(0.1, 3, GENES)
    mean[np.argmax((counts > 0).sum(0))] = 0
    np.save(out / "technology_mean.npy", mean)

    tokenizer = NicheformerTokenizer.__new__(NicheformerTokenizer)
    tokenizer.max_length, tokenizer.aux_tokens = LENGTH, 30
    tokenizer.median_counts_per_gene, tokenizer.technology_mean = None, mean
    genes = tokenizer._tokenize_gene_expression(counts)
    ids = np.concatenate([np.tile(CONTEXT, (CELLS, 1)), genes[:, : LENGTH - 3]], 1).astype(np.int64)
    mask = ids != 1
    arrays = {"hidden_0": None}
    with torch.no_grad():
        base, rows = model.nicheformer, torch.from_numpy(ids)
        x = base.embeddings(rows) + base.positional_embedding(base.pos)
        padding = ~torch.from_numpy(mask)
        final = base(rows, torch.from_numpy(mask))  # the whole model, by its own forward pass
        for i, layer in enumerate(base.encoder.layers):
            arrays[f"hidden_{i}"] = x.numpy()
            attention = layer.self_attn
            _, attn = attention(
                x, x, x, key_padding_mask=padding, need_weights=True, average_attn_weights=False
            )
            q, k, _ = torch.nn.functional.linear(
                x, attention.in_proj_weight, attention.in_proj_bias
            ).chunk(3, -1)
            q, k = (y.unflatten(-1, (HEADS, -1)).transpose(1, 2).double() for y in (q, k))
            logits = (q @ k.transpose(2, 3) / (D // HEADS) ** 0.5).float()
            logits = logits.masked_fill(padding[:, None, None], -torch.inf)
            # the authors' probabilities are the softmax of these
            assert torch.allclose(torch.softmax(logits, -1), attn, atol=1e-6)
            arrays[f"attn_{i}"], arrays[f"logits_{i}"] = attn.numpy(), logits.numpy()
            arrays[f"lse_{i}"] = torch.logsumexp(logits, -1).numpy()
            x = layer(x, src_key_padding_mask=padding, is_causal=False)
    assert torch.allclose(x[torch.from_numpy(mask)], final[torch.from_numpy(mask)], atol=1e-5)
    names_of = np.array([""] * 30 + names)
    kinds = np.where(mask, "gene", "pad").astype("<U7")
    kinds[:, :3] = "context"
    meta = {
        "schema": "octoscope-dump/1", "family": "nicheformer", "variant": "custom size",
        "n_layers": LAYERS, "n_heads": HEADS, "d": D, "absent": [],
        "notes": ["authors' Hugging Face code, CPU, eval"],
        "tolerances": {"attn": 2e-6, "hidden": 1e-5, "logits": 1e-5, "lse": 1e-5, "output": 1e-5},
    }  # fmt: skip
    np.savez_compressed(
        out / "dump.npz",
        cell_id=np.asarray(cells.obs_names[:CELLS], str), token_gene=names_of[ids],
        token_kind=kinds, token_value=np.full(ids.shape, np.nan, np.float32), token_row=ids,
        mask=mask, positions=np.tile(np.arange(LENGTH), (CELLS, 1)), output=final.numpy(),
        meta_json=np.array(json.dumps(meta)), **arrays,
    )  # fmt: skip
    print(mask.sum(1), {k: v.shape for k, v in arrays.items()})


if __name__ == "__main__":
    main()
