"""The layer or head that is strongest among one half of the genes, tested on the other half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from octoscope.analysis import statistics
from octoscope.analysis.controlled.comparison import Comparison
from octoscope.analysis.controlled.verdicts import LEAST_EDGES
from octoscope.analysis.tables.controlled_rows import odds

_FAMILY = ["base", "category", "gene_set", "view"]


@dataclass(frozen=True)
class HalfRow:
    """A list among one half of the genes.

    Attributes
    ----------
    label
        base, variant, layer, category, gene_set, view, network_view, control, k.
    half
        0 or 1.
    """

    label: Mapping[str, Any]
    half: int
    comparison: Comparison


def chosen_layers(half_rows: Sequence[HalfRow], columns: Sequence[str]) -> pd.DataFrame:
    """Return a row per checkpoint, category, gene set, view and half that was chosen on.

    Of all variants, heads and layers the one with the largest lower limit of OR1 among one half of
    the genes is taken, and its OR1 among the other half given. Without a defined limit nothing is
    chosen.
    """
    rows = [dict(r.label) | {"half": r.half} | odds(r.comparison) for r in half_rows]
    limit = np.array([r["or1_low"] for r in rows])
    of: dict[tuple[Any, ...], dict[int, list[int]]] = {}
    for i, r in enumerate(rows):
        of.setdefault(tuple(r[c] for c in _FAMILY), {}).setdefault(r["half"], []).append(i)
    out = []
    for halves in of.values():
        for half, at in halves.items():
            known = [i for i in at if not np.isnan(limit[i])]
            if not known:
                continue
            best = rows[max(known, key=lambda i: limit[i])]
            same = (best["variant"], best["layer"])
            (tested,) = (
                i for i in halves[1 - half] if (rows[i]["variant"], rows[i]["layer"]) == same
            )
            row = rows[tested] | {
                "chosen_on": half, "n_candidates": len(at), "or1_chosen": best["or1"],
                "p": half_rows[tested].comparison.p,
            }  # fmt: skip
            out.append(row | {"sentence": _sentence(row)})
    table = pd.DataFrame(out, columns=list(columns))
    table["q"] = statistics.adjust_by(table, ["gene_set"]) if out else np.zeros(0)
    return table


def _sentence(r: Mapping[str, Any]) -> str:
    start = (
        f"{r['base']}, {r['category']}: of {r['n_candidates']} layers and heads, "
        f"{r['variant']} layer {r['layer']} is the strongest among half {r['chosen_on']} of the "
        f"genes (odds ratio {r['or1_chosen']:.2f} at like co-expression)"
    )
    if np.isnan(r["or1_low"]) or r["n_edges"] < LEAST_EDGES:
        few = f"too few edges to test it ({r['n_edges']})"
        return f"{start}; among the other half there are {few}."
    return (
        f"{start}; among the other half it has {r['or1']:.2f} "
        f"({r['or1_low']:.2f} to {r['or1_high']:.2f})."
    )
