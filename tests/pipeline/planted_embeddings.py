"""A checkpoint whose table of genes copies a network: linked genes have like vectors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from octoscope.genes import ensembl_of_symbols
from octoscope.octopus.network import open_network

WRONG = 0.2  # share of the copied edges that the network does not have


def plant_network(checkpoint: Path, into: Path, symbols: list[str]) -> Path:
    """Copy a scGPT checkpoint; write the demonstration's network into the rows of some genes.

    The cosine of two rows is the same above 0 for linked genes and 0 for others. A part of the
    edges is exchanged for other pairs, so that odds ratios stay finite. The norm behind the table
    becomes the identity but for centring, and the rows are centred.
    """
    shutil.copytree(checkpoint, into)
    vocabulary = json.loads((into / "vocab.json").read_text())
    symbols = [s for s in symbols if s in vocabulary]
    network = open_network("demo")
    linked = network.adjacency(network.vertex_of(ensembl_of_symbols(np.array(symbols, object))))
    upper = np.triu(np.ones_like(linked), 1)
    rng = np.random.default_rng(0)
    edges, others = np.argwhere(linked & upper), np.argwhere(~linked & upper)
    n = int(WRONG * len(edges))
    kept = np.concatenate([rng.permutation(edges)[n:], rng.permutation(others)[:n]])
    copied = np.zeros(linked.shape)
    copied[kept[:, 0], kept[:, 1]] = copied[kept[:, 1], kept[:, 0]] = 1
    size, vectors = np.linalg.eigh(copied)  # ascending: the first is left out
    rows = vectors[:, 1:] * np.sqrt(size[1:] - size[0])
    weights = torch.load(into / "best_model.pt", weights_only=True)
    table = weights["encoder.embedding.weight"]
    d = table.shape[1]
    assert rows.shape[1] < d
    centred = np.linalg.qr(np.column_stack([np.ones(d), np.eye(d)[:, : rows.shape[1]]]))[0][:, 1:]
    table[[vocabulary[s] for s in symbols]] = torch.from_numpy(rows @ centred.T).to(table)
    weights["encoder.enc_norm.weight"].fill_(1.0)
    weights["encoder.enc_norm.bias"].zero_()
    torch.save(weights, into / "best_model.pt")
    return into
