"""Lists over the genes that all models have: of layers, of combined layers, of the consensus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from octoscope.analysis.controlled.comparison import compare
from octoscope.analysis.controlled.controlled_block import Labelled, is_rarer
from octoscope.analysis.controlled.controlled_genes import ControlledGenes
from octoscope.analysis.controlled.lists import VertexList, strongest_pairs
from octoscope.analysis.controlled.observed_expected import FittedLadder, fit_ladder
from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.analysis.pairings import axis_positions, combined_layers
from octoscope.octopus.network import Network

LAYER, COMBINED, CONSENSUS = "layer", "layers combined", "models combined"


class SharedLists:
    """Lists of a category over the genes of a set that several models have.

    A pair counts if every model can rank it, so models are compared on the same pairs, and the
    consensus on pairs that none of them lacks.

    Parameters
    ----------
    models
        Checkpoints whose first variant is finished in the category.
    genes
        Ensembl ids that all of them have, ascending.
    k
        Lengths of the lists, ascending.
    """

    def __init__(
        self,
        run: FinishedMatrices,
        category: int,
        models: Sequence[str],
        genes: tuple[str, ...],
        network: Network,
        controls: Sequence[tuple[str, int]],
        k: Sequence[int],
    ) -> None:
        self._run, self._category, self._models, self._k = run, category, models, k
        self._at = {m: axis_positions(run.plan.model(m), genes) for m in models}
        eligible = np.ones((len(genes), len(genes)), bool)
        for m, at in self._at.items():
            eligible &= run.eligible_pairs(m, category)[np.ix_(at, at)]
        ids = np.array(genes, dtype=object)
        self._index = pd.Index(ids)
        self.genes = ControlledGenes(run, category, ids, eligible, network, controls)

    def comparisons(self, view: str, consensus: pd.DataFrame | None) -> Iterator[Labelled]:
        """Yield (label, comparison) of every list of a view under every control.

        Parameters
        ----------
        consensus
            Rows of the category's consensus network of the gene set and view, the strongest pair
            first; None: there is none.
        """
        if not self.genes.controlled:
            return
        vertex_lists = dict(self._lists(view, consensus))
        fitted: FittedLadder | None = None
        for control, blocks in self.genes.readers():
            universe = self.genes.universe(blocks, list(vertex_lists.values()), is_rarer(view))
            fitted = fit_ladder(universe, blocks, fitted)
            for (what, model, layer), (u, v) in vertex_lists.items():
                label: dict[str, Any] = {"list": what, "model": model, "layer": layer}
                for k in self._k:
                    row = label | {"view": view, "control": control, "k": k}
                    yield row, compare(universe, u[:k], v[:k], fitted=fitted)

    def _lists(
        self, view: str, consensus: pd.DataFrame | None
    ) -> Iterator[tuple[tuple[str, str | None, int | None], VertexList]]:
        run, pairs, most = self._run, self.genes.pairs, self._k[-1]
        for m in self._models:
            at = self._at[m]
            for layer in run.plan.model(m).layers:
                read = partial(run.matrix(m, self._category, layer).values, at, view)
                yield (LAYER, m, layer), strongest_pairs(read, pairs, most)
            combined = combined_layers(run, self._category, m)
            read = partial(combined.values, at, view)
            yield (COMBINED, m, None), strongest_pairs(read, pairs, most)
        if consensus is not None:
            ends = (self._index.get_indexer(consensus[end].astype(str)) for end in ("query", "key"))
            u, v = pairs.listed(*ends)
            ranked = pairs.eligible[u, v]
            yield (CONSENSUS, None, None), (u[ranked][:most], v[ranked][:most])
