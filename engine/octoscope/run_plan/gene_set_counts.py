"""How many genes of each declared set a run uses, and which of them it lacks."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import pandas as pd

from octoscope.run_plan.values import COEXPRESSION, Plan

_SATURATED = 0.1  # of the pairs: above it, lists of any two matrices overlap by chance alone


def gene_set_counts(plan: Plan) -> pd.DataFrame:
    """Return one row per gene set and model.

    Columns: ``gene_set``; ``model``; ``n_declared``; ``n_genes``, those that are summed;
    ``absent``, the names of the others (list of str); ``n_pairs``, ordered pairs of distinct genes,
    of which a category may have fewer that enough cells express; ``top_share``, how much of them
    ``top_k`` is; ``top_k_sound``, the largest K that is at most a tenth of them.
    """
    rows = []
    for m in plan.bases:
        if m.family == COEXPRESSION:
            continue
        for name, members in m.gene_sets.items():
            absent = m.gene_sets_absent[name]
            pairs = len(members) * (len(members) - 1)
            rows.append(
                {
                    "gene_set": name,
                    "model": m.name,
                    "n_declared": len(members) + len(absent),
                    "n_genes": len(members),
                    "absent": list(absent),
                    "n_pairs": pairs,
                    "top_share": min(1.0, plan.settings.top_k / pairs),
                    "top_k_sound": int(_SATURATED * pairs),
                }
            )
    return pd.DataFrame(rows)


def gene_set_sentences(plan: Plan, names: int = 5) -> list[str]:
    """Return what of declared sets is not used, and which lists hold most of what can be ranked."""
    rows = gene_set_counts(plan).to_dict("records")
    top_k = plan.settings.top_k
    said = [
        f"gene set {row['gene_set']}, {row['model']}: {row['n_genes']} of {row['n_declared']} "
        f"genes; not in the atlas, the model or `accumulate`: {_some(row['absent'], names)}"
        for row in rows
        if row["absent"]
    ]
    fewest: dict[str, dict[Hashable, Any]] = {}
    for row in sorted(rows, key=lambda row: -int(row["n_pairs"])):
        if row["top_share"] > _SATURATED:
            fewest[row["gene_set"]] = row
    said += [
        f"gene set {name}: top_k {top_k:,} is {row['top_share']:.0%} of its {row['n_pairs']:,} "
        f"pairs in {row['model']}: any two such lists share pairs; top_k up to "
        f"{row['top_k_sound']:,} is a tenth"
        for name, row in fewest.items()
    ]
    return said


def _some(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
