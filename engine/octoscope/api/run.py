"""A finished run for notebooks: top pairs, matrices, tables, and what it says of one gene."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from octoscope.analysis.controlled import verdict_names
from octoscope.api.choose import one_of, positions_of
from octoscope.api.matrix import Matrix
from octoscope.api.opened_run import some_numbers
from octoscope.api.run_outputs import RunOutputs
from octoscope.errors import InputError
from octoscope.extras import extras_needed
from octoscope.results.run_results import Results
from octoscope.results.selections import agreement_rows
from octoscope.results.verdict_tables import verdicts

VERDICTS: tuple[str, ...] = verdict_names.VERDICTS  # the four of ``Run.verdict``, in their order


class Run(RunOutputs):
    """A finished run. Tables and matrices are read when they are first asked for.

    Examples
    --------
    >>> run = oc.open_run(RUN)
    >>> run.topk(model="tiny", category="T cell", layer=2, view="logit", k=5).shape[0]
    5
    """

    def topk(
        self,
        *,
        model: str,
        category: str | None = None,
        layer: int | None = None,
        view: str | None = None,
        gene_set: str | None = None,
        k: int | None = None,
        part: str = "total",
    ) -> pd.DataFrame:
        """Return top pairs, strongest first.

        Parameters
        ----------
        model
            One of ``models``.
        category, layer
            None: all of them.
        view, gene_set
            As declared in the configuration; None: the first of the model.
        k
            Pairs per matrix; ties at the k-th value are all returned. None: all that were stored.
        part
            ``total`` (all cells), ``half0`` or ``half1``.

        Returns
        -------
        DataFrame
            Columns of ``topk/<model>``, see docs/reference/tables.md.

        Raises
        ------
        InputError
            If a name is not in this run; it names the nearest one.

        Examples
        --------
        >>> run = oc.open_run(RUN)
        >>> top = run.topk(model="tiny", category="T cell", layer=2, view="logit", k=5)
        >>> top[["query_symbol", "key_symbol", "rank"]].shape
        (5, 3)
        """
        m = self._model(model)
        view = one_of("view", view or m.views[0], m.views)
        gene_set = one_of("gene_set", gene_set or next(iter(m.gene_sets)), list(m.gene_sets))
        top = self.tables[f"topk/{model}"]
        keep = (
            (top["view"] == view)
            & (top["gene_set"] == gene_set)
            & (top["part"] == one_of("part", part, ["total", "half0", "half1"]))
        )
        if category is not None:
            keep &= top["category"] == one_of("category", category, self.categories)
        if layer is not None:
            keep &= top["layer"] == self._layer(m, layer)
        if k is not None:
            if k > self.plan.top_k:
                raise InputError(
                    "k", f"{k}, but the run stored {self.plan.top_k} pairs a matrix (top_k)",
                    "ask for fewer, or run again with a larger top_k",
                )  # fmt: skip
            keep &= top["rank"] <= k
        return top[keep].reset_index(drop=True)

    def matrix(
        self, model: str, category: str, *, layer: int | None = None, view: str | None = None
    ) -> Matrix:
        """Return a matrix, which is read when its values are asked for.

        Parameters
        ----------
        layer
            None: the only layer (co-expression has one).
        view
            None: the first declared view.

        Raises
        ------
        InputError
            If the run did not keep its matrices (``keep_dense: fp32``), or a name is not in it.

        Examples
        --------
        >>> matrix = oc.open_run(RUN).matrix("tiny", "T cell", layer=2, view="logit")
        >>> matrix.to_frame(["LYZ", "CD3G"]).shape
        (2, 2)
        >>> matrix.centred().absolute().view
        'logit.centred.absolute'
        """
        m = self._model(model)
        category = one_of("category", category, self.categories)
        if layer is None and len(m.layers) > 1:
            raise InputError("layer", "is missing", some_numbers(m.layers))
        number = m.layers[0] if layer is None else self._layer(m, layer)
        matrix = Matrix(self._matrices, model, category, number, m.views[0])
        return matrix if view is None else matrix.with_view(view)

    def verdict(self, *, model: str | None = None, category: str | None = None) -> pd.DataFrame:
        """Return for every layer whether attention is more than co-expression.

        ``model``, ``category``: None for all of them.

        Returns
        -------
        DataFrame
            One row per attention variant, category and layer: ``verdict`` (one of four),
            ``reason``, ``sentence`` and the numbers of ``tables/verdicts``; without a network or
            co-expression every one is ``cannot tell``.

        Examples
        --------
        >>> rows = oc.open_run(RUN).verdict(category="T cell")
        >>> set(rows["verdict"])
        {'cannot tell'}
        """
        rows = verdicts(self.results)
        for column, value in (("model", model), ("category", category)):
            if value is not None:
                known = list(rows[column].unique())
                rows = rows[rows[column] == one_of(column, value, known)]
        return rows.reset_index(drop=True)

    def gnn(
        self, *, checkpoint: str | None = None, message_passing: str | None = None
    ) -> pd.DataFrame:
        """Return how graph neural networks score the top pairs: rows of ``tables/gnn_scores``.

        Parameters
        ----------
        checkpoint, message_passing
            A name of ``network.gnn``; ``all``, ``train`` or ``leave-out``. None: all of them.

        Raises
        ------
        InputError
            If the run had no such network, or a name is not in it.

        Examples
        --------
        >>> "gnn_scores" in oc.open_run(RUN).tables  # this run named none
        False
        """
        if "gnn_scores" not in self.tables:
            raise InputError("network.gnn", "the run has none", "name one and run again")
        rows = self.tables["gnn_scores"]
        criteria = {"checkpoint": checkpoint, "message_passing": message_passing}
        for column, value in criteria.items():
            if value is not None:
                known = list(rows[column].unique())
                rows = rows[rows[column] == one_of(column, value, known)]
        return rows.reset_index(drop=True)

    def agreement(
        self,
        between: Literal["layers", "models"],
        *,
        model: str | None = None,
        gene_set: str | None = None,
        view: str | None = None,
        k: int | None = None,
        category: str | None = None,
    ) -> pd.DataFrame:
        """Return how the strongest pairs of one matrix rank in another.

        Parameters
        ----------
        between
            ``layers`` of each model, or ``models`` with each other.
        model
            With ``layers``: one model; None: all.
        gene_set, view
            None: the first that was compared.
        k
            One of ``compare.k``; None: the largest.
        category
            None: the medians over all categories.

        Returns
        -------
        DataFrame
            Rows of ``tables/agreement``, or without a category of ``tables/agreement_categories``.

        Raises
        ------
        InputError
            If the run compared nothing, or not this.
        """
        return agreement_rows(
            self.results, between, model=model, gene_set=gene_set, view=view, k=k,
            category=category,
        )  # fmt: skip

    @extras_needed()
    def compare(self, other: Run) -> pd.DataFrame:
        """Compare the matrices that two runs have in common; both must have kept them.

        Returns
        -------
        DataFrame
            One row per matrix and direction (``query_run``, ``eval_run``: 0 is this run), with the
            columns of an agreement; see ``.two_run_tables.compare_runs``.

        Raises
        ------
        InputError
            If they share no matrix, or one did not keep its matrices.

        Examples
        --------
        >>> run = oc.open_run(RUN)
        >>> compared = run.compare(run)  # a run agrees with itself
        >>> bool((compared["median_quantile"] < 0.5).all())
        True
        """
        from octoscope.analysis.tables.two_run_tables import compare_runs

        return compare_runs(self._matrices, other._matrices)

    @extras_needed()
    def pool(
        self, categories: Sequence[str], *, name: str = "pool", min_cells: int | None = None
    ) -> dict[str, pd.DataFrame]:
        """Summarise several categories as one; the run must have kept its matrices.

        Parameters
        ----------
        categories
            At least two.
        name
            Of the pool in the tables.
        min_cells
            Cells that a pair needs; None: as the configuration of the run says.

        Returns
        -------
        dict
            Tables by path: ``tables/pools.parquet``, and ``pools/<model>.parquet`` of top pairs.

        Raises
        ------
        InputError
            If a category is not in the run, or the run has no per-cell attention.

        Examples
        --------
        >>> pooled = oc.open_run(RUN).pool(["T cell", "macrophage"], name="both")
        >>> sorted(pooled)
        ['pools/tiny.parquet', 'tables/pools.parquet']
        """
        from octoscope.analysis.tables.pool_tables import pool_finished

        least = min_cells or self.results.config.min_cells
        return pool_finished(self._matrices, name, categories, min_cells=least)

    def gene(self, gene: str, *, view: str | None = None) -> pd.DataFrame:
        """Return every top pair of a gene: what it attends to, and what attends to it.

        Parameters
        ----------
        gene
            Symbol or Ensembl id.
        view
            A declared view; None: the first view of each model.

        Returns
        -------
        DataFrame
            One row per pair: ``model``, ``category``, ``layer``, ``gene_set``, ``view``,
            ``direction`` ("attends to" or "attended to by"), ``partner``, ``partner_symbol``,
            ``value``, ``rank``, ``cells``, and ``in_network`` and ``sources`` of the edge in the
            network that the run used (null: a gene is not in the network, or there is none).

        Raises
        ------
        InputError
            If no model of the run has the gene.

        Examples
        --------
        >>> pairs = oc.open_run(RUN).gene("LYZ")
        >>> sorted(pairs["direction"].unique())
        ['attended to by', 'attends to']
        """
        from octoscope.api.gene_pairs import pairs_of_gene

        return pairs_of_gene(self.plan, self.tables, self.network, self._ensembl(gene), view)

    def _ensembl(self, gene: str) -> str:
        ids = {e: s for m in self.plan.models for e, s in zip(m.axis, m.symbols, strict=True)}
        ensembl = list(ids)
        return ensembl[int(positions_of([gene], ensembl, list(ids.values()))[0])]


def open_run(path: str | Path, *, check: bool = True) -> Run:
    """Open a finished run, after checking its seal.

    ``path``: path or URL of the run directory. ``check``: compare each object with its digest when
    this process first reads it; False: read objects as they are, with a warning that says so.

    Raises
    ------
    InputError
        If it is not a run directory.
    DamagedRunError
        If the run is unfinished, or its manifest does not match the seal; later, if an object that
        is read does not match its digest.

    Examples
    --------
    >>> import octoscope as oc
    >>> run = oc.open_run(RUN)
    >>> run.models, run.categories
    (['tiny'], ['T cell', 'macrophage'])
    >>> run.tables["stats"]["model"].unique().tolist()
    ['tiny']
    """
    return Run(Results.open(path, check=check))
