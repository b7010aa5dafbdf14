"""Runs floors and a trained model on graphs with a known truth, and says what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

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
_CONFIG = TrainConfig(head="mlp", epochs=40, width=32, hidden=32, learning_rate=0.01,
                      validate_every=20)  # fmt: skip


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
    """Plant graphs on the degrees of a network, evaluate floors and a trained model; yield checks.

    Parameters
    ----------
    vertices
        Of a planted graph, with ten pairs each; 0: as many as the network has, and its pairs.
    config
        Of the model that is trained on the graph of degree alone and on that of blocks.
    """
    degrees = degrees_of(links, vertices, seed)
    for case in CASES:
        yield from case_checks(case, degrees, seed, config)


def case_checks(
    case: str, degrees: Degrees, seed: int = 0, config: TrainConfig = _CONFIG,
    positives: int = 20_000,
) -> Iterator[Check]:  # fmt: skip
    """Yield the checks of one of :data:`CASES`.

    Parameters
    ----------
    degrees
        Of the planted graph. It has an edge per pair; ``mirrors`` adds the mirrors of 91 %.
    positives
        At most so many edges of validation and of test; of signs, all.

    Raises
    ------
    KeyError
        If there is no such case.
    """
    with TemporaryDirectory() as folder:
        yield from CASES[case](degrees, seed, config, Path(folder) / "training", positives)


def _mirrors(
    degrees: Degrees, seed: int, _: TrainConfig, __: Path, positives: int
) -> Iterator[Check]:
    rng = np.random.default_rng([seed, 5])
    links = planted_links(degrees.n, *with_mirrors(*by_degree(degrees, rng), rng))
    settings = Settings(("degree",), ("mirror",), seed, positives, queries=0)
    for by, low, high in (("edge", 0.8, 1.0), ("pair", 0.48, 0.52)):
        split = split_links(links, by, seed=seed, peer=True)
        areas, n = _areas(evaluate_links(links, split, settings=settings))
        yield Check("mirrors", f"AUC of the mirror rule, split by {by}", areas["mirror"], low, high,
                    n)  # fmt: skip


def _degree_alone(
    degrees: Degrees, seed: int, config: TrainConfig, folder: Path, positives: int
) -> Iterator[Check]:
    rng = np.random.default_rng([seed, 6])
    pairs, floors = by_degree(degrees, rng), ()
    areas, n = _areas(_with_model(degrees, pairs, seed, config, folder, floors, positives))
    for scorer, area in areas.items():
        yield Check("degree alone", f"AUC of {scorer}", area, 0.45, 0.55, n)


def _blocks(
    degrees: Degrees, seed: int, config: TrainConfig, folder: Path, positives: int
) -> Iterator[Check]:
    rng = np.random.default_rng([seed, 7])
    pairs, floors = by_blocks(degrees, rng), ("preferential_attachment",)
    evaluation = _with_model(degrees, pairs, seed, config, folder, floors, positives)
    areas, n = _areas(evaluation)
    gain = areas["model"] - areas[floors[0]]
    yield Check("blocks", "AUC of the model above that of degrees", gain, 0.1, 1.0, n)
    (row,) = evaluation.calibration.query("relation == 'all'").to_dict("records")
    yield Check("blocks", "calibration slope on held-out pairs", row["slope"], 0.9, 1.1,
                row["n_positives"] + row["n_negatives"])  # fmt: skip


def _with_model(
    degrees: Degrees, pairs: tuple[np.ndarray, np.ndarray], seed: int, config: TrainConfig,
    folder: Path, floors: tuple[str, ...], positives: int,
) -> Evaluation:  # fmt: skip
    """Train a model on pairs and return it beside floors, on the test edges of the same split."""
    bare = planted_links(degrees.n, *pairs)
    x = np.random.default_rng([seed, 8]).normal(size=(degrees.n, FEATURES)).astype(np.float32)
    graph = with_structure(replace(
        bare.graph, x=x, vertex_features=tuple(f"random {i}" for i in range(FEATURES)),
        split=split_links(bare, seed=seed).part,
    ))  # fmt: skip
    links = links_of(graph)
    checkpoint = train(graph, config, folder)
    model = checkpoint.rename(checkpoint.with_name("model"))
    settings = Settings(("degree",), floors, seed, positives, queries=0)
    return evaluate_links(links, split_links(links, "graph"), [model], settings)


def _signs(degrees: Degrees, seed: int, *_rest: object) -> Iterator[Check]:
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
    table, _ = sign_table(links, split, {"model": lambda _, target: known[target]}, seed)
    (row,) = table.query("scorer == 'model' and metric == 'auc'").to_dict("records")
    for end, low, high in (("gain_low", -0.1, 0.0), ("gain_high", 0.0, 0.1)):
        side = end.partition("_")[2]
        yield Check("signs by target", f"gain of knowing targets, {side} end of 95 %", row[end],
                    low, high, row["n_pairs"])  # fmt: skip


def _gradients(_: Degrees, seed: int, *_rest: object) -> Iterator[Check]:
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


def _areas(evaluation: Evaluation) -> tuple[dict[str, float], int]:
    """Return the AUC of each scorer, and the number of test edges."""
    rows = evaluation.metrics.query("metric == 'auc' and stratum == 'all'")
    areas = dict(zip(rows["scorer"], rows["value"].to_numpy(float), strict=True))
    return areas, int(rows["n_positives"].max())


CASES: dict[str, Callable[[Degrees, int, TrainConfig, Path, int], Iterator[Check]]] = {
    "mirrors": _mirrors, "degree alone": _degree_alone, "blocks": _blocks,
    "signs by target": _signs, "parallel edges": _gradients,
}  # fmt: skip
