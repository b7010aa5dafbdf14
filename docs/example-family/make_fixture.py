"""Make the fixture: a random checkpoint, six cells, and what numpy computes from them.

    python make_fixture.py

Written without the family's own code: that is what makes comparing with it worth anything.
"""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from safetensors.numpy import save_file
from scipy import sparse

FOLDER = Path(__file__).parent / "fixture"
GENES = [
    "ENSG00000010610", "ENSG00000026508", "ENSG00000081237", "ENSG00000090382", "ENSG00000105374",
    "ENSG00000115523", "ENSG00000143546", "ENSG00000153563", "ENSG00000156738", "ENSG00000163220",
    "ENSG00000170458", "ENSG00000198851", "ENSG00000204287", "ENSG00000211895", "ENSG00000227507",
]  # fmt: skip
CELLS, D, HEADS, LAYERS = 6, 16, 2, 2


def norm(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def main() -> None:
    rng = np.random.default_rng(0)
    w = {"gene.weight": rng.normal(size=(len(GENES), D)), "cell.weight": rng.normal(size=(1, D))}
    for i in range(LAYERS):
        w |= {
            f"{i}.qkv.weight": rng.normal(size=(3 * D, D)) / 3,
            f"{i}.qkv.bias": rng.normal(size=3 * D),
        }
        w |= {f"{i}.out.weight": rng.normal(size=(D, D)) / 4, f"{i}.out.bias": rng.normal(size=D)}
    w = {name: x.astype(np.float32) for name, x in w.items()}
    counts = rng.poisson(0.9, (CELLS, len(GENES) + 1)).astype(np.float32)
    columns = rng.permutation([*GENES, "ENSG00000075624"])  # the last one has no token
    obs = pd.DataFrame({"cell_type": ["A", "B"] * 3}, index=[f"cell{i}" for i in range(CELLS)])
    cells = ad.AnnData(sparse.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=columns))
    (FOLDER / "checkpoint").mkdir(parents=True, exist_ok=True)
    settings = {"genes": GENES, "d": D, "heads": HEADS, "layers": LAYERS}
    (FOLDER / "checkpoint/setformer.json").write_text(json.dumps(settings, indent=1) + "\n")
    save_file(w, FOLDER / "checkpoint/weights.safetensors")
    cells.write_h5ad(FOLDER / "cells.h5ad")

    position = {g: i for i, g in enumerate(columns)}
    tokens = [
        [(g, counts[c, position[g]]) for g in GENES if counts[c, position[g]] > 0]
        for c in range(CELLS)
    ]
    width = 1 + max(len(t) for t in tokens)
    shape = (CELLS, width)
    out: dict[str, np.ndarray] = {
        "cell_id": obs.index.to_numpy().astype(str), "token_gene": np.full(shape, "", "U15"),
        "token_kind": np.full(shape, "pad", "U4"), "token_value": np.zeros(shape, np.float32),
        "token_row": np.zeros(shape, np.int64), "mask": np.zeros(shape, bool),
        "positions": np.tile(np.arange(width), (CELLS, 1)),
        "output": np.zeros((*shape, D), np.float32),
    }  # fmt: skip
    for i in range(LAYERS):
        out[f"hidden_{i}"] = np.zeros((*shape, D), np.float32)
        out[f"attn_{i}"] = np.zeros((CELLS, HEADS, width, width), np.float32)
        out[f"logits_{i}"] = np.full((CELLS, HEADS, width, width), -np.inf, np.float32)
        out[f"lse_{i}"] = np.zeros((CELLS, HEADS, width), np.float32)
    for c, cell in enumerate(tokens):
        n = 1 + len(cell)
        rows = [GENES.index(g) for g, _ in cell]
        value = np.log1p([x for _, x in cell])
        out["mask"][c, :n] = True
        out["token_kind"][c, :n] = ["cell", *["gene"] * len(cell)]
        out["token_gene"][c, 1:n] = [g for g, _ in cell]
        out["token_row"][c, 1:n], out["token_value"][c, 1:n] = rows, value
        h = np.vstack([w["cell.weight"], w["gene.weight"][rows] * value[:, None]]).astype(float)
        for i in range(LAYERS):
            out[f"hidden_{i}"][c, :n] = h
            qkv = norm(h) @ w[f"{i}.qkv.weight"].T + w[f"{i}.qkv.bias"]
            q, k, v = (x.reshape(n, HEADS, -1).swapaxes(0, 1) for x in np.split(qkv, 3, 1))
            logits = q @ k.swapaxes(1, 2) / np.sqrt(D // HEADS)
            lse = np.log(np.exp(logits).sum(-1))
            attn = np.exp(logits - lse[..., None])
            out[f"logits_{i}"][c, :, :n, :n], out[f"lse_{i}"][c, :, :n] = logits, lse
            out[f"attn_{i}"][c, :, :n, :n] = attn
            mixed = (attn @ v).swapaxes(0, 1).reshape(n, D)
            h = h + mixed @ w[f"{i}.out.weight"].T + w[f"{i}.out.bias"]
        out["output"][c, :n] = norm(h)
    meta = {
        "schema": "octoscope-dump/1", "family": "setformer", "variant": "example",
        "n_layers": LAYERS, "n_heads": HEADS, "d": D, "options": {}, "absent": [], "notes": [],
        "tolerances": dict.fromkeys(("attn", "hidden", "logits", "lse", "output"), 1e-5),
    }  # fmt: skip
    np.savez_compressed(FOLDER / "dump.npz", meta_json=np.array(json.dumps(meta)), **out)


if __name__ == "__main__":
    main()
