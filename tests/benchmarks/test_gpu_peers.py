"""The peers of the device benchmark compute what the reduction does."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from octoscope.attention.accumulate import BatchLayout, QKBatch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import gpu_peers
from gpu_peers import add_averages, from_sums, peers, written_out

SCALE = 0.3


def cells(lengths: list[int], genes: int) -> tuple[QKBatch, list[np.ndarray], np.ndarray]:
    """Return cells, the genes of each, and the sum of their averages, written out in NumPy."""
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2, len(lengths), 2, max(lengths), 8)).astype(np.float32)
    of_cells = [np.sort(rng.permutation(genes)[:n]) for n in lengths]
    want = np.zeros((genes, genes))
    for c, at in enumerate(of_cells):
        n = len(at)
        e = np.exp(np.einsum("hqd,hkd->hqk", q[c, :, :n], k[c, :, :n], dtype=np.float64) * SCALE)
        want[np.ix_(at, at)] += (e / e.sum(2, keepdims=True)).mean(0)
    none = np.full((len(lengths), max(lengths)), -1)
    mask = torch.ones(none.shape, dtype=torch.bool)
    both = torch.from_numpy(q), torch.from_numpy(k)
    return QKBatch(*both, SCALE, mask, BatchLayout(none, none)), of_cells, want


@pytest.mark.parametrize("lengths", [[12, 12], [7, 4]])
@pytest.mark.parametrize("most", [1e9, 1.0])  # heads at once; one by one
def test_averages_are_added_at_the_genes_of_a_cell(
    lengths: list[int], most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_peers, "MOST", most)
    batch, of_cells, want = cells(lengths, 12)
    total = torch.zeros((12, 12), dtype=torch.float64)
    add_averages(written_out, batch, of_cells, total, torch.float64)
    np.testing.assert_allclose(total.numpy(), want, rtol=1e-10)


def test_a_second_product_needs_the_sums_of_the_rows_alone() -> None:
    batch, _, _ = cells([9], 9)
    q, k = batch.q[0], batch.k[0]
    lse = (q @ k.transpose(1, 2) * SCALE).logsumexp(-1)
    torch.testing.assert_close(from_sums(q, k, lse, SCALE), written_out(q, k, SCALE))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["eager", "compiled", "flex"])
def test_every_peer_makes_the_same_averages(name: str) -> None:
    batch, of_cells, want = cells([12, 7], 12)
    total = torch.zeros((12, 12), dtype=torch.float64)
    averaged = peers("eager", flex_compiled=False)[name]
    with torch.inference_mode():
        add_averages(averaged, batch, of_cells, total, torch.float32)
    np.testing.assert_allclose(total.numpy(), want, rtol=1e-5)
