"""Runs floors and trained models on graphs with a known truth, and says what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from octoscope.gnn.structural_features import with_structure
from octoscope.gnn_training.train import train
from octoscope.gnn_training.train_config import TrainConfig
from octoscope.gnn_training.weighted_edges import weighted_edges
from octoscope.link_prediction.evaluate_links import Evaluation, Settings, evaluate_links
from octoscope.link_prediction.links import Links, links_of
from octoscope.link_prediction.planted import (
    Degrees,
    by_blocks,
    by_degree,
    degrees_of,
    planted_links,
    signs_by_target,
    with_mirrors,
)
from octoscope.link_prediction.sign_floors import sign_table, signed_pairs
from octoscope.link_prediction.splits import split_links

FEATURES = 8  # random numbers of each vertex
OF_EDGES = 3  # random numbers of each edge
RELATIONS = ("one", "two", "three")  # each edge has one at random
LEARNER = "sage, mlp"  # the model that must learn blocks
MOST_STACKED = 1_000_000  # signed pairs, beyond which trees are no floor: paths take minutes
_HUBS = "preferential_attachment"
_KINDS: Mapping[str, Mapping[str, Any]] = {
    LEARNER: {},
    "gcn, dot product": {"encoder": "gcn", "head": "dot_product"},
    "graph_conv, attention": {"encoder": "graph_conv", "head": "attention"},
    "directed sage, distmult": {"directed": True, "head": "distmult"},
    "directed graph_conv, transe": {"encoder": "graph_conv", "directed": True, "head": "transe"},
    "weighted gcn, rotate": {"encoder": "gcn", "edge_encoder": 8, "head": "rotate"},
    "weighted graph_conv, conditional rotate":
        {"encoder": "graph_conv", "edge_encoder": 8, "head": "conditional_rotate"},
    "sage, relation attention": {"head": "relation_attention"},
    "weighted directed graph_conv, relation attention mlp":
        {"encoder": "graph_conv", "directed": True, "edge_encoder": 8,
         "head": "relation_attention_mlp"},
    "sage, relation gated mlp": {"head": "relation_gated_mlp"},
}  # fmt: skip
_CONFIG = TrainConfig(head="mlp", epochs=40, width=32, hidden=32, learning_rate=0.01,
                      validate_every=20)  # fmt: skip


def models_of(config: TrainConfig = _CONFIG) -> dict[str, TrainConfig]:
    """Return settings of every encoder and every head, each head once, by name."""
    return {name: TrainConfig(**{**config.model_dump(), **kind}) for name, kind in _KINDS.items()}


@dataclass(frozen=True)
class Check:
    """What a planted graph gave.

    Attributes
    ----------
    case, what
        The graph, and the figure.
    value
        Of the figure.
    low, high
        Between which it must be.
    n
        Number of test edges, or of pairs.
    """

    case: str
    what: str
    value: float
    low: float
    high: float
    n: int

    @property
    def holds(self) -> bool:
        """Whether the value is within its bounds."""
        return bool(self.low <= self.value <= self.high)


def planted_checks(
    links: Links, vertices: int = 3000, seed: int = 0, config: TrainConfig = _CONFIG
) -> Iterator[Check]:
    """Plant graphs on the degrees of a network, evaluate floors and trained models; yield checks.

    Parameters
    ----------
    vertices
        Of a planted graph, with ten pairs each; 0: as many as the network has, and its pairs.
    config
        Of the models: all of :func:`models_of` on the graph of degree alone, the first on blocks.
    """
    degrees = degrees_of(links, vertices, seed)
    for case in CASES:
        yield from case_checks(case, degrees, seed, models_of(config))


def case_checks(
    case: str, degrees: Degrees, seed: int = 0, models: Mapping[str, TrainConfig] | None = None,
    positives: int = 20_000,
) -> Iterator[Check]:  # fmt: skip
    """Yield the checks of one of :data:`CASES`.

    Parameters
    ----------
    degrees
        Of the planted graph. It has an edge per pair; ``mirrors`` adds the mirrors of 91 %.
    models
        Settings by name, trained on the graph of degree alone; on that of blocks, the first.
        Without: those of :func:`models_of`.
    positives
        At most so many edges of validation and of test; of signs, all.

    Raises
    ------
    KeyError
        If there is no such case.
    """
    with TemporaryDirectory() as folder, _one_thread():
        trained = _Trained(models or models_of(), Path(folder), positives)
        checks = list(CASES[case](degrees, seed, trained))
    yield from checks


@contextmanager
def _one_thread() -> Iterator[None]:
    """Small products wait for threads: on a busy machine two took ten times as long as one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class _Trained:
    """Settings of models by name, a folder to train in, and how many test edges are scored."""

    models: Mapping[str, TrainConfig]
    folder: Path
    positives: int


def _mirrors(degrees: Degrees, seed: int, trained: _Trained) -> Iterator[Check]:
    rng = np.random.default_rng([seed, 5])
    links = planted_links(degrees.n, *with_mirrors(*by_degree(degrees, rng), rng))
    settings = Settings(("degree",), ("mirror",), seed, trained.positives, queries=0)
    for by, low, high in (("edge", 0.8, 1.0), ("pair", 0.48, 0.52)):
        split = split_links(links, by, seed=seed, peer=True)
        areas, n = _areas(evaluate_links(links, split, settings=settings))
        yield Check("mirrors", f"AUC of the mirror rule, split by {by}", areas["mirror"], low, high,
                    n)  # fmt: skip


def _degree_alone(degrees: Degrees, seed: int, trained: _Trained) -> Iterator[Check]:
    links = planted_links(degrees.n, *by_degree(degrees, np.random.default_rng([seed, 6])))
    settings = Settings(("degree",), (), seed, trained.positives, queries=0)
    areas, n = _areas(evaluate_links(links, split_links(links, seed=seed), settings=settings))
    for scorer, area in areas.items():
        yield Check("degree alone", f"AUC of {scorer}", area, 0.45, 0.55, n)


def _models_of_degree(degrees: Degrees, seed: int, trained: _Trained) -> Iterator[Check]:
    pairs = by_degree(degrees, np.random.default_rng([seed, 6]))
    areas, n = _areas(_with_models(degrees, pairs, seed, trained))
    for name in trained.models:
        yield Check("degree alone, models", f"AUC of {name}", areas[name], 0.45, 0.55, n)


def _blocks(degrees: Degrees, seed: int, trained: _Trained) -> Iterator[Check]:
    pairs = by_blocks(degrees, np.random.default_rng([seed, 7]))
    (name, config), *_ = trained.models.items()
    evaluation = _with_models(degrees, pairs, seed, replace(trained, models={name: config}))
    areas, n = _areas(evaluation)
    gain = areas[name] - areas[_HUBS]
    yield Check("blocks", "AUC of the model above that of degrees", gain, 0.1, 1.0, n)
    (row,) = evaluation.calibration.query("relation == 'all'").to_dict("records")
    yield Check("blocks", "calibration slope on held-out pairs", row["slope"], 0.9, 1.1,
                row["n_positives"] + row["n_negatives"])  # fmt: skip


def _with_models(
    degrees: Degrees, pairs: tuple[np.ndarray, np.ndarray], seed: int, trained: _Trained
) -> Evaluation:
    """Train models on pairs and return them beside a floor, on test edges of the same split."""
    rng, count = np.random.default_rng([seed, 8]), len(pairs[0])
    x = rng.normal(size=(degrees.n, FEATURES)).astype(np.float32)
    edges_alone = planted_links(
        degrees.n, *pairs, relations=RELATIONS,
        relation=rng.integers(len(RELATIONS), size=count).astype(np.int32),
    )  # fmt: skip
    graph = with_structure(replace(
        edges_alone.graph, x=x, vertex_features=tuple(f"random {i}" for i in range(FEATURES)),
        edge_attr=rng.random((count, OF_EDGES), np.float32),
        edge_features=tuple(f"random {i}" for i in range(OF_EDGES)),
        split=split_links(edges_alone, seed=seed).part,
    ))  # fmt: skip
    links, checkpoints = links_of(graph), []
    for name, config in trained.models.items():
        checkpoint = train(graph, config, trained.folder / f"training {name}")
        checkpoints.append(checkpoint.rename(trained.folder / name))
    settings = Settings(("degree",), (_HUBS,), seed, trained.positives, queries=0)
    return evaluate_links(links, split_links(links, "graph"), checkpoints, settings)


def _signs(degrees: Degrees, seed: int, _: _Trained) -> Iterator[Check]:
    """A model that knows how targets respond, from as many pairs as the floors, but others."""
    rng = np.random.default_rng([seed, 9])
    a, b = by_degree(degrees, rng)
    links = planted_links(degrees.n, a, b, sign=signs_by_target(degrees.n, b, rng))
    split = split_links(links, seed=seed)
    pairs = signed_pairs(links, split)
    drawn = rng.permutation(np.flatnonzero(pairs.part != 3))[: int((pairs.part == 1).sum())]
    up = np.bincount(pairs.dst[drawn], pairs.activates[drawn], links.n)
    of_target = np.bincount(pairs.dst[drawn], minlength=links.n)
    known = np.log((up + 0.6) / (of_target - up + 0.4))
    stacked = degrees.pairs <= MOST_STACKED
    models = {"model": lambda _, target: known[target]}
    table = sign_table(links, split, models, seed, stacked=stacked)[0]
    (row,) = table.query("scorer == 'model' and metric == 'auc'").to_dict("records")
    for end, low, high in (("gain_low", -0.1, 0.0), ("gain_high", 0.0, 0.1)):
        side = end.partition("_")[2]
        yield Check("signs by target", f"gain of knowing targets, {side} end of 95 %", row[end],
                    low, high, row["n_pairs"])  # fmt: skip


def _gradients(_degrees: Degrees, seed: int, _trained: _Trained) -> Iterator[Check]:
    """Compare sums over weighted edges with dense products: parallel edges, vertices without."""
    rng = np.random.default_rng([seed, 10])
    n, count = 40, 200
    src, dst = rng.integers(0, n, count), rng.integers(0, n - 5, count)
    src[:20], dst[:20] = src[20:40], dst[20:40]
    tensors = [torch.from_numpy(v).requires_grad_()
               for v in (rng.normal(size=(n, 6)), rng.random(count))]  # fmt: skip
    both = []
    for dense in (False, True):
        x, weight = tensors
        if dense:
            ends = torch.from_numpy(dst), torch.from_numpy(src)
            empty = torch.zeros(n, n, dtype=torch.float64)
            out = empty.index_put(ends, weight, accumulate=True) @ x
            degree = torch.bincount(ends[0], minlength=n).clamp(min=1)
            out = out / degree[:, None]
        else:
            out = weighted_edges(src, dst, n).weighted(weight).mean(x)
        both.append(torch.autograd.grad((out**3).sum(), tensors))
    for what, one, two in zip(("features", "edge weights"), *both, strict=True):
        difference = float((one - two).abs().max() / two.abs().max())
        yield Check("parallel edges", f"gradient of {what} less a dense one, relative", difference,
                    0.0, 1e-10, count)  # fmt: skip


def _gradients_of_graph(degrees: Degrees, seed: int, _: _Trained) -> Iterator[Check]:
    """Compare gradients over all edges of the graph with sums over edges, one column at a time.

    A hundredth of the edges is there twice, and five vertices have none. With the mean
    out_i = (sum over edges e into i of w_e x_src(e)) / d_i and g = d(sum of out^3) / d out / d_i,
    the gradient of x_j is the sum over edges out of j of w_e g_dst(e), and that of w_e is
    g_dst(e) . x_src(e).
    """
    rng = np.random.default_rng([seed, 11])
    src, dst = by_degree(degrees, rng)
    twice = rng.integers(0, len(src), len(src) // 100)
    src, dst = np.concatenate([src, src[twice]]), np.concatenate([dst, dst[twice]])
    n, width = degrees.n + 5, 4
    features, weights = rng.normal(size=(n, width)), rng.random(len(src))
    x, weight = torch.from_numpy(features.copy()), torch.from_numpy(weights.copy())
    out = weighted_edges(src, dst, n).weighted(weight.requires_grad_()).mean(x.requires_grad_())
    of_x, of_weight = torch.autograd.grad((out**3).sum(), (x, weight))
    arrives = np.bincount(dst, minlength=n).clip(min=1)
    true_of_x, true_of_weight = np.empty_like(features), np.zeros_like(weights)
    for column, values in enumerate(features.T):
        mean = np.bincount(dst, weights * values[src], n) / arrives
        gradient = 3 * mean**2 / arrives
        true_of_x[:, column] = np.bincount(src, weights * gradient[dst], n)
        true_of_weight += gradient[dst] * values[src]
    for what, value, truth in (("features", of_x.numpy(), true_of_x),
                               ("edge weights", of_weight.numpy(), true_of_weight)):  # fmt: skip
        difference = float(np.abs(value - truth).max() / np.abs(truth).max())
        yield Check("gradients", f"gradient of {what} less that of sums, relative", difference,
                    0.0, 1e-10, len(src))  # fmt: skip


def _areas(evaluation: Evaluation) -> tuple[dict[str, float], int]:
    """Return the AUC of each scorer, and the number of test edges."""
    rows = evaluation.metrics.query("metric == 'auc' and stratum == 'all'")
    areas = dict(zip(rows["scorer"], rows["value"].to_numpy(float), strict=True))
    return areas, int(rows["n_positives"].max())


CASES: dict[str, Callable[[Degrees, int, _Trained], Iterator[Check]]] = {
    "mirrors": _mirrors, "degree alone": _degree_alone, "degree alone, models": _models_of_degree,
    "blocks": _blocks, "signs by target": _signs, "parallel edges": _gradients,
    "gradients": _gradients_of_graph,
}  # fmt: skip
