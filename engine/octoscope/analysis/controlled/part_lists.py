"""A block's lists against single parts of the network, under every control."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from octoscope.analysis.controlled.comparison import compare
from octoscope.analysis.controlled.controlled_block import ControlledBlock, Labelled, is_rarer
from octoscope.analysis.controlled.network_parts import network_parts
from octoscope.analysis.controlled.observed_expected import FittedLadder, fit_ladder
from octoscope.analysis.controlled.verdicts import LEAST_EDGES
from octoscope.octopus.network import Network


def part_comparisons(block: ControlledBlock, network: Network) -> Iterator[Labelled]:
    """Yield (label, comparison) of the first view's headline list of every layer.

    Degree is counted in the part, so a hub of one source is compared with hubs of it. Parts with
    fewer edges than a verdict needs, and those that hold every edge, are left out.
    """
    if not block.genes.controlled:
        return
    k, view = block.headline_k, block.views[0]
    by_layer = {layer: pair for (layer, v), pair in block.of_matrices.items() if v == view}
    for kind, name, part in network_parts(network):
        pairs = replace(block.pairs, adjacency=part.adjacency(block.vertices))
        if not LEAST_EDGES <= pairs.n_edges < block.pairs.n_edges:
            continue
        fitted: FittedLadder | None = None
        for control, blocks in block.genes.readers():
            lists = [(u[:k], v[:k]) for u, v in by_layer.values()]
            universe = block.genes.universe(blocks, lists, is_rarer(view), pairs)
            fitted = fit_ladder(universe, blocks, fitted)
            for layer, (u, v) in zip(by_layer, lists, strict=True):
                label = {"layer": layer, "view": view, "control": control, "k": k}
                named = {"part_kind": kind, "part": name, "part_edges": pairs.n_edges}
                yield label | named, compare(universe, u, v, fitted=fitted)
