"""Layers compared among one half of the genes and among the other: to choose, and to test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from octoscope.analysis.controlled.comparison import compare
from octoscope.analysis.controlled.controlled_block import ControlledBlock, Labelled, is_rarer
from octoscope.analysis.controlled.lists import strongest_of_each
from octoscope.analysis.matrix import PairMatrix


def half_of_vertices(n: int, seed: int) -> np.ndarray:
    """Return [vertices] half, 0 or 1, of every vertex of a network; of all models the same."""
    return np.random.default_rng([seed, 2]).permutation(n) % 2


def half_comparisons(
    block: ControlledBlock, n_vertices: int, seed: int
) -> Iterator[tuple[int, Labelled]]:
    """Yield (half, (label, comparison)) of the first view's list of every layer.

    Pairs within a half are a quarter of all, so lists are a quarter as long as the headline's. They
    are controlled for the first co-expression.

    Parameters
    ----------
    n_vertices
        Of the network.
    """
    if not block.genes.controlled:
        return
    view, k = block.views[0], max(block.headline_k // 4, 1)
    half = half_of_vertices(n_vertices, seed)[block.vertices]
    lists = {
        layer: strongest_of_each(
            partial(_by_half, block.matrix(layer), block, view, half), 2, block.pairs, k
        )
        for layer in block.layers
    }
    control, blocks = next(iter(block.genes.readers()))
    for h in (0, 1):
        inside = half == h
        pairs = replace(block.pairs, eligible=block.pairs.eligible & inside & inside[:, None])
        here = [of_halves[h] for of_halves in lists.values()]
        universe = block.genes.universe(blocks, here, is_rarer(view), pairs)
        for layer, (u, v) in zip(lists, here, strict=True):
            label = {"layer": layer, "view": view, "control": control, "k": k}
            yield h, (label, compare(universe, u, v))


def _by_half(
    matrix: PairMatrix, block: ControlledBlock, view: str, half: np.ndarray
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield (first row, [2, rows, genes] values, pairs within each half)."""
    vertex = block.pairs.vertex_of
    of_gene = np.where(vertex >= 0, half[vertex], -1) if len(half) else np.full(len(vertex), -1)
    for first, values, eligible in matrix.values(block.positions, view):
        rows = of_gene[first : first + len(values), None]
        within = np.stack([eligible & (rows == h) & (of_gene == h) for h in (0, 1)])
        yield first, np.stack([values, values]), within
