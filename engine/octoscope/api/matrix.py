"""A gene-by-gene matrix of a run, read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from octoscope.analysis.derived_views import DerivedViews
from octoscope.api.choose import one_of, positions_of
from octoscope.api.display import Shown
from octoscope.config.view_names import ABSOLUTE, CENTRED
from octoscope.extras import extras_needed
from octoscope.results.run_matrices import RunMatrices
from octoscope.run_plan.values import ModelPlan

if TYPE_CHECKING:
    import dask.array as da
    from anndata import AnnData


@dataclass(frozen=True, repr=False)
class Matrix(Shown):
    """One matrix: a model, a category, a layer and a view. Nothing is read before it is needed.

    Rows are query genes, columns are key genes. A pair that too few cells hold is not eligible; its
    value is NaN.

    Attributes
    ----------
    model
        Name of the attention variant or of the co-expression entry.
    category
        Name of the category.
    layer
        Number of the layer.
    view
        ``marginal``, ``conditional``, ``lift`` or ``logit`` (``correlation`` for co-expression),
        with ``.centred`` and ``.absolute`` where asked for.

    Examples
    --------
    >>> matrix = oc.open_run(RUN).matrix("tiny", "T cell", layer=2, view="logit")
    >>> row = matrix.rows("LYZ")
    >>> row.shape == (1, matrix.shape[1])
    True
    >>> matrix.genes.columns.tolist()
    ['gene', 'symbol']
    """

    _run: RunMatrices
    model: str
    category: str
    layer: int
    view: str

    @property
    def _plan(self) -> ModelPlan:
        return self._run.plan.model(self.model)

    @cached_property
    def genes(self) -> pd.DataFrame:
        """Genes of both axes: columns ``gene`` (Ensembl id) and ``symbol``."""
        return pd.DataFrame({"gene": self._plan.axis, "symbol": self._plan.symbols})

    @property
    def shape(self) -> tuple[int, int]:
        """(query genes, key genes)."""
        return len(self._plan.axis), len(self._plan.axis)

    @cached_property
    def _matrix(self) -> DerivedViews:
        names = [c.name for c in self._run.plan.categories]
        return self._run.matrix(self.model, names.index(self.category), self.layer, 0)

    def with_view(self, view: str) -> Matrix:
        """Return the same matrix in another view.

        Raises
        ------
        InputError
            If the view was not declared in the configuration of the run.

        Examples
        --------
        >>> matrix = oc.open_run(RUN).matrix("tiny", "T cell", layer=2, view="logit")
        >>> matrix.with_view("marginal").view
        'marginal'
        """
        declared = list(dict.fromkeys(v.partition(".")[0] for v in self._plan.views))
        one_of("view", view.partition(".")[0], declared)
        return replace(self, view=view)

    def centred(self) -> Matrix:
        """Return it without each gene's row and column effect (least squares, eligible pairs).

        Examples
        --------
        >>> centred = oc.open_run(RUN).matrix("tiny", "T cell", layer=2, view="logit").centred()
        >>> centred.view
        'logit.centred'
        """
        if CENTRED in self.view:
            return self
        plain, absolute = self.view.removesuffix(ABSOLUTE), self.view.endswith(ABSOLUTE)
        return replace(self, view=plain + CENTRED + ABSOLUTE * absolute)

    def absolute(self) -> Matrix:
        """Return the sizes of its values, whatever the sign.

        Examples
        --------
        >>> absolute = oc.open_run(RUN).matrix("tiny", "T cell", layer=2, view="logit").absolute()
        >>> bool(np.nanmin(absolute.to_numpy()) >= 0)
        True
        """
        return self if self.view.endswith(ABSOLUTE) else replace(self, view=self.view + ABSOLUTE)

    def blocks(self, rows: np.ndarray | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first row, values [rows, genes] float32); NaN where a pair is not eligible.

        Parameters
        ----------
        rows
            [rows] positions of rows; only the stored tiles that hold one of them are read, and
            their blocks yielded whole. None: all.

        Examples
        --------
        >>> matrix = oc.open_run(RUN).matrix("tiny", "T cell", layer=2, view="logit")
        >>> [first for first, values in matrix.blocks()]
        [0, 32]
        """
        every = np.arange(self.shape[0])
        for first, values, eligible in self._matrix.values(every, self.view, rows):
            yield first, np.where(eligible, values, np.float32(np.nan))

    @extras_needed()
    def rows(self, genes: Iterable[str] | str) -> pd.DataFrame:
        """Return the rows of query genes.

        Parameters
        ----------
        genes
            Symbols or Ensembl ids.

        Returns
        -------
        DataFrame
            [query genes, key genes] float32, named by symbol where there is one.

        Raises
        ------
        InputError
            If a gene is not on the axis.

        Examples
        --------
        >>> matrix = oc.open_run(RUN).matrix("tiny", "T cell", layer=2, view="logit")
        >>> matrix.rows(["LYZ", "CD3G"]).index.tolist()
        ['LYZ', 'CD3G']
        """
        names = [genes] if isinstance(genes, str) else list(genes)
        at = positions_of(names, self._plan.axis, self._plan.symbols)
        values = np.full((len(at), self.shape[1]), np.nan, np.float32)
        for first, block in self.blocks(at):
            here = (at >= first) & (at < first + len(block))
            values[here] = block[at[here] - first]
        shown = self._names()
        return pd.DataFrame(values, index=shown[at], columns=shown)

    @extras_needed()
    def to_numpy(self) -> np.ndarray:
        """Return [query genes, key genes] float32; NaN where a pair is not eligible.

        Examples
        --------
        >>> matrix = oc.open_run(RUN).matrix("tiny", "T cell", layer=2, view="logit")
        >>> values = matrix.to_numpy()
        >>> values.shape == matrix.shape, values.dtype
        (True, dtype('float32'))
        """
        return np.concatenate([block for _, block in self.blocks()])

    def to_frame(self, genes: Iterable[str] | None = None) -> pd.DataFrame:
        """Return values between genes (symbols or Ensembl ids; None: all), rows are queries.

        Examples
        --------
        >>> matrix = oc.open_run(RUN).matrix("tiny", "T cell", layer=2, view="logit")
        >>> matrix.to_frame(["LYZ", "CD3G"]).columns.tolist()
        ['LYZ', 'CD3G']
        """
        if genes is None:
            names = self._names()
            return pd.DataFrame(self.to_numpy(), index=names, columns=names)
        at = positions_of(list(genes), self._plan.axis, self._plan.symbols)
        frame = self.rows([self._plan.axis[i] for i in at])
        return frame.iloc[:, at]

    @extras_needed()
    def to_dask(self, rows: int = 1024) -> da.Array:
        """Return a Dask array [query genes, key genes] float32, ``rows`` query genes a block.

        Examples
        --------
        >>> lazy = oc.open_run(RUN).matrix("tiny", "T cell", layer=2, view="logit").to_dask(rows=10)
        >>> lazy.chunks[0][0], lazy.dtype
        (10, dtype('float32'))
        """
        import dask.array as da
        from dask.delayed import delayed

        n = self.shape[0]
        parts = [
            da.from_delayed(
                delayed(_rows)(self, first, min(first + rows, n)),
                (min(rows, n - first), n),
                dtype=np.float32,
            )
            for first in range(0, n, rows)
        ]
        return da.concatenate(parts, axis=0)

    @extras_needed()
    def to_anndata(self) -> AnnData:
        """Return an AnnData whose ``X`` is [query genes, key genes] and whose ``uns`` names it.

        Examples
        --------
        >>> data = oc.open_run(RUN).matrix("tiny", "T cell", layer=2, view="logit").to_anndata()
        >>> data.uns["octoscope"]["category"]
        'T cell'
        """
        from anndata import AnnData

        genes = self.genes.set_index("gene")
        about = {"model": self.model, "category": self.category, "layer": self.layer}
        return AnnData(
            self.to_numpy(),
            obs=genes.copy(),
            var=genes.copy(),
            uns={"octoscope": {**about, "view": self.view}},
        )

    def _names(self) -> pd.Index:
        genes = self.genes
        unique = genes["symbol"].ne("") & ~genes["symbol"].duplicated(keep=False)
        return pd.Index(genes["symbol"].where(unique, genes["gene"]), name=None)

    def _entries(self) -> Mapping[str, Any]:
        n = self.shape[0]
        return {
            "model": self.model,
            "category": self.category,
            "layer": self.layer,
            "view": self.view,
            "genes": f"{n:,}",
        }


def _rows(matrix: Matrix, first: int, stop: int) -> np.ndarray:
    blocks = matrix.blocks(np.arange(first, stop))
    return np.concatenate([block[max(first - at, 0) : stop - at] for at, block in blocks])
