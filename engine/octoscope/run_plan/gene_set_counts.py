"""How many genes of each declared set a run uses, and which of them it lacks."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from octoscope.run_plan.values import COEXPRESSION, Plan

_SATURATED = 0.1  # of the pairs: above it, lists of any two matrices overlap by chance alone


def gene_set_counts(plan: Plan) -> pd.DataFrame:
    """Return one row per gene set and model.

    Columns: ``gene_set``; ``model``; ``n_declared``; ``n_genes``, those that are summed; ``absent``,
    the names of the others (list of str); ``n_pairs``, ordered pairs of distinct genes, of which a
    category may have fewer that enough cells express; ``top_share``, how much of them ``top_k`` is;
    ``top_k_sound``, the largest K that is at most a tenth of them.
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
    counts = gene_set_counts(plan)
    said = []
    for row in counts[counts["absent"].str.len() > 0].itertuples(index=False):
        said.append(
            f"gene set {row.gene_set}, {row.model}: {row.n_genes} of {row.n_declared} genes; "
            f"not in the atlas, the model or `accumulate`: {_some(row.absent, names)}"
        )
    for name, part in counts[counts["top_share"] > _SATURATED].groupby("gene_set", sort=False):
        worst = part.loc[part["n_pairs"].idxmin()]
        said.append(
            f"gene set {name}: top_k {plan.settings.top_k:,} is {worst['top_share']:.0%} of its "
            f"{worst['n_pairs']:,} pairs in {worst['model']}: any two such lists share pairs; "
            f"top_k up to {worst['top_k_sound']:,} is a tenth"
        )
    return said


def _some(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
