"""The two published token recipes of scGPT.

``embed_data``: raw counts of expressed vocabulary genes in atlas order, ``<cls>`` first, binned,
a random subset where there are more than ``max_length``. ``preprocessor``: the tutorial scripts'
gene filter, depth scaling, log1p and binning, zero genes kept or dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from engine.models.randomness import cell_generator

Uniforms = Callable[[int], np.ndarray]


class ScGPTOptions(BaseModel):
    """Settings of scGPT's preprocessing, under their published names."""

    model_config = ConfigDict(extra="forbid")

    recipe: Literal["embed_data", "preprocessor"] = "embed_data"
    n_bins: int = 51
    max_length: int = 1200
    pad_value: float = -2.0
    binning_seed: int | None = None
    sampling_seed: int | None = None
    # Recipe "preprocessor" only:
    filter_gene_by_counts: int = 3
    normalize_total: float = 1e4
    log1p: bool = True
    include_zero_gene: bool = False
    context_genes: list[str] | None = None


def bin_values(values: np.ndarray, n_bins: int, uniforms: Uniforms) -> np.ndarray:
    """Bin the expressed values of one cell into 1..n_bins-1.

    edges = quantiles at linspace(0, 1, n_bins-1); with l = digitize(x, edges) and
    r = digitize(x, edges, right=True) the bin is ceil(u (r - l) + l), one uniform per value: a
    value equal to repeated edges falls uniformly among their bins (scgpt 0.2.4,
    ``preprocess.binning``).

    Parameters
    ----------
    values
        [genes], all positive.
    uniforms
        Returns that many numbers in [0, 1).

    Returns
    -------
    ndarray
        [genes] float32.
    """
    if not len(values):
        return np.zeros(0, np.float32)
    edges = np.quantile(values, np.linspace(0, 1, n_bins - 1))
    left = np.digitize(values, edges)
    right = np.digitize(values, edges, right=True)
    return np.ceil(uniforms(len(values)) * (right - left) + left).astype(np.float32)


class CellRandomness:
    """Binning and subsampling numbers of each cell, from a counter-based stream."""

    def __init__(self, binning_seed: int, sampling_seed: int) -> None:
        self._binning_seed, self._sampling_seed = binning_seed, sampling_seed

    def cell(self, cell_id: str) -> tuple[Uniforms, Callable[[int], np.ndarray]]:
        """Return (uniforms, permutation) of one cell."""
        binning = cell_generator(self._binning_seed, "scgpt/binning", cell_id)
        sampling = cell_generator(self._sampling_seed, "scgpt/sampling", cell_id)
        return binning.random, sampling.permutation


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
