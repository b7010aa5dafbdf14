"""All lists of a block (attention variant and category) over a gene set, under every control."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd

from octoscope.analysis.controlled import lists
from octoscope.analysis.controlled.comparison import Comparison, compare, held_out
from octoscope.analysis.controlled.controls import GeneBlocks, by_vertex, of_category, pooled
from octoscope.analysis.controlled.lists import VertexList
from octoscope.analysis.controlled.orientation import leads_to, orientation_test
from octoscope.analysis.controlled.universe import Blocks, Universe, count_universe
from octoscope.analysis.derived_views import parts_of
from octoscope.analysis.finished_matrices import FinishedMatrices
from octoscope.analysis.gnn_scored import QUANTITIES, ScoredGenes
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.network import Network
from octoscope.octopus.pairs import pair_codes
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
        self._genes = np.array(self._m.gene_sets[gene_set])
        default = plan.compare.k if plan.compare else {plan.top_k, -(-plan.top_k // 10)}
        self._k = sorted(k or default)
        views = plan.compare.views if plan.compare else self._m.views
        self._views = [v for v in self._m.views if v in views]
        here = [name for name, c in controls if c == category]
        self._controls = {name: self._entry(name, controls) for name in here}
        self._ids = np.array(self._m.axis, dtype=object)[self._genes]
        self._vertices = network.vertex_of(self._ids)
        self._seed, self._network, self._gnn = plan.seed, network, gnn or {}
        self.pairs = self._pairs(here)

    def _entry(self, name: str, controls: Sequence[tuple[str, int]]) -> list[int]:
        return [c for other, c in controls if other == name]

    def _axis(self, name: str) -> np.ndarray:
        """Return the genes' positions on the axis of a co-expression entry."""
        axis = pd.Index(self._run.plan.model(name).axis)
        return axis.get_indexer(self._ids)

    def _pairs(self, controls: Sequence[str]) -> VertexPairs:
        grid = np.ix_(self._genes, self._genes)
        eligible = self._run.eligible_pairs(self._m.name, self._category)[grid]
        for name in controls[:1]:  # pearson and spearman have the same cells
            at = self._axis(name)
            eligible &= self._run.eligible_pairs(name, self._category)[np.ix_(at, at)]
        adjacency = self._network.adjacency(self._vertices)
        return VertexPairs.of_genes(self._vertices, adjacency, eligible)

    @cached_property
    def _expression(self) -> np.ndarray | None:
        """[vertices] mean log expression over all cells of the category; None: not kept."""
        name = next(iter(self._controls))
        moments = self._run.gene_moments(name, self._category)
        if moments is None:
            return None
        return lists.by_vertex_mean(moments.mean[2][self._axis(name)], self.pairs)

    @cached_property
    def _of_matrices(self) -> dict[tuple[int, str], VertexList]:
        return {
            (layer, view): self._list(layer, view)
            for layer in self._m.layers
            for view in self._views
        }

    def orientations(self, permutations: int) -> Iterator[dict[str, Any]]:
        """Yield (layer, view, k and the test of direction) of every layer's list of one length."""
        if not self._controls or self._expression is None:
            return
        mapped = np.unique(self._vertices[self._vertices >= 0])
        leads = leads_to(self._network, mapped)
        k = self.headline_k
        for (layer, view), (u, v) in self._of_matrices.items():
            if view == self._views[0]:
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

    def cells_of(self, control: str) -> int:
        """Return the cells that a control was measured in."""
        pooled_over = self._controls["coexpression.pearson"] if control.endswith("pooled") else ()
        at = pooled_over or [self._category]
        return sum(self._run.plan.categories[c].n_cells or 0 for c in at)

    def comparisons(self) -> Iterator[Labelled]:
        """Yield (label, comparison) of every list under every control, comparators last."""
        if not self._controls or self._expression is None:
            return
        of_matrices = self._of_matrices
        of_first = is_rarer(self._views[0])
        for rarer in (of_first, not of_first):
            here = {key: v for key, v in of_matrices.items() if is_rarer(key[1]) == rarer}
            if not here:
                continue
            # one set of comparators, with the expression level of the first view
            others = self._comparators() if rarer == of_first else {}
            for control, blocks in self._readers():
                every_list = [*here.values(), *others.values()]
                if rarer == of_first:
                    half = lists.strongest_scores(_half(blocks, 1), self.pairs, self._k[-1])
                    every_list.append(half)
                universe = self._universe(blocks, every_list, rarer)
                yield from self._compared(universe, control, here)
                yield from self._compared(universe, control, others)
                if rarer == of_first:
                    yield from self._held_out(universe, control, half)

    def _compared(
        self, universe: Universe, control: str, found: dict[tuple[Any, ...], VertexList]
    ) -> Iterator[Labelled]:
        for (layer, view, *comparator), (u, v) in found.items():
            label = {"layer": layer, "view": view, "control": control}
            if comparator:
                label["comparator"] = comparator[0]
            for k in self._k:
                yield label | {"k": k}, compare(universe, u[:k], v[:k])

    def _held_out(self, universe: Universe, control: str, found: VertexList) -> Iterator[Labelled]:
        u, v = found
        for k in self._k:
            label = {"layer": None, "view": None, "control": control, "k": k}
            label["comparator"] = "co-expression"
            yield label, held_out(universe, u[:k], v[:k])

    def _universe(self, blocks: Blocks, every_list: Sequence[VertexList], rarer: bool) -> Universe:
        n = len(self.pairs)
        codes = [pair_codes(u, v, n) for u, v in every_list]
        assert self._expression is not None  # comparisons() returns before
        return count_universe(
            self.pairs, blocks, self._expression, np.unique(np.concatenate(codes)),
            rarer=rarer, seed=self._seed,
        )  # fmt: skip

    def _readers(self) -> Iterator[tuple[str, Blocks]]:
        """Yield every control with its reader by vertex."""
        for name, categories in self._controls.items():
            kind, at = name.partition(".")[2], self._axis(name)
            order = np.argsort(at)
            genes, vertex = at[order], self.pairs.vertex_of[order]
            known = vertex >= 0
            genes, vertex = genes[known], vertex[known]
            read = partial(self._reader, name, genes)
            yield kind, by_vertex(read(self._category), vertex, len(self.pairs))
            if kind != "pearson" or len(categories) < 2:
                continue
            moments = [self._run.gene_moments(name, c) for c in categories]
            parts = [(read(c), m) for c, m in zip(categories, moments, strict=True) if m]
            yield f"{kind}, pooled", by_vertex(pooled(parts, genes), vertex, len(self.pairs))

    def _reader(self, name: str, genes: np.ndarray, category: int) -> GeneBlocks:
        # read by blocks: the matrices of all categories are open at once in a pool
        return of_category(self._run.matrix(name, category, 0, 0), genes)

    def _list(self, layer: int, view: str) -> VertexList:
        matrix = self._run.matrix(self._m.name, self._category, layer)
        read = partial(matrix.values, self._genes, view)
        return lists.strongest_pairs(read, self.pairs, self._k[-1])

    def _comparators(self) -> dict[tuple[Any, ...], VertexList]:
        """Return lists by (layer, view, name); without a layer where they are of a category."""
        pairs, k = self.pairs, self._k[-1]
        assert self._expression is not None
        random = lists.random_scores(len(pairs), self._seed)
        found: dict[tuple[Any, ...], VertexList] = {
            (None, None, "random pairs"): lists.strongest_scores(random, pairs, k),
            (None, None, "expression"): lists.strongest_scores(
                lists.sums_of_genes(self._expression), pairs, k
            ),
        }
        for name, scored in self._gnn.items():
            for quantity in QUANTITIES:
                values = getattr(scored.matrices["leave-out"], quantity)
                found[None, None, f"GNN {quantity}, left out ({name})"] = lists.strongest_scores(
                    lists.scores_of_matrix(values), pairs, k
                )
        plan, base = self._run.plan, self._m.base
        work = residual_work(base, self._category)  # one that was quarantined has no streams
        streams = bool(plan.attention_variants(base, "mean_residual")) and self._run.has(work)
        for layer in self._m.layers:
            matrix = self._run.matrix(self._m.name, self._category, layer)
            for view in self._views:
                if parts_of(view)[0] != view or is_rarer(view) != is_rarer(self._views[0]):
                    continue
                effect = np.add(*matrix.gene_effects(self._genes, view))
                scores = lists.sums_of_genes(lists.by_vertex_mean(effect, pairs))
                found[layer, view, "gene effects"] = lists.strongest_scores(scores, pairs, k)
            if streams:
                stream = self._run.mean_residuals(base, self._category, layer)[self._genes]
                scores = lists.cosines(lists.by_vertex_mean(stream, pairs))
                found[layer, None, "hidden states"] = lists.strongest_scores(scores, pairs, k)
        return {name: pair for name, pair in found.items() if len(pair[0])}


def is_rarer(view: str) -> bool:
    """Tell whether pairs of a view are compared with pairs whose rarer gene is as rare."""
    return parts_of(view)[0] not in _OF_ALL_CELLS


def _half(blocks: Blocks, half: int) -> Blocks:
    """Return a reader of the size of one half's values."""
    return lambda: ((rows, np.abs(values[half])) for rows, values in blocks())
