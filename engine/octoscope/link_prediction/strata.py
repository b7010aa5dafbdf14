"""Groups of the evaluated edges: all, by relation, by source, by degree, by types of the ends."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from octoscope.link_prediction.links import MOST_SOURCES, Links
from octoscope.link_prediction.negatives import Positives

_DEGREES = (0, 1, 4, 16, 64, 256)  # lower bounds of the training degree of the lesser end
LEAST = 20  # positives of a group


def strata(
    links: Links, positives: Positives, degree: np.ndarray
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield kind, name and [positives] bool of each group with at least 20 positives.

    Parameters
    ----------
    degree
        [vertices] numbers of neighbours in training.
    """
    yield "all", "all", np.ones(len(positives.src), bool)
    groups = [*_relations(links, positives), *_sources(links, positives)]
    lesser = np.minimum(degree[positives.src], degree[positives.dst])
    degree_bin = np.searchsorted(_DEGREES, lesser, side="right") - 1
    for i, low in enumerate(_DEGREES):
        last = i == len(_DEGREES) - 1
        high = "" if last else f" to {_DEGREES[i + 1] - 1}"
        name = f"{low}{' or more' if last else high}".replace("0 to 0", "0")
        groups.append(("degree", name, degree_bin == i))
    first, second = links.kind[positives.src], links.kind[positives.dst]
    for i, a in enumerate(links.kinds):
        for j, b in enumerate(links.kinds):
            groups.append(("types", f"{a} -> {b}", (first == i) & (second == j)))
    for kind, name, mask in groups:
        if mask.sum() >= LEAST:
            yield kind, name, mask


def _relations(links: Links, positives: Positives) -> list[tuple[str, str, np.ndarray]]:
    return [("relation", r, positives.relation == i) for i, r in enumerate(links.graph.relations)]


def _sources(links: Links, positives: Positives) -> list[tuple[str, str, np.ndarray]]:
    bits = positives.sources
    return [
        ("source", s, (bits >> np.uint64(i)) & np.uint64(1) > 0)
        for i, s in enumerate(links.sources[:MOST_SOURCES])
    ]
