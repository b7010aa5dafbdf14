"""How many genes of each declared set a run uses, and which of them it lacks."""

from __future__ import annotations

import pandas as pd

from octoscope.run_plan.values import COEXPRESSION, Plan

SATURATED = 0.1  # of the pairs: more than so many top pairs are no selection


def gene_set_counts(plan: Plan) -> pd.DataFrame:
    """Return one row per gene set and model.

    Columns: ``gene_set``; ``model``; ``n_declared``; ``n_genes``, those that are summed;
    ``absent``, the names of the others (list of str); ``n_pairs``, ordered pairs of distinct genes.
    A category may have fewer that enough cells express. Then ``top_share``, how much of them
    ``top_k`` is; ``saturated``, whether that is more than a tenth; ``top_k_sound``, the largest K
    that is at most a tenth of them.
    """
    rows = []
    for m in plan.bases:
        if m.family == COEXPRESSION:
            continue
        for name, members in m.gene_sets.items():
            absent = m.gene_sets_absent[name]
            pairs = len(members) * (len(members) - 1)
            share = min(1.0, plan.settings.top_k / pairs)
            rows.append(
                {
                    "gene_set": name,
                    "model": m.name,
                    "n_declared": len(members) + len(absent),
                    "n_genes": len(members),
                    "absent": list(absent),
                    "n_pairs": pairs,
                    "top_share": share,
                    "saturated": share > SATURATED,
                    "top_k_sound": int(SATURATED * pairs),
                }
            )
    return pd.DataFrame(rows)
