"""Train the demonstration checkpoint: masked expression on the embedded cells, scGPT's format.

    python scripts/train_demo_scgpt.py

Seeded; a few minutes on two cores. The result is a demonstration: 559 cells, a small vocabulary.
It is written in the published layout (args.json, vocab.json, best_model.pt) and read back through
the same strict loader as any published checkpoint.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from octoscope.atlas import Atlas
from octoscope.config import AtlasConfig
from octoscope.demo.demo import PANEL, data
from octoscope.models import load_model
from torch import nn

OUT = Path(__file__).resolve().parents[1] / "engine/octoscope/demo/data/checkpoints/scgpt-demo"
N_GENES, D, FF, LAYERS, HEADS, SEED = 600, 64, 64, 4, 4, 20261122
STEPS, BATCH, MASKED, TOKENS = 800, 24, 0.4, 320
MASK_VALUE, PAD_VALUE = -1.0, -2.0


def choose_genes(atlas: Atlas, counts: np.ndarray) -> list[int]:
    """Return the demonstration panel plus the most variable genes seen in 10 % of cells."""
    scaled = np.log1p(counts / counts.sum(1, keepdims=True) * 1e4)
    seen = (counts > 0).mean(0) >= 0.10
    at = {s: i for i, s in enumerate(atlas.genes.symbol)}
    panel = [at[s] for s in PANEL if s in at]
    mean, var = scaled.mean(0), scaled.var(0)
    dispersion = np.where(seen & (mean > 0), var / np.maximum(mean, 1e-9), -1)
    ranked = [int(i) for i in np.argsort(-dispersion, kind="stable")]
    return list(dict.fromkeys([*panel, *ranked]))[:N_GENES]


class Trainable(nn.Module):
    """The published architecture with its parameter names, for training only."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.w = nn.ParameterDict()
        g = torch.Generator().manual_seed(SEED)

        def linear(name: str, n_out: int, n_in: int) -> None:
            bound = 1 / math.sqrt(n_in)
            weight = (torch.rand((n_out, n_in), generator=g) * 2 - 1) * bound
            self._set(f"{name}.weight", weight)
            self._set(f"{name}.bias", torch.zeros(n_out))

        def norm(name: str) -> None:
            self._set(f"{name}.weight", torch.ones(D))
            self._set(f"{name}.bias", torch.zeros(D))

        self._set("encoder.embedding.weight", torch.randn((rows, D), generator=g) * 0.5)
        norm("encoder.enc_norm")
        linear("value_encoder.linear1", D, 1)
        linear("value_encoder.linear2", D, D)
        norm("value_encoder.norm")
        for i in range(LAYERS):
            p = f"transformer_encoder.layers.{i}."
            linear(p + "self_attn.Wqkv", 3 * D, D)
            linear(p + "self_attn.out_proj", D, D)
            linear(p + "linear1", FF, D)
            linear(p + "linear2", D, FF)
            norm(p + "norm1")
            norm(p + "norm2")
        linear("decoder.fc.0", D, D)
        linear("decoder.fc.2", D, D)
        linear("decoder.fc.4", 1, D)

    def _set(self, name: str, value: torch.Tensor) -> None:
        self.w[name.replace(".", "/")] = nn.Parameter(value)

    def p(self, name: str) -> torch.Tensor:
        return self.w[name.replace(".", "/")]

    def linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, self.p(f"{name}.weight"), self.p(f"{name}.bias"))

    def norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, (D,), self.p(f"{name}.weight"), self.p(f"{name}.bias"), 1e-5)

    def forward(self, row: torch.Tensor, value: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return predicted bins [cells, tokens]."""
        g = self.norm(F.embedding(row, self.p("encoder.embedding.weight")), "encoder.enc_norm")
        v = F.relu(self.linear(value.unsqueeze(-1), "value_encoder.linear1"))
        h = g + self.norm(self.linear(v, "value_encoder.linear2"), "value_encoder.norm")
        cells, tokens, _ = h.shape
        for i in range(LAYERS):
            p = f"transformer_encoder.layers.{i}."
            qkv = self.linear(h, p + "self_attn.Wqkv").view(cells, tokens, 3, HEADS, D // HEADS)
            q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
            a = a.transpose(1, 2).reshape(cells, tokens, D)
            y = self.norm(h + self.linear(a, p + "self_attn.out_proj"), p + "norm1")
            z = self.linear(F.relu(self.linear(y, p + "linear1")), p + "linear2")
            h = self.norm(y + z, p + "norm2")
        x = F.leaky_relu(self.linear(h, "decoder.fc.0"))
        x = F.leaky_relu(self.linear(x, "decoder.fc.2"))
        return self.linear(x, "decoder.fc.4").squeeze(-1)

    def published(self) -> dict[str, torch.Tensor]:
        """Return the state dict under the published names."""
        return {n.replace("/", "."): v.detach().clone() for n, v in self.w.items()}


def write(state: dict[str, torch.Tensor], vocab: dict[str, int], notes: str) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    args = {
        "nlayers": LAYERS, "nheads": HEADS, "embsize": D, "d_hid": FF, "n_bins": 51,
        "max_seq_len": 1200, "pad_token": "<pad>", "pad_value": PAD_VALUE,
        "mask_value": MASK_VALUE, "input_style": "binned", "input_emb_style": "continuous",
        "fast_transformer": True, "dropout": 0.0,
    }  # fmt: skip
    (OUT / "args.json").write_text(json.dumps(args, indent=2) + "\n")
    (OUT / "vocab.json").write_text(json.dumps(vocab, indent=0) + "\n")
    torch.save(state, OUT / "best_model.pt")
    (OUT / "DEMONSTRATION.md").write_text(notes)


def main() -> None:
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    atlas = Atlas(AtlasConfig(path=str(data("immune559.zarr"))))
    batch = atlas.read(np.arange(len(atlas.cell_ids)))
    genes = choose_genes(atlas, batch.counts.toarray())
    symbols = sorted(atlas.genes.symbol[g] for g in genes)
    vocab = {s: i for i, s in enumerate(symbols)}
    vocab |= {"<pad>": len(vocab), "<cls>": len(vocab) + 1, "<eoc>": len(vocab) + 2}
    net = Trainable(len(vocab))
    write(net.published(), vocab, "untrained\n")
    reader = load_model(OUT, seed=SEED)  # tokens exactly as they will be read
    match = reader.match(atlas.genes)
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=STEPS)
    held_out = rng.permutation(len(batch.cell_ids))[:56]
    train = np.setdiff1d(np.arange(len(batch.cell_ids)), held_out)
    tokens = reader.tokenize(batch.counts, match, batch.cell_ids)

    def loss_of(cells: np.ndarray, limit: int) -> torch.Tensor:
        part = tokens.take(cells)
        row, value, mask = (torch.from_numpy(a) for a in (part.row, part.value, part.mask))
        if row.shape[1] > limit:  # a random subset of gene tokens, <cls> kept
            keep = torch.from_numpy(np.r_[0, 1 + rng.permutation(row.shape[1] - 1)[: limit - 1]])
            row, value, mask = row[:, keep], value[:, keep], mask[:, keep]
        hidden = mask & torch.from_numpy(rng.random(mask.shape) < MASKED)
        hidden[:, 0] = False
        masked = torch.where(hidden, torch.tensor(MASK_VALUE), value)
        return F.mse_loss(net(row, masked, mask)[hidden] / 50, value[hidden] / 50)

    started = time.time()
    for step in range(STEPS):
        loss = loss_of(rng.choice(train, BATCH, replace=False), TOKENS)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 0 or step == STEPS - 1:
            with torch.no_grad():
                check = loss_of(held_out, 601).item()
            took = time.time() - started
            print(f"step {step}: train {loss.item():.4f}, held out {check:.4f} ({took:.0f} s)")
    values = torch.from_numpy(tokens.value[held_out])[torch.from_numpy(tokens.gene[held_out] >= 0)]
    baseline = float((values / 50).var())
    notes = (
        "# Demonstration checkpoint\n\n"
        f"scGPT's architecture and file layout, {LAYERS} layers, {HEADS} heads, d = {D}, "
        f"{len(genes)} genes, trained by `scripts/train_demo_scgpt.py` (seed {SEED}, {STEPS} "
        "steps of masked expression) on the 559 embedded cells.\n\n"
        f"Held-out cells (56): mean squared error of masked bins / 50 is {check:.4f}; predicting "
        f"the mean gives {baseline:.4f}.\n\nIt shows that the engine works. It is not scGPT, and "
        "its attention is no evidence about scGPT or about biology.\n"
    )
    write(net.published(), vocab, notes)
    load_model(OUT)
    print(f"wrote {OUT.name}: held out {check:.4f}, baseline {baseline:.4f}")


if __name__ == "__main__":
    main()
