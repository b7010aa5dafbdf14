"""``models check``: what a checkpoint would do with an atlas on this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from octoscope.atlas import Atlas
from octoscope.config import AtlasConfig
from octoscope.models import FoundationModel, load_model
from octoscope.models.cell_groups import group_digest, group_numbers, with_groups
from octoscope.models.protocol import GENE
from octoscope.probe.gene_statistics import fixed_options

_SAMPLE = 64
_TIMED = 3
_CHOOSE_FROM = 2000


def check_model(
    checkpoint: Path, cells: str, *, options: dict[str, Any], dtype: str, seed: int = 0
) -> dict[str, Any]:
    """Match genes, make tokens of a sample of cells and time a forward pass, cell by cell.

    Returns
    -------
    dict
        Genes in the atlas, in the model and matched; tokens per cell (median, largest, bound);
        seconds per cell to tokenise and for all layers; bytes per cell: residual stream, and the
        largest growth of this process (or of the GPU's memory) during a forward pass.

    Raises
    ------
    InputError
        If the checkpoint, an option or the atlas cannot be used.
    """
    atlas = Atlas(AtlasConfig(path=cells))
    rng = np.random.default_rng(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def load(given: dict[str, Any]) -> FoundationModel:
        kind = getattr(torch, dtype)
        return load_model(checkpoint, device=str(device), dtype=kind, options=given, seed=seed)

    model = load(options)
    match = model.match(atlas.genes)
    n = len(atlas.cell_ids)
    sample = np.sort(rng.choice(n, min(n, _CHOOSE_FROM), replace=False))
    extra = fixed_options(model, match, atlas, [sample])
    if extra:
        model = load(options | extra)
    rows = np.sort(rng.choice(n, min(n, _SAMPLE), replace=False))
    group_digest(model, atlas.column, [rows])  # every cell has a number
    batch = atlas.read(rows)
    started = time.perf_counter()
    tokens = model.tokenize(batch.counts, match, batch.cell_ids)
    tokens = with_groups(tokens, group_numbers(model, atlas.column), batch.rows)
    tokenising = (time.perf_counter() - started) / len(rows)
    lengths = tokens.mask.sum(1)
    bound = model.max_tokens(match, atlas.most_expressed(np.arange(n)))
    usable = np.flatnonzero((tokens.kind == GENE).any(1))
    seconds: list[float] = []
    peaks: list[int] = []
    for cell in usable[:_TIMED]:
        one = tokens.take(np.array([cell]))
        with _peak(device) as peak, torch.inference_mode():
            started = time.perf_counter()
            residual = model.embed(one)
            mask = torch.from_numpy(one.mask).to(residual.device)
            for i in range(model.n_layers):
                _, residual = model.layer(i, residual, mask)
            float(residual.sum())  # waits for the device
            seconds.append(time.perf_counter() - started)
        peaks.append(peak[0])
    return {
        "family": model.family,
        "variant": model.variant,
        "dtype": dtype,
        "device": str(device),
        "threads": torch.get_num_threads(),
        "atlas genes": len(atlas.genes),
        "model genes": len(model.genes),
        "matched genes": len(match.matched),
        "sampled cells": len(rows),
        "sampled cells without usable genes": len(rows) - len(usable),
        "tokens per cell, median": int(np.median(lengths)),
        "tokens per cell, largest": int(lengths.max()),
        "tokens per cell, bound": bound,
        "seconds per cell, tokens": float(f"{tokenising:.3g}"),
        "seconds per cell, all layers": float(f"{min(seconds):.3g}") if seconds else None,
        "residual bytes per cell": bound * model.d * 4,
        "peak bytes of one cell's forward pass": max(peaks) if peaks else None,
    }


@contextmanager
def _peak(device: torch.device) -> Iterator[list[int]]:
    """Measure the growth of memory while the block runs, in bytes."""
    result = [0]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield result
        result[0] = torch.cuda.max_memory_allocated(device) - before
        return
    process, stop = psutil.Process(), threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        while not stop.is_set():
            result[0] = max(result[0], process.memory_info().rss - before)
            stop.wait(0.002)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield result
    finally:
        stop.set()
        watcher.join()
