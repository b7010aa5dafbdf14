"""Small networks with a planted truth."""

from __future__ import annotations

import numpy as np
import pytest
from octoscope.link_prediction.links import Links
from octoscope.link_prediction.planted import planted_links as links_from


def pairs_by_degree(
    rng: np.random.Generator, n: int, m: int, tail: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return about ``m`` distinct unordered pairs whose ends are drawn by a heavy-tailed weight."""
    weight = np.minimum(rng.pareto(tail, n) + 0.3, 12)
    weight /= weight.sum()
    a, b = rng.choice(n, 2 * m, p=weight), rng.choice(n, 2 * m, p=weight)
    keep = a != b
    code = np.unique(np.minimum(a, b)[keep] * n + np.maximum(a, b)[keep])
    code = np.sort(rng.permutation(code)[:m])
    a, b = code // n, code % n
    turned = rng.random(len(a)) < 0.5
    return np.where(turned, b, a), np.where(turned, a, b)


@pytest.fixture(scope="session")
def degree_only() -> Links:
    """2,500 vertices, 25,000 pairs; nothing but degree."""
    return links_from(2500, *pairs_by_degree(np.random.default_rng(1), 2500, 25_000))


@pytest.fixture(scope="session")
def mirrored() -> Links:
    """The same shape with 91 % of the pairs stated both ways."""
    rng = np.random.default_rng(2)
    a, b = pairs_by_degree(rng, 2500, 25_000)
    both = rng.random(len(a)) < 0.91
    return links_from(2500, np.concatenate([a, b[both]]), np.concatenate([b, a[both]]))
