"""All lists of a block (attention variant and category) over a gene set, under every control."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from octoscope.analysis.controlled import lists
from octoscope.analysis.controlled.comparison import (
    Comparison,
    WithoutDonors,
    compare,
    held_out,
)
from octoscope.analysis.controlled.controlled_genes import ControlledGenes
from octoscope.analysis.controlled.lists import VertexList
from octoscope.analysis.controlled.observed_expected import FittedLadder, fit_ladder
from octoscope.analysis.controlled.orientation import leads_to, orientation_test
from octoscope.analysis.controlled.spline_logistic import SampledPairs
from octoscope.analysis.controlled.universe import Blocks, Universe
from octoscope.analysis.derived_views import DerivedViews, parts_of
from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.analysis.gnn_scored import QUANTITIES, ScoredGenes
from octoscope.analysis.leave_one_out import DerivedLeaveOneOut
from octoscope.analysis.pairings import combined_layers
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.network import Network
from octoscope.run_plan.work_names import residual_work

# In these views a value is a mean over all cells of the category, so a pair of a rare and a common
# gene is as strong as both allow; in the others cells without the pair do not count.
_OF_ALL_CELLS = ("marginal", "correlation")
_LARGEST_SHARE = 0.1  # of all pairs: a longer list is no selection

Labelled = tuple[dict[str, Any], Comparison]


class ControlledBlock:
    """Lists of a block, and the controls of its category.

    Parameters
    ----------
    run, model, category, gene_set
        The matrices, and the genes whose pairs are ranked.
    network
        The view of it that counts.
    controls
        (model, category) of the finished co-expression blocks.
    k
        Lengths of the lists, in unordered pairs; None: as the comparisons, or top_k and a tenth.
    gnn
        Scores of graph neural networks by name, with a pair's own edges left out.

    Attributes
    ----------
    positions
        [genes] on the axis of the model.
    views
        Views that are compared, in the order of the model's.
    genes
        Their pairs and controls.
    """

    def __init__(
        self,
        run: FinishedMatrices,
        model: str,
        category: int,
        gene_set: str,
        network: Network,
        controls: Sequence[tuple[str, int]],
        k: Sequence[int] | None = None,
        gnn: Mapping[str, ScoredGenes] | None = None,
    ) -> None:
        plan = run.plan
        self._run, self._m, self._category = run, plan.model(model), category
        self.positions = np.array(self._m.gene_sets[gene_set])
        default = plan.compare.k if plan.compare else {plan.top_k, -(-plan.top_k // 10)}
        self._k = sorted(k or default)
        views = plan.compare.views if plan.compare else self._m.views
        self.views = [v for v in self._m.views if v in views]
        ids = np.array(self._m.axis, dtype=object)[self.positions]
        eligible = run.eligible_pairs(model, category)[np.ix_(self.positions, self.positions)]
        self.genes = ControlledGenes(run, category, ids, eligible, network, controls)
        self._seed, self._network, self._gnn = plan.seed, network, gnn or {}

    @property
    def pairs(self) -> VertexPairs:
        """The pairs that lists can hold."""
        return self.genes.pairs

    @property
    def layers(self) -> list[int]:
        """Layers of the variant."""
        return self._m.layers

    @cached_property
    def vertices(self) -> np.ndarray:
        """[vertices] those of the network, in the order of ``pairs``."""
        return np.unique(self.genes.vertices[self.genes.vertices >= 0])

    def matrix(self, layer: int) -> DerivedViews:
        """Return the matrix of a layer."""
        return self._run.matrix(self._m.name, self._category, layer)

    @cached_property
    def of_matrices(self) -> dict[tuple[int, str], VertexList]:
        """Lists by (layer, view)."""
        return {
            (layer, view): self._list(layer, view)
            for layer in self._m.layers
            for view in self.views
        }

    @cached_property
    def _without_donors(self) -> dict[tuple[int, str], WithoutDonors]:
        """Lists of the matrices without each group of donors; none where there are no groups."""
        without_donors = {}
        for layer in self._m.layers:
            opened = self._run.leave_donors_out(self._m.name, self._category, layer)
            if opened is None:
                return {}
            matrix = DerivedLeaveOneOut(opened)
            for view in self.views:
                of_groups = lists.strongest_without(
                    matrix, self.positions, view, self.pairs, self._k[-1]
                )
                without_donors[layer, view] = WithoutDonors(matrix.donors, of_groups)
        return without_donors

    def orientations(self, permutations: int) -> Iterator[dict[str, Any]]:
        """Yield (layer, view, k and the test of direction) of every layer's list of one length."""
        if not self.genes.controlled:
            return
        leads = leads_to(self._network, self.vertices)
        k = self.headline_k
        for (layer, view), (u, v) in self.of_matrices.items():
            if view == self.views[0]:
                tested = orientation_test(
                    u[:k], v[:k], self.pairs, leads, permutations=permutations, seed=self._seed
                )
                yield {"layer": layer, "view": view, "k": k} | tested

    @property
    def headline_k(self) -> int:
        """The longest list that holds at most a tenth of all pairs, else the shortest.

        A list that holds more is no selection, and leaves no others to compare with.
        """
        few = [k for k in self._k if k <= _LARGEST_SHARE * self.pairs.n_pairs]
        return max(few, default=self._k[0])

    def comparisons(self) -> Iterator[Labelled]:
        """Yield (label, comparison) of every list under every control, comparators last."""
        if not self.genes.controlled:
            return
        of_matrices = self.of_matrices
        of_first = is_rarer(self.views[0])
        sampled = SampledPairs.of(self.pairs, self._seed)
        for rarer in (of_first, not of_first):
            here = {key: v for key, v in of_matrices.items() if is_rarer(key[1]) == rarer}
            if not here:
                continue
            # one set of comparators, with the expression level of the first view
            others = self._comparators() if rarer == of_first else {}
            fitted: FittedLadder | None = None
            for control, blocks in self.genes.readers():
                every_list = [*here.values(), *others.values()]
                for key in here.keys() & self._without_donors.keys():
                    every_list += self._without_donors[key].lists
                if rarer == of_first:
                    half = lists.strongest_scores(_half(blocks, 1), self.pairs, self._k[-1])
                    every_list.append(half)
                universe = self.genes.universe(blocks, every_list, rarer, sampled=sampled)
                fitted = fit_ladder(universe, blocks, fitted)
                yield from self._compared(universe, control, here, fitted, sampled)
                yield from self._compared(universe, control, others)
                if rarer == of_first:
                    yield from self._held_out(universe, control, half)

    def _compared(
        self,
        universe: Universe,
        control: str,
        vertex_lists: dict[tuple[Any, ...], VertexList],
        fitted: FittedLadder | None = None,
        sampled: SampledPairs | None = None,
    ) -> Iterator[Labelled]:
        for (layer, view, *comparator), (u, v) in vertex_lists.items():
            label = {"layer": layer, "view": view, "control": control}
            if comparator:
                label["comparator"] = comparator[0]
            without = None if comparator else self._without_donors.get((layer, view))
            for k in self._k:
                of_donors = None if without is None else without.shortened(k)
                others = sampled if k == self.headline_k else None
                yield (
                    label | {"k": k},
                    compare(universe, u[:k], v[:k], of_donors, fitted, others),
                )

    def _held_out(self, universe: Universe, control: str, listed: VertexList) -> Iterator[Labelled]:
        u, v = listed
        for k in self._k:
            label = {"layer": None, "view": None, "control": control, "k": k}
            label["comparator"] = "co-expression"
            yield label, held_out(universe, u[:k], v[:k])

    def _list(self, layer: int, view: str) -> VertexList:
        read = partial(self.matrix(layer).values, self.positions, view)
        return lists.strongest_pairs(read, self.pairs, self._k[-1])

    def _comparators(self) -> dict[tuple[Any, ...], VertexList]:
        """Return lists by (layer, view, name); without a layer where they are of a category."""
        pairs, k = self.pairs, self._k[-1]
        assert self.genes.expression is not None  # comparisons() returns before
        random = lists.random_scores(len(pairs), self._seed)
        vertex_lists: dict[tuple[Any, ...], VertexList] = {
            (None, None, "random pairs"): lists.strongest_scores(random, pairs, k),
            (None, None, "expression"): lists.strongest_scores(
                lists.sums_of_genes(self.genes.expression), pairs, k
            ),
        }
        for name, scored in self._gnn.items():
            for quantity in QUANTITIES:
                values = scored.of("leave-out", quantity)
                vertex_lists[None, None, f"GNN {quantity}, left out ({name})"] = (
                    lists.strongest_scores(lists.scores_of_matrix(values), pairs, k)
                )
        vertex_lists |= self._combined()
        plan, base = self._run.plan, self._m.base
        embedded = self._run.gene_embeddings(base, self._category)
        if embedded is not None:
            vertex_lists[None, None, "token embeddings"] = self._most_alike(embedded)
        work = residual_work(base, self._category)  # one that was quarantined has no streams
        streams = bool(plan.attention_variants(base, "mean_residual")) and self._run.has(work)
        for layer in self._m.layers:
            matrix = self.matrix(layer)
            for view in self.views:
                if parts_of(view)[0] != view or is_rarer(view) != is_rarer(self.views[0]):
                    continue
                effect = np.add(*matrix.gene_effects(self.positions, view))
                scores = lists.sums_of_genes(lists.by_vertex_mean(effect, pairs))
                vertex_lists[layer, view, "gene effects"] = lists.strongest_scores(scores, pairs, k)
            if streams:
                stream = self._run.mean_residuals(base, self._category, layer)
                vertex_lists[layer, None, "hidden states"] = self._most_alike(stream)
        return {name: pair for name, pair in vertex_lists.items() if len(pair[0])}

    def _most_alike(self, vectors: np.ndarray) -> VertexList:
        """Return the pairs with the largest cosine of [axis genes, d] vectors."""
        of_vertices = lists.by_vertex_mean(vectors[self.positions], self.pairs)
        return lists.strongest_scores(lists.cosines(of_vertices), self.pairs, self._k[-1])

    def _combined(self) -> dict[tuple[Any, ...], VertexList]:
        """Return the lists of a checkpoint's layers as one matrix, where the run combines them."""
        plan = self._run.plan
        of_checkpoint = self._m.name in [m.name for m in plan.checkpoints]
        if plan.compare is None or not plan.compare.consensus or not of_checkpoint:
            return {}
        matrix = combined_layers(self._run, self._category, self._m.name)
        return {
            (None, view, "layers combined"): lists.strongest_pairs(
                partial(matrix.values, self.positions, view), self.pairs, self._k[-1]
            )
            for view in self.views
            if is_rarer(view) == is_rarer(self.views[0])
        }


def is_rarer(view: str) -> bool:
    """Tell whether pairs of a view are compared with pairs whose rarer gene is as rare."""
    return parts_of(view)[0] not in _OF_ALL_CELLS


def _half(blocks: Blocks, half: int) -> Blocks:
    """Return a reader of the size of one half's values."""
    return lambda: ((rows, np.abs(values[half])) for rows, values in blocks())
