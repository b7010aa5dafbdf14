"""Sums over edges whose weights learn: numbers and gradients of dense sums over edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from octoscope.gnn_training.edge_encoder import EdgeEncoder
from octoscope.gnn_training.weighted_edges import WeightedEdges, weighted_edges
from torch_geometric.nn.conv.gcn_conv import gcn_norm

N = 9
WAYS = ("total", "mean", "against", "gcn")


def random_edges(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Parallel edges, mirrors, loops, and vertices that nothing reaches."""
    rng = np.random.default_rng(seed)
    src, dst = rng.integers(0, N, 30), rng.integers(2, N, 30)
    dst = np.where(src == dst, (dst - 1) % 7 + 2, dst)
    src[:8], dst[:8] = [3, 3, 3, 4, 5, 6, 6, 0], [4, 4, 4, 3, 5, 6, 7, 8]
    return src, dst


def by_products(way: str, x: torch.Tensor, weight: torch.Tensor, seed: int = 0) -> torch.Tensor:
    src, dst = random_edges(seed)
    edges = weighted_edges(src, dst, N, loops=way == "gcn").weighted(weight)
    if way == "gcn":
        return edges.symmetric().total(x)
    if way == "against":
        return edges.flip([0]).mean(x)
    return edges.total(x) if way == "total" else edges.mean(x)


def by_dense_sums(way: str, x: torch.Tensor, weight: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Edge by edge; torch-geometric's normalisation for graph convolution."""
    src, dst = (torch.from_numpy(e) for e in random_edges(seed))
    if way == "gcn":
        (src, dst), weight = gcn_norm(torch.stack([src, dst]), weight, N, dtype=weight.dtype)
    if way == "against":
        src, dst = dst, src
    out = torch.zeros(N, x.shape[1], dtype=x.dtype).index_add(0, dst, weight[:, None] * x[src])
    if way in ("mean", "against"):
        out = out / torch.bincount(dst, minlength=N).clamp(min=1)[:, None]
    return out


def given(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    x = torch.randn(N, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(30, dtype=torch.float64) + 0.1
    return x, weight.requires_grad_()


def test_of_twin_loops_the_last_counts_in_graph_convolution() -> None:
    """torch-geometric's gradient gives both a share, which small differences do not show."""
    src = dst = np.array([1, 1])
    weight = torch.tensor([0.2, 0.7], requires_grad=True)
    edges = weighted_edges(src, dst, 2, loops=True).weighted(weight)
    (edges.total(torch.ones(2, 1)) * torch.tensor([[3.0], [5.0]])).sum().backward()
    torch.testing.assert_close(edges.total(torch.ones(2, 1))[:, 0], torch.tensor([1.0, 0.7]))
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, torch.tensor([0.0, 5.0]))


@pytest.mark.parametrize("way", WAYS)
def test_gradients_are_those_of_small_differences(way: str) -> None:
    assert torch.autograd.gradcheck(lambda x, w: by_products(way, x, w), given())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_numbers_and_gradients_are_those_of_dense_sums(way: str, seed: int) -> None:
    out = []
    for method in (by_products, by_dense_sums):
        x, weight = given(seed)
        value = method(way, x, weight, seed)
        torch.manual_seed(1)
        (value * torch.randn_like(value)).sum().backward()
        out.append((value.detach(), x.grad, weight.grad))
    for mine, dense in zip(*out, strict=True):
        torch.testing.assert_close(mine, dense, atol=1e-12, rtol=1e-12)
    assert (out[0][2] != 0).all()


def test_no_edges_and_one_vertex() -> None:
    edges = weighted_edges(np.zeros(0, int), np.zeros(0, int), 2)
    x, weight = torch.ones(2, 1, requires_grad=True), torch.zeros(0, requires_grad=True)
    out = edges.weighted(weight).mean(x)
    out.sum().backward()
    assert x.grad is not None
    assert not out.any()
    assert not x.grad.any()


def largest_tensor(call: Any) -> int:
    """Return the number of elements of the largest array that an operation gives."""

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        most = 0

        def __torch_dispatch__(self, f: Any, types: Any, args: Any = (), kw: Any = None) -> Any:
            out = f(*args, **(kw or {}))
            if isinstance(out, torch.Tensor) and out.layout == torch.strided:
                self.most = max(self.most, out.numel())
            return out

    with Watch() as watch:
        call()
    return watch.most


def test_no_array_is_of_edges_times_width() -> None:
    rng, n, count, width = np.random.default_rng(0), 50, 20_000, 64
    src, dst = rng.integers(0, n, count), rng.integers(0, n, count)
    x, weight = torch.randn(n, width, requires_grad=True), torch.rand(count, requires_grad=True)
    edges = weighted_edges(src, dst, n)
    assert largest_tensor(lambda: edges.weighted(weight).mean(x).sum().backward()) <= count


def test_the_edge_encoder_works_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    features, rows = rng.random((500, 6)), np.sort(rng.choice(500, 400, replace=False))
    encoder = EdgeEncoder(6, 8, 0.0).double()
    out = []
    for at_once in (1000, 64):
        monkeypatch.setattr("octoscope.gnn_training.edge_encoder.EDGES_AT_ONCE", at_once)
        encoder.zero_grad()
        weight = encoder(features, rows)
        (weight * torch.arange(400)).sum().backward()
        out.append([weight.detach(), *(p.grad.clone() for p in encoder.parameters())])
    direct = torch.sigmoid(encoder.net(torch.from_numpy(features[rows]))[:, 0])
    encoder.zero_grad()
    (direct * torch.arange(400)).sum().backward()
    out.append([direct.detach(), *(p.grad.clone() for p in encoder.parameters())])
    for values in out[1:]:
        for a, b in zip(out[0], values, strict=True):
            torch.testing.assert_close(a, b, atol=1e-11, rtol=1e-11)
    assert 0.4 < direct.mean() < 0.6


def test_a_dropped_unit_has_no_gradient_and_others_are_scaled() -> None:
    """Red: a gradient of other hidden units than the weight has, or one that is not scaled."""
    encoder = EdgeEncoder(2, 40, 0.6).double()
    torch.nn.init.ones_(encoder.net[0].bias)
    features = np.abs(np.random.default_rng(0).random((3, 2)))
    weight = encoder(features, np.array([1]))
    weight.sum().backward()
    mine = [p.grad.clone() for p in encoder.parameters()]
    kept = (encoder.net[3].weight.grad != 0)[0]
    assert 5 < kept.sum() < 35
    units = encoder.net[0](torch.from_numpy(features[1:2])).relu() * kept / 0.4
    direct = torch.sigmoid(encoder.net[3](units)[:, 0])
    encoder.zero_grad()
    direct.sum().backward()
    torch.testing.assert_close(weight, direct)
    for a, p in zip(mine, encoder.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad)
    encoder.eval()
    direct = encoder.net(torch.from_numpy(features[1:2]))[:, 0].sigmoid()
    torch.testing.assert_close(encoder(features, np.array([1])), direct)


def test_flip_twice_is_the_same() -> None:
    src, dst = random_edges()
    weight = torch.rand(30)
    edges: WeightedEdges = weighted_edges(src, dst, N).weighted(weight)
    twice = edges.flip().flip()
    x = torch.randn(N, 2)
    torch.testing.assert_close(edges.mean(x), twice.mean(x))
