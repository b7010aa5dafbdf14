"""Settings of a model that depend on all selected cells: joins an atlas and a model."""

from __future__ import annotations

from typing import Any

import numpy as np

from octoscope.atlas import Atlas
from octoscope.models import FoundationModel, GeneMatch, GeneStatistics

_BATCH = 1024


def fixed_options(
    model: FoundationModel, match: GeneMatch, atlas: Atlas, categories: list[np.ndarray]
) -> dict[str, Any]:
    """Return the options that a family fixes over the whole data set.

    Parameters
    ----------
    categories
        Row indices of the selected cells, one array per category. Read only if the family asks.
    """
    extra = model.dataset_options(None, match)
    if extra is None:
        extra = model.dataset_options(gene_statistics(atlas, categories), match)
    return extra or {}


def gene_statistics(atlas: Atlas, categories: list[np.ndarray]) -> GeneStatistics:
    """Stream the cells once; means and variances are merged by Chan's rule, in float64."""
    n = len(atlas.genes)
    total = np.zeros(n)
    mean, m2 = np.zeros((len(categories), n)), np.zeros((len(categories), n))
    cells = np.zeros(len(categories), np.int64)
    for c, rows in enumerate(categories):
        for batch in atlas.stream(rows, _BATCH):
            counts = batch.counts.astype(np.float64)
            total += np.asarray(counts.sum(axis=0)).ravel()
            depth = np.asarray(counts.sum(axis=1)).ravel()
            scaled = counts.multiply(1e4 / np.maximum(depth, 1.0)[:, None]).tocsr()
            scaled.data = np.log1p(scaled.data)
            k = scaled.shape[0]
            here = np.asarray(scaled.mean(axis=0)).ravel()
            # sum (x - mean)^2 with the zeros: sum over stored values, then the rest at mean^2
            stored = scaled.copy()
            stored.data = (stored.data - here[stored.indices]) ** 2
            zeros = k - np.bincount(scaled.indices, minlength=n)
            spread = np.asarray(stored.sum(axis=0)).ravel() + zeros * here**2
            gap, joined = here - mean[c], cells[c] + k
            m2[c] += spread + gap**2 * cells[c] * k / joined
            mean[c] += gap * k / joined
            cells[c] = joined
    return GeneStatistics(cells, total, mean, m2 / np.maximum(cells, 1)[:, None])
