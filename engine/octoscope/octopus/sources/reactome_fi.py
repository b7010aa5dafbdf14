"""Reactome functional interactions (Wu et al. 2010), with their annotation and direction."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from octoscope.octopus.network_schema import ROLE_CODE, SIGN_OF_ROLE
from octoscope.octopus.sources.annotation import Annotation
from octoscope.octopus.sources.record import SourceCounts, SourceRecord, pairs_of
from octoscope.octopus.sources.symbols import symbol_identifiers
from octoscope.octopus.sources.text import read_frame

# Direction -> role of Gene1 on Gene2, role of Gene2 on Gene1.
_ROLES: dict[str, tuple[str | None, str | None]] = {
    "-": ("interactor", "interactor"),
    "->": ("stimulator", None),
    "<-": (None, "stimulator"),
    "<->": ("stimulator", "stimulator"),
    "-|": ("inhibitor", None),
    "|-": (None, "inhibitor"),
    "|-|": ("inhibitor", "inhibitor"),
    "|->": ("stimulator", "inhibitor"),
    "<-|": ("inhibitor", "stimulator"),
}


def read_reactome_fi(
    path: Path,
    annotation: Annotation | None,
    release: str,
    mode: Literal["peer", "corrected"],
) -> SourceRecord:
    """Read ``FIsInGene_*_with_annotations.txt``.

    One pair per order in which something is stated, of the highest score. The arrow decides order
    and sign; the annotation "catalyze" or "catalyzed by" along an arrow makes its first gene a
    catalyst, which keeps the arrow's sign. ``evidence`` keeps the annotation: predicted
    interactions are told from curated ones by it.

    Raises
    ------
    InputError
        If columns are missing.
    """
    counts = SourceCounts()
    columns = {c: pa.string() for c in ("Gene1", "Gene2", "Annotation", "Direction")}
    frame = read_frame(
        path, columns | {"Score": pa.float32()}, counts, optional=("Score",),
        fix="give FIsInGene_*_with_annotations.txt; bare pairs are an edge list (edge_lists)",
    )  # fmt: skip
    if "Score" not in frame:
        frame["Score"] = np.float32(np.nan)
        counts.note("row without a score (old files have none)", len(frame))
    empty = frame[["Gene1", "Gene2"]].isna().any(axis=1)
    counts.drop("without a gene", int(empty.sum()))
    strange = ~empty & ~frame["Direction"].isin(list(_ROLES))
    counts.drop("unknown direction", int(strange.sum()), frame["Direction"][strange])
    frame = frame[~empty & ~strange]
    note = frame["Annotation"].fillna("")
    forward = frame["Direction"].map({k: v[0] for k, v in _ROLES.items()})
    back = frame["Direction"].map({k: v[1] for k, v in _ROLES.items()})
    # The peer's pattern asks for "catalyze;" at the very end, and it has no rule for the reverse
    # of "<-|".
    pattern = r"catalyze(?:;$)" if mode == "peer" else r"\bcatalyze\b"
    every = pd.Series(True, index=frame.index)
    arrow = frame["Direction"] != "-"
    ahead = forward.notna() & arrow if mode == "corrected" else every
    behind = back.notna() & arrow if mode == "corrected" else every
    signs = [r.map(SIGN_OF_ROLE).fillna(0) for r in (forward, back)]
    forward = forward.mask(note.str.contains(pattern) & ahead, "catalyst")
    if mode == "peer":
        back = back.mask(frame["Direction"] == "<-|")
    back = back.mask(note.str.contains(r"\bcatalyzed by\b") & behind, "catalyst")
    both = pd.concat(
        [
            pd.DataFrame({"a": frame["Gene1"], "b": frame["Gene2"], "role": forward,
                          "sign": signs[0]}),
            pd.DataFrame({"a": frame["Gene2"], "b": frame["Gene1"], "role": back,
                          "sign": signs[1]}),
        ]
    )  # fmt: skip
    for column in ("Score", "row", "Annotation", "Direction"):
        both[column] = np.tile(frame[column].to_numpy(), 2)
    both = both[both["role"].notna()]
    if mode == "corrected":  # an undirected pair is one statement, in alphabetical order
        twice = (both["role"] == "interactor") & (both["a"] > both["b"])
        both.loc[twice, ["a", "b"]] = both.loc[twice, ["b", "a"]].to_numpy()
    both = both.sort_values("Score", ascending=False, kind="stable")
    best = both.drop_duplicates(["a", "b"]).sort_values(["a", "b"], kind="stable")
    counts.kept = best["row"].nunique()
    counts.merged = len(frame) - counts.kept
    counts.note("statements, one per order", len(best))
    codes, names = pd.factorize(np.concatenate([best["a"], best["b"]]).astype(object))
    role = best["role"].map(ROLE_CODE).to_numpy(np.uint8)
    undirected = role == ROLE_CODE["interactor"]
    other = np.where(undirected, ROLE_CODE["interactor"], ROLE_CODE["modified"])
    defects = []
    if mode == "corrected":
        one_way = int(undirected.sum())
        defects = [
            {
                "defect": "undirected pairs are stored as two reactions that lead one way each",
                "source": "Reactome-FI", "unit": "undirected statements",
                "peer": 2 * one_way, "corrected": one_way,
                "how": "one statement per pair, valid both ways",
            },
            {
                "defect": "the reverse of '<-|' has no rule",
                "source": "Reactome-FI", "unit": "statements",
                "peer": 0, "corrected": int((frame["Direction"] == "<-|").sum()),
                "how": "Gene2 stimulates Gene1",
            },
        ]  # fmt: skip
    evidence = pa.table(
        {
            "annotation": pa.array(best["Annotation"].to_list(), pa.string()),
            "direction": pa.array(best["Direction"].to_list(), pa.string()),
            "fi_score": pa.array(best["Score"].to_numpy(np.float32), pa.float32()),
        }
    )
    return SourceRecord(
        "Reactome-FI", release, [str(n) for n in names],
        symbol_identifiers(names, annotation, ("ncbi_entrez_gene", "ensembl_gene"), counts),
        pairs_of(codes[: len(best)], codes[len(best) :], role, other,
                 undirected & (mode == "corrected"),
                 score=best["Score"].to_numpy(), origin=best["row"].to_numpy(),
                 sign=best["sign"].to_numpy() if mode == "corrected" else None),
        evidence=evidence, files=[path], file_names=[path.name], counts=counts, defects=defects,
    )  # fmt: skip
