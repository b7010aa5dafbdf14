"""Matrices, halves and networks whose truth is known; described in ``calibration.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from octoscope.analysis.donor_jackknife import Block

Matrix = np.ndarray
Structure = Callable[[np.random.Generator, int], list[Matrix]]


def noise(rng: np.random.Generator, n: int) -> Matrix:
    return rng.normal(size=(n, n))


def hub_effects(rng: np.random.Generator, n: int) -> Matrix:
    return np.asarray(rng.normal(size=n)[:, None] + rng.normal(size=n))


def low_rank(rng: np.random.Generator, n: int, rank: int = 3) -> Matrix:
    return rng.normal(size=(n, rank)) @ rng.normal(size=(rank, n)) / np.sqrt(rank)


def hubs(rng: np.random.Generator, n: int) -> list[Matrix]:
    return [np.exp(hub_effects(rng, n) + noise(rng, n)) for _ in range(3)]


def shared_hubs(rng: np.random.Generator, n: int) -> list[Matrix]:
    effects = hub_effects(rng, n)
    return [effects + noise(rng, n) for _ in range(3)]


def of_low_rank(rng: np.random.Generator, n: int) -> list[Matrix]:
    return [low_rank(rng, n) + 0.5 * noise(rng, n) for _ in range(3)]


def coexpression(rng: np.random.Generator, n: int) -> list[Matrix]:
    shared = low_rank(rng, n)
    return [shared + noise(rng, n) for _ in range(3)]


def planted(rng: np.random.Generator, n: int) -> list[Matrix]:
    raised = 2 * (rng.random((n, n)) < 0.1)
    return [np.exp(hub_effects(rng, n) + noise(rng, n) + raised) for _ in range(3)]


def same_donors(rng: np.random.Generator, n: int) -> list[Matrix]:
    own = np.mean([low_rank(rng, n) for _ in range(4)], axis=0)
    return [np.exp(hub_effects(rng, n) + own + 0.5 * noise(rng, n)) for _ in range(3)]


def network(rng: np.random.Generator, n: int) -> Matrix:
    """Return a random symmetric adjacency, six neighbours on average, lognormal propensities."""
    w = rng.lognormal(0, 0.8, n)
    upper = np.triu(rng.random((n, n)) < np.minimum(np.outer(w, w) * 6 * n / w.sum() ** 2, 1), 1)
    return np.asarray(upper | upper.T)


def beside_network(rng: np.random.Generator, n: int, structure: str) -> tuple[Matrix, Matrix]:
    """Return a matrix and a network that share what the structure says."""
    adjacency = network(rng, n)
    own = hub_effects(rng, n) + noise(rng, n)
    if structure == "shared hubs":
        degree = np.log1p(adjacency.sum(1))
        own = degree[:, None] + degree + noise(rng, n)
    elif structure == "low rank":
        own = low_rank(rng, n) + 0.5 * noise(rng, n)
    elif structure == "co-expression":
        shared = low_rank(rng, n)
        shared = shared + shared.T
        upper = np.triu(shared > np.quantile(shared, 1 - 6 / n), 1)
        adjacency, own = np.asarray(upper | upper.T), shared + noise(rng, n)
    elif structure == "planted":
        own = own + 2 * adjacency
    return own, adjacency


class DonorDeletions:
    """A matrix without each of its donors in turn; all pairs are eligible."""

    def __init__(self, of_donors: Matrix) -> None:
        self.donors = [1] * len(of_donors)
        rest = (of_donors.sum(0) - of_donors) / (len(of_donors) - 1)
        self._values, self._every = rest.astype(np.float32), np.ones(of_donors.shape, bool)

    def blocks(self, genes: Matrix, view: str) -> Iterator[Block]:
        """Yield the matrix in one piece."""
        yield Block(0, self._values, self._every, self._every, self._every[0])


def donors(rng: np.random.Generator, n: int, mixed: bool) -> list[Matrix]:
    """Halves with hubs in common (as halves of a category have) and four donors' effects."""
    effects = hub_effects(rng, n)
    own = [low_rank(rng, n) for _ in range(4)]
    sides = [own, own] if mixed else [own[:2], own[2:]]
    return [effects + np.mean(side, axis=0) + 0.5 * noise(rng, n) for side in sides]
