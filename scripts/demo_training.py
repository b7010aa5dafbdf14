"""What the training scripts of the demonstration checkpoints share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from octoscope.atlas import Atlas, CellBatch
from octoscope.config import AtlasConfig
from octoscope.demo.demo import PANEL, data
from torch import nn

CHECKPOINTS = Path(__file__).resolve().parents[1] / "engine/octoscope/demo/data/checkpoints"
N_GENES, HELD_OUT = 600, 56


def demo_cells() -> tuple[Atlas, CellBatch]:
    """Return the embedded atlas and all its cells."""
    atlas = Atlas(AtlasConfig(path=str(data("immune559.zarr"))))
    return atlas, atlas.read(np.arange(len(atlas.cell_ids)))


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


def split(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return (training cells, held-out cells)."""
    held_out = rng.permutation(n)[:HELD_OUT]
    return np.setdiff1d(np.arange(n), held_out), held_out


def fit(
    parameters: Iterable[torch.Tensor],
    loss_of: Callable[[np.ndarray], torch.Tensor],
    train: np.ndarray,
    held_out: np.ndarray,
    rng: np.random.Generator,
    *,
    steps: int,
    batch: int,
    rate: float = 2e-3,
) -> float:
    """Train in place; return the loss on the held-out cells."""
    parameters = list(parameters)
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    started, check = time.time(), float("nan")
    for step in range(steps):
        loss = loss_of(rng.choice(train, batch, replace=False))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            with torch.no_grad():
                check = float(np.mean([loss_of(held_out).item() for _ in range(3)]))
            took = time.time() - started
            print(f"step {step}: train {loss.item():.4f}, held out {check:.4f} ({took:.0f} s)")
    return check


def initial(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, torch.Tensor]:
    """Return random weights: norms at one, biases at zero, matrices uniform by fan-in."""
    g = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        norm = name.rsplit(".", 1)[0].endswith(("ln", "norm", "norm1", "norm2", "LayerNorm"))
        norm = norm or (name.endswith(".weight") and len(shape) == 1)
        if name.endswith("bias"):
            state[name] = torch.zeros(shape)
        elif norm:
            state[name] = torch.ones(shape)
        elif "embedding" in name and shape[-1] > 1 and "linear" not in name:
            state[name] = torch.randn(shape, generator=g) * 0.3
        else:
            state[name] = (torch.rand(shape, generator=g) * 2 - 1) / shape[-1] ** 0.5
    return state
