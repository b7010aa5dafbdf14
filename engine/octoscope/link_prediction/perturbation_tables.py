"""Reads what a perturbed gene does to others: Harmonizome's edge lists, long tables and h5ad.

Written for ``gene_attribute_edges.txt.gz`` of Harmonizome, as its Replogle sets (``Gene
Perturbation ID`` ends in an Ensembl id; knock-down) and PerturbAtlas (``Perturbation`` is
``prefix_id_type_symbol_study``) have it, for tables with a row per perturbed gene and target, and
for h5ad (:mod:`octoscope.link_prediction.perturbation_h5ad`).
An effect becomes that of more of the regulator: knock-downs and knock-outs are turned.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from octoscope.errors import InputError, reads
from octoscope.link_prediction.p_value_tables import p_values_of
from octoscope.link_prediction.perturbation_h5ad import read_h5ad
from octoscope.octopus.pair_files import read_pairs

TURNED = {"OE": 1, "CRISPRA": 1, "KD": -1, "KO": -1, "CRISPRI": -1}
_NO_DOSE = ("KI", "MUT")  # neither more nor less of the regulator
_NAMES = {
    "perturbed": ("perturbed", "perturbation", "regulator", "perturbed_gene", "perturbed_symbol"),
    "target": ("target", "gene", "target_gene", "target_symbol", "gene_name"),
    "effect": ("effect", "log2fc", "logfc", "log2foldchange", "lfc", "coefficient", "zscore", "z"),
    "p": ("padj", "p_adj", "fdr", "qvalue", "adj_p", "p", "pvalue", "p_value", "pval"),
    "type": ("type", "perturbation_type"),
    "study": ("study", "dataset", "cell_line", "perturbation_study"),
}
_DRUGS = ("drug", "compound", "chemical", "small molecule", "dose", "smiles", "moa")
_FIX = "give a table of perturbed genes: perturbed, target, effect; see docs/gnn.md"


@dataclass(frozen=True)
class Perturbations:
    """Effects of more of a gene on others.

    Attributes
    ----------
    frame
        perturbed, target (names), effect (float64, not 0), p (NaN without), studies (number); a row
        per pair. The effect is the mean over studies.
    account
        Numbers of rows that were read and left out, by reason.
    """

    frame: pd.DataFrame
    account: dict[str, int]


@reads(_FIX)
def read_perturbations(
    path: str | Path, kind: str = "KD", max_p: float | None = None,
    p_values: str | Path | None = None,
) -> Perturbations:  # fmt: skip
    """Read a table of perturbations, or an h5ad file.

    Parameters
    ----------
    kind
        Of the perturbations of a table that does not say it: one of OE, CRISPRA, KD, KO, CRISPRI.
    max_p
        Only pairs with a p value of at most this are kept.
    p_values
        Table of p values of targets x perturbed genes, which count instead of the file's own.

    Raises
    ------
    InputError
        If the file cannot be read, is of a drug screen, lacks a column, has no p values where
        ``max_p`` asks for them, or no row is left.
    """
    if kind.upper() not in TURNED:
        raise InputError("type", f"is {kind!r}", f"it is one of {', '.join(TURNED)}")
    if p_values is not None and max_p is None:
        raise InputError("p values", "are of no use alone", "say the largest p that counts")
    rows = _rows(Path(path))
    rows = rows.assign(type=rows["type"].fillna(kind).astype(str).str.upper())
    drugs = rows["type"].isin(["DRUG", "COMPOUND", "CHEMICAL"])
    if drugs.any():
        raise _no_regulator(str(path), f"type {rows.loc[drugs, 'type'].iloc[0]}")
    unknown = sorted(set(rows["type"]) - {*TURNED, *_NO_DOSE})
    if unknown:
        raise InputError(f"{path}: type", f"{unknown[0]!r} is unknown",
                         f"types are {', '.join((*TURNED, *_NO_DOSE))}")  # fmt: skip
    account = {"read": len(rows)}
    dose = rows["type"].isin(TURNED)
    effect = pd.to_numeric(rows["effect"], errors="coerce") * rows["type"].map(TURNED)
    known = rows["perturbed"].notna() & rows["target"].notna() & effect.abs().gt(0)
    itself = rows["perturbed"] == rows["target"]  # measures the perturbation
    finite = np.isfinite(effect.fillna(np.inf))
    kept = dose & known & finite & ~itself
    account |= {"no dose": int((~dose).sum()), "no effect or name": int((dose & ~known).sum()),
                "itself": int((dose & known & itself).sum())}  # fmt: skip
    rows = rows.assign(effect=effect, p=pd.to_numeric(rows["p"], errors="coerce"))[kept]
    of_study = rows.groupby(["perturbed", "target", "study"], as_index=False, dropna=False).agg(
        effect=("effect", "mean"), p=("p", "min")
    )
    frame = of_study.groupby(["perturbed", "target"], as_index=False).agg(
        effect=("effect", "mean"), p=("p", "min"), studies=("study", "size")
    )
    frame = frame[frame["effect"] != 0].reset_index(drop=True)
    if max_p is not None:
        if p_values is not None:
            frame["p"] = p_values_of(p_values, frame)
        if not frame["p"].notna().any():
            raise InputError(str(path), "has no p values", "name the column padj, or give p values")
        above = ~(frame["p"] <= max_p)
        account["p above, or none"] = int(above.sum())
        frame = frame[~above].reset_index(drop=True)
    if not len(frame):
        raise InputError(str(path), f"no row is left of {account['read']:,}", _FIX)
    return Perturbations(frame, account | {"pairs": len(frame)})


def _rows(path: Path) -> pd.DataFrame:
    """Return perturbed, target, effect, p, type, study as the file has them."""
    if path.suffix.lower() == ".h5ad":
        _refuse_drugs(pd.DataFrame(), str(path))
        return read_h5ad(path)
    raw = read_pairs(path, ())
    _refuse_drugs(raw, str(path))
    return _harmonizome(raw, str(path)) if "Standardized Value" in raw else _long(raw, str(path))


def _no_regulator(path: str, what: str) -> InputError:
    return InputError(path, f"is a drug screen ({what}): a drug is no regulator of the network",
                      "give perturbed genes")  # fmt: skip


def _refuse_drugs(raw: pd.DataFrame, path: str) -> None:
    for column in map(str, raw.columns):
        if any(word in column.lower() for word in _DRUGS):
            raise _no_regulator(path, f"column {column!r}")
    if "tahoe" in Path(path).name.lower() or "lincs" in Path(path).name.lower():
        raise _no_regulator(path, "its name")


def _harmonizome(raw: pd.DataFrame, path: str) -> pd.DataFrame:
    if "Gene" not in raw:
        raise InputError(path, "no column 'Gene'", "give gene_attribute_edges.txt.gz")
    if "Gene Perturbation ID" in raw:
        ids = raw["Gene Perturbation ID"].astype(str)
        ensembl = ids.str.extract(r"(ENS[A-Z]*G\d+)$", expand=False)
        symbol = ids.str.extract(r"^\d+_([^_]+)_", expand=False)
        rows = {"perturbed": ensembl.fillna(symbol), "type": "KD", "study": Path(path).parent.name}
        return _normal(rows, raw).assign(target=raw["Gene"].where(raw["Gene"] != symbol, ensembl))
    if "Perturbation" in raw:
        parts = raw["Perturbation"].astype(str).str.split("_", n=4, expand=True)
        if parts.shape[1] != 5:
            example = raw["Perturbation"].iloc[0]
            raise InputError(f"{path}: Perturbation", f"{example!r} is not "
                             "prefix_id_type_symbol_study", _FIX)  # fmt: skip
        symbol = parts[3].str.upper()
        return _normal({"perturbed": symbol, "type": parts[2], "study": parts[4]}, raw)
    columns = ", ".join(map(str, raw.columns))[:200]
    raise InputError(path, f"is of Harmonizome and names no perturbed gene; found {columns}", _FIX)


def _normal(rows: dict[str, object], raw: pd.DataFrame) -> pd.DataFrame:
    effect = raw["Standardized Value"]
    return pd.DataFrame({"target": raw["Gene"], "effect": effect, "p": np.nan, **rows})


def _long(raw: pd.DataFrame, path: str) -> pd.DataFrame:
    by_name = {str(c).lower().replace(" ", "_"): c for c in raw.columns}
    columns_of = {
        what: next((by_name[n] for n in names if n in by_name), None)
        for what, names in _NAMES.items()
    }
    for what in ("perturbed", "target", "effect"):
        if columns_of[what] is None:
            columns = ", ".join(map(str, raw.columns))[:200]
            raise InputError(path, f"no column of the {what} gene; found {columns}"
                             if what != "effect" else f"no column of the effect; found {columns}",
                             f"name it {_NAMES[what][0]}")  # fmt: skip
    return pd.DataFrame({what: raw[c] if c is not None else None for what, c in columns_of.items()})
