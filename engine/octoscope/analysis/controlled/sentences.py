"""A verdict in words, with its numbers, its controls and what would overturn it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from octoscope.analysis.controlled.verdict_names import BEYOND, CANNOT_TELL, NO_MORE, NOT_ENRICHED


def sentence(row: Mapping[str, Any]) -> str:
    """Return the verdict of a row of ``overlap_controlled`` in plain English."""
    start = f"{row['model']}, layer {row['layer']}, {row['category']}: {row['verdict']}"
    n = f"{row['n_edges']:,} of the {row['n_pairs']:,} strongest pairs are network edges"
    n += f" ({row['network_view']})"
    if row["verdict"] == CANNOT_TELL:
        return f"{start}, because {row['reason'] or 'the numbers are undefined'}. {n}."
    before = f"odds ratio {_range(row, 'or0')} at like degree and expression"
    after = f"{_range(row, 'or1')} at like co-expression too ({row['control']})"
    if row["verdict"] == NOT_ENRICHED:
        return f"{start}. {n}: {before}."
    if row["verdict"] == NO_MORE:
        return f"{start}. {n}: {before}, {after}."
    assert row["verdict"] == BEYOND
    return (
        f"{start}. {n}: {before}, {after}; error in co-expression can leave "
        f"{row['bound']:.2f}, and corrected for it the odds ratio is "
        f"{_range(row, 'or1_corrected')}. A missing control could explain it only with odds ratios "
        f"of {row['e_value']:.2f} with both the list and the edges."
    )


def _range(row: Mapping[str, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if np.isnan(low):
        return f"{row[name]:.2f}"
    return f"{row[name]:.2f} ({low:.2f} to {high:.2f})"
