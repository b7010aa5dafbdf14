"""The two published token recipes of scGPT.

``embed_data``: raw counts of expressed vocabulary genes in atlas order, ``<cls>`` first, binned,
a random subset where there are more than ``max_length``. ``preprocessor``: the tutorial scripts'
gene filter, depth scaling, log1p and binning, zero genes kept or dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from octoscope.jit import compiled
from octoscope.models.cell_groups import CellGroups
from octoscope.models.ragged import padded
from octoscope.models.randomness import CellGenerators

Uniforms = Callable[[int], np.ndarray]


class ScGPTOptions(BaseModel):
    """Settings of scGPT's preprocessing, under their published names.

    ``batch``: which batch's statistics a checkpoint with ``dsbn.`` uses, numbered as in training;
    or a column of obs with the number of each value (``{column: donor, values: {d1: 0}}``).
    ``padded_table``: the embedding has more rows than the vocabulary, and they are padding.
    ``base``: folder with the ``args.json`` or ``vocab.json`` that a fine-tuned checkpoint lacks.
    ``pert_encoder``: of a perturbation model; ``unperturbed`` adds the flag 0 to every token, as
    the model does (null stands for it), ``unread`` leaves it out, as the authors' tutorial does.
    ``n_heads``: heads of attention, where ``args.json`` is wrong or cannot be confirmed.
    ``ignored_weights``: beginnings of weights that are heads on the encoder's output.
    """

    model_config = ConfigDict(extra="forbid")

    recipe: Literal["embed_data", "preprocessor"] = "embed_data"
    n_bins: int = 51
    max_length: int = 1200
    pad_value: float = -2.0
    binning_seed: int | None = None
    sampling_seed: int | None = None
    batch: Annotated[int, Field(ge=0, strict=True)] | CellGroups | None = None
    padded_table: bool = False
    base: str | None = None
    pert_encoder: Literal["unperturbed", "unread"] | None = None
    n_heads: int | None = Field(None, ge=1)
    ignored_weights: list[str] = []
    # Recipe "preprocessor" only:
    filter_gene_by_counts: int = 3
    normalize_total: float = 1e4
    log1p: bool = True
    include_zero_gene: bool = False
    context_genes: list[str] | None = None


def bin_cells(
    values: np.ndarray, indptr: np.ndarray, n_bins: int, uniforms: np.ndarray
) -> np.ndarray:
    """Bin the expressed values of each cell into 1..n_bins-1.

    edges = quantiles at linspace(0, 1, n_bins-1); with l = digitize(x, edges) and
    r = digitize(x, edges, right=True) the bin is ceil(u (r - l) + l), one uniform per value. A
    value equal to repeated edges falls uniformly among their bins (scgpt 0.2.4,
    ``preprocess.binning``).

    Parameters
    ----------
    values
        Positive, of one cell after the other.
    indptr
        [cells + 1], where cells begin and end.
    uniforms
        A number in [0, 1) for each value.

    Returns
    -------
    ndarray
        [values] float32.
    """
    edges = _quantiles(values, indptr, np.linspace(0, 1, n_bins - 1))
    return _bins(values.astype(np.float64), indptr, edges, uniforms)


def _quantiles(values: np.ndarray, indptr: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return [cells, quantiles] float64, bit for bit what ``np.quantile`` gives for each cell."""
    lengths = np.diff(indptr)
    cells = np.arange(len(lengths))[:, None]
    above = values.max(initial=0)  # padding comes last
    shape = (len(lengths), max(1, int(lengths.max(initial=0))))
    ordered = padded(values, indptr, shape, above, values.dtype.type)
    ordered.sort(axis=1)
    last = np.maximum(lengths - 1, 0)[:, None]
    at = last * q
    before = np.minimum(np.floor(at).astype(np.int64), last)
    share = np.where(before < last, at - before, 0.0)
    a, b = ordered[cells, before], ordered[cells, np.minimum(before + 1, last)]
    rise = b - a
    return np.where(share < 0.5, a + rise * share, b - rise * (1 - share))


@compiled()
def _bins(
    values: np.ndarray, indptr: np.ndarray, edges: np.ndarray, uniforms: np.ndarray
) -> np.ndarray:
    out = np.empty(len(values), np.float32)
    n = edges.shape[1]
    distinct, begins = np.empty(n), np.empty(n + 1, np.int64)
    for c in range(len(edges)):
        m = 0
        for k in range(n):
            if m == 0 or edges[c, k] > distinct[m - 1]:
                distinct[m], begins[m] = edges[c, k], k
                m += 1
        begins[m] = n
        for i in range(indptr[c], indptr[c + 1]):
            x = values[i]
            at, size = 0, m
            while size > 0:
                half = size >> 1
                if distinct[at + half] < x:
                    at += half + 1
                    size -= half + 1
                else:
                    size = half
            right = begins[at]  # edges below x
            left = begins[at + 1] if at < m and distinct[at] == x else right  # and at x
            out[i] = np.ceil(uniforms[i] * (right - left) + left)
    return out


class CellRandomness:
    """Binning and subsampling numbers of each cell, from a counter-based stream."""

    def __init__(self, binning_seed: int, sampling_seed: int) -> None:
        self._binning = CellGenerators(binning_seed, "scgpt/binning")
        self._sampling = CellGenerators(sampling_seed, "scgpt/sampling")

    def cell(self, cell_id: str) -> tuple[Uniforms, Callable[[int], np.ndarray]]:
        """Return (uniforms, permutation) of one cell, each to be called once, before the next."""

        def permutation(n: int) -> np.ndarray:
            return self._sampling.of(cell_id).permutation(n)

        return self._binning.of(cell_id).random, permutation


class UpstreamRandomness:
    """The authors' sequential streams: numpy's RandomState and torch's generator, cell by cell."""

    def __init__(self, binning_seed: int, sampling_seed: int) -> None:
        self._binning = np.random.RandomState(binning_seed)
        self._sampling = torch.Generator().manual_seed(sampling_seed)

    def cell(self, cell_id: str) -> tuple[Uniforms, Callable[[int], np.ndarray]]:
        """Return (uniforms, permutation); both advance with every cell."""

        def permutation(n: int) -> np.ndarray:
            return torch.randperm(n, generator=self._sampling).numpy()

        return self._binning.rand, permutation


def choose_tokens(
    n: int, room: int, permutation: Callable[[int], np.ndarray], *, keep_order: bool
) -> np.ndarray:
    """Return which of ``n`` gene tokens stay when only ``room`` fit.

    The order of the kept tokens does not enter the model; ``keep_order`` sorts them, the authors'
    stream leaves them in random order.
    """
    if n <= room:
        return np.arange(n)
    chosen = np.asarray(permutation(n)[:room])
    return np.sort(chosen) if keep_order else chosen
