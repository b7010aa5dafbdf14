"""Contrasts between categories of each model's top pairs, and the category-specific pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from octoscope.analysis import consensus

CONTRASTS = "tables/contrasts.parquet"
SPECIFIC = "tables/specific.parquet"


def contrasts(
    pairs: tuple[np.ndarray, np.ndarray],
    n_genes: int,
    models: Sequence[str],
    categories: Sequence[str],
    quantiles: np.ndarray,
    in_top_k: np.ndarray,
    label: Mapping[str, str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare the top pairs of every model and category with the other categories.

    Parameters
    ----------
    pairs
        (query, key), [pairs] each.
    quantiles, in_top_k
        [models, categories, parts (all cells, half 0, half 1), pairs]: the quantile of a pair, NaN
        where not eligible, and whether it is among the top pairs.
    label
        Columns of one value for both tables.

    Returns
    -------
    summary
        A row per model and category; see :func:`octoscope.analysis.consensus.contrast_test`.
    specific
        A row per model, category and top pair: quantile, contrast, contrast_half0, contrast_half1,
        noise (see :func:`~octoscope.analysis.consensus.contrast_noise`), closest_category (where
        it is strongest elsewhere; null where it is eligible nowhere else) and specific: contrast
        above the category's noise in both halves; null where a contrast is not known.
    """
    rows, listed = [], []
    for m, model in enumerate(models):
        results = [consensus.specificity(quantiles[m, :, part]) for part in range(3)]
        total, *halves = (contrast for contrast, _ in results)
        for c, name in enumerate(categories):
            top = np.flatnonzero(in_top_k[m, c, 0])
            both = np.stack([half[c, top] for half in halves])
            query, key = (end[top] for end in pairs)
            row = consensus.contrast_test(total[c, top], both, query, key, n_genes)
            named = {"model": model, "category": name, **label}
            rows.append(named | row)
            known = ~np.isnan(both).any(0) & ~np.isnan(total[c, top]) & (row["noise_high"] >= 0)
            above = np.asarray((both > row["noise_high"]).all(0))
            frame = {
                "query": query,
                "key": key,
                "quantile": quantiles[m, c, 0, top],
                "contrast": total[c, top],
                "contrast_half0": both[0],
                "contrast_half1": both[1],
                "noise": consensus.contrast_noise(both),
                "closest_category": closest_categories(results[0][1][c, top], categories),
                "specific": pd.arrays.BooleanArray(above, ~known),
            }
            ends = pd.DataFrame(named, index=range(len(top)))
            order = np.argsort(-np.nan_to_num(total[c, top], nan=-np.inf), kind="stable")
            ordered = pd.DataFrame(frame).iloc[order].reset_index(drop=True)
            listed.append(pd.concat([ends, ordered], axis=1))
    return pd.DataFrame(rows), pd.concat(listed, ignore_index=True)


# Columns of the consensus and its contrasts that are of halves of the cells.
_OF_HALVES = (
    "score_half0", "score_half1", "n_groups_half0", "n_groups_half1", "n_pairs", "n_specific",
    "n_by_chance",
)  # fmt: skip


def without_halves(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of a run whose halves are not known: what is of them is null, not 0."""
    unknown = {name: table[name].dtype.kind for name in _OF_HALVES if name in table}
    return table.assign(
        **{
            name: pd.Series(np.nan if kind == "f" else pd.NA, table.index).astype(
                table[name].dtype if kind == "f" else "Int64"
            )
            for name, kind in unknown.items()
        }
    )


def closest_categories(closest_category: np.ndarray, names: Sequence[str]) -> Any:
    """Return categories by name, a pandas string array: null for none (-1)."""
    return pd.array(np.array([*names, None], dtype=object)[closest_category], dtype="string")
