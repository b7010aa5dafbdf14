"""Metabolites that link everything: taken out of reactions that only use them as cofactors.

The peer's rules and ChEBI numbers (napistu 0.11, ``modify/constants.py``).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

_CHEBI = {
    "ADP": (456216, 16761), "AMP": (16027,), "ATP": (30616, 15422), "Cl-": (29311,),
    "CO2": (16526,), "CoA": (1146900, 57287), "GDP": (17552,), "GSH": (16856,),
    "GSSG": (17858,), "GTP": (15996,), "HCO3": (17544,), "H+": (15378, 24636),
    "NAD+": (57540, 15846), "NADH": (57945, 16908), "NADP+": (18009, 58349),
    "NADPH": (16474,), "Na+": (29101,), "O2": (15379,), "PO4": (18367,),
    "PPi": (29888, 18361), "SAH": (16680,), "SAM": (15414,), "water": (15377, 16234),
}  # fmt: skip
# All of these take part; none of those; this one is consumed.
_RULES: tuple[tuple[tuple[str, ...], tuple[str, ...], str | None], ...] = (
    (("ATP", "ADP"), ("AMP",), None),
    (("GTP", "GDP"), (), None),
    (("ATP", "AMP"), ("ADP",), None),
    (("NADH", "NAD+"), (), "NADH"),
    (("NADPH", "NADP+"), (), "NADPH"),
    (("SAH", "SAM"), (), None),
    (("GSSG", "GSH"), ("NADPH",), None),
    *(((single,), (), None) for single in
      ("water", "PO4", "PPi", "H+", "O2", "CO2", "Na+", "Cl-", "CoA", "HCO3")),
)  # fmt: skip


def cofactor_rows(
    reaction: np.ndarray, vertex: np.ndarray, stoichiometry: np.ndarray, identifiers: pd.DataFrame
) -> np.ndarray:
    """Return [rows] bool: participants that are only cofactors of their reaction.

    Parameters
    ----------
    reaction, vertex, stoichiometry
        [rows] participants; rows of stoichiometry 0 (catalysts, modifiers) are never removed.
    identifiers
        vertex, ontology, identifier, bqb.
    """
    labels = _labels(identifiers)
    counted = np.flatnonzero(stoichiometry != 0)
    rows: dict[int, list[tuple[int, str]]] = {}
    for i in counted:
        for label in labels.get(int(vertex[i]), ()):
            rows.setdefault(int(reaction[i]), []).append((int(i), label))
    out = np.zeros(len(reaction), bool)
    for members in rows.values():
        present = {label for _, label in members}
        consumed = {label for i, label in members if stoichiometry[i] < 0}
        for needed, barred, substrate in _RULES:
            if not present.issuperset(needed) or present.intersection(barred):
                continue
            if substrate is None or substrate in consumed:
                out[[i for i, label in members if label in needed]] = True
    return out


def _labels(identifiers: pd.DataFrame) -> dict[int, tuple[str, ...]]:
    of = {str(number): label for label, numbers in _CHEBI.items() for number in numbers}
    rows = identifiers[(identifiers["ontology"] == "chebi") & (identifiers["bqb"] == "BQB_IS")]
    rows = rows.assign(label=rows["identifier"].map(of)).dropna(subset=["label"])
    of_vertex = rows.groupby("vertex")["label"].unique()
    return {int(str(v)): tuple(labels) for v, labels in of_vertex.items()}
