"""Pairs of a set of genes in a category, with every co-expression that controls them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial

import numpy as np
import pandas as pd

from octoscope.analysis.controlled import lists
from octoscope.analysis.controlled.controls import GeneBlocks, by_vertex, of_category, pooled
from octoscope.analysis.controlled.lists import VertexList
from octoscope.analysis.controlled.spline_logistic import SampledPairs
from octoscope.analysis.controlled.universe import Blocks, Universe, count_universe
from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.network import Network
from octoscope.octopus.pairs import pair_codes


class ControlledGenes:
    """Pairs of genes that lists can hold, and the controls of their category.

    Parameters
    ----------
    run, category
        The co-expression that is controlled.
    ids
        [genes] Ensembl ids.
    eligible
        [genes, genes] bool: pairs that the lists' matrices can rank. Pairs of which co-expression
        is not known are left out too.
    network
        The view of it that counts.
    controls
        (model, category) of the finished co-expression blocks.
    """

    def __init__(
        self,
        run: FinishedMatrices,
        category: int,
        ids: np.ndarray,
        eligible: np.ndarray,
        network: Network,
        controls: Sequence[tuple[str, int]],
    ) -> None:
        self._run, self._category, self._ids = run, category, ids
        here = [name for name, c in controls if c == category]
        self._controls = {name: [c for other, c in controls if other == name] for name in here}
        self.vertices = network.vertex_of(ids)
        for name in here[:1]:  # pearson and spearman have the same cells
            at = self._axis(name)
            eligible = eligible & run.eligible_pairs(name, category)[np.ix_(at, at)]
        self.pairs = VertexPairs.of_genes(self.vertices, network.adjacency(self.vertices), eligible)

    def _axis(self, name: str) -> np.ndarray:
        """Return the genes' positions on the axis of a co-expression entry."""
        return pd.Index(self._run.plan.model(name).axis).get_indexer(pd.Index(self._ids))

    @property
    def controlled(self) -> bool:
        """Whether co-expression of the category was measured and its moments are kept."""
        return bool(self._controls) and self.expression is not None

    @cached_property
    def expression(self) -> np.ndarray | None:
        """[vertices] mean log expression over all cells of the category; None: not kept."""
        name = next(iter(self._controls))
        moments = self._run.gene_moments(name, self._category)
        if moments is None:
            return None
        return lists.by_vertex_mean(moments.mean[2][self._axis(name)], self.pairs)

    def cells_of(self, control: str) -> int:
        """Return the cells that a control was measured in."""
        pooled_over = self._controls["coexpression.pearson"] if control.endswith("pooled") else ()
        at = pooled_over or [self._category]
        return sum(self._run.plan.categories[c].n_cells or 0 for c in at)

    def readers(self) -> Iterator[tuple[str, Blocks]]:
        """Yield every control with its reader by vertex."""
        for name, categories in self._controls.items():
            kind, at = name.partition(".")[2], self._axis(name)
            order = np.argsort(at)
            genes, vertex = at[order], self.pairs.vertex_of[order]
            known = vertex >= 0
            genes, vertex = genes[known], vertex[known]
            read = partial(self._reader, name, genes)
            yield kind, by_vertex(read(self._category), vertex, len(self.pairs))
            within = self._run.correlations_within_donors(name, self._category, genes)
            if within is not None:
                yield f"{kind}, within donors", by_vertex(within, vertex, len(self.pairs))
            if kind != "pearson" or len(categories) < 2:
                continue
            moments = [self._run.gene_moments(name, c) for c in categories]
            parts = [(read(c), m) for c, m in zip(categories, moments, strict=True) if m]
            yield f"{kind}, pooled", by_vertex(pooled(parts, genes), vertex, len(self.pairs))

    def _reader(self, name: str, genes: np.ndarray, category: int) -> GeneBlocks:
        # read by blocks: the matrices of all categories are open at once in a pool
        return of_category(self._run.matrix(name, category, 0, 0), genes)

    def universe(
        self,
        blocks: Blocks,
        every_list: Sequence[VertexList],
        rarer: bool,
        pairs: VertexPairs | None = None,
        sampled: SampledPairs | None = None,
    ) -> Universe:
        """Count all pairs under a control.

        Parameters
        ----------
        every_list
            All lists that will be compared.
        rarer
            Bin pairs by the level of their rarer gene.
        pairs
            Some of the pairs, or other edges; None: those of the genes.
        sampled
            Further pairs whose co-expression will be asked for.
        """
        n = len(self.pairs)
        codes = [pair_codes(u, v, n) for u, v in every_list]
        assert self.expression is not None  # see `controlled`
        return count_universe(
            pairs or self.pairs, blocks, self.expression,
            np.unique(np.concatenate(codes)) if codes else np.zeros(0, np.int64),
            rarer=rarer, seed=self._run.plan.seed,
            sampled=None if sampled is None else pair_codes(sampled.u, sampled.v, n),
        )  # fmt: skip
