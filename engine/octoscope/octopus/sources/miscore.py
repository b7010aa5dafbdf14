"""MIscore (Villaveces et al. 2015): confidence of a molecular interaction, as the peer has it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from octoscope.bounded_reads import read_bounded
from octoscope.errors import InputError
from octoscope.json_values import parse_json

SCORES = {
    "genetic interaction": 0.10,
    "colocalization": 0.33,
    "association": 0.33,
    "physical association": 0.66,
    "direct interaction": 1.00,
    "biophysical": 1.00,
    "protein complementation assay": 0.66,
    "genetic interference": 0.10,
    "post transcriptional interference": 0.10,
    "biochemical": 1.00,
    "imaging technique": 0.33,
    "unknown": 0.05,
}
# Frequent terms below the scored ones, for when no ontology file is given.
_FREQUENT = {
    "biochemical": (
        "affinity chromatography technology", "pull down", "tandem affinity purification",
        "coimmunoprecipitation", "anti tag coimmunoprecipitation",
        "anti bait coimmunoprecipitation",
        "cosedimentation", "cosedimentation through density gradient", "cross-linking study",
        "enzymatic study", "protein kinase assay", "enzyme linked immunosorbent assay",
        "far western blotting", "molecular sieving", "chromatography technology",
        "blue native page", "filter binding", "peptide array", "protein array", "phage display",
    ),
    "biophysical": (
        "x-ray crystallography", "nuclear magnetic resonance", "surface plasmon resonance",
        "isothermal titration calorimetry", "fluorescence polarization spectroscopy",
        "dynamic light scattering", "circular dichroism", "x-ray scattering",
        "fluorescence technology", "fluorescent resonance energy transfer",
    ),
    "imaging technique": (
        "fluorescence microscopy", "confocal microscopy", "light microscopy", "electron microscopy",
        "fluorescence imaging",
    ),
    "protein complementation assay": (
        "two hybrid", "two hybrid array", "two hybrid pooling approach",
        "two hybrid prey pooling approach", "two hybrid fragment pooling approach",
        "validated two hybrid", "bimolecular fluorescence complementation",
        "mammalian protein protein interaction trap", "ubiquitin reconstruction",
    ),
    "direct interaction": (
        "enzymatic reaction", "phosphorylation reaction", "dephosphorylation reaction",
        "ubiquitination reaction", "deubiquitination reaction", "methylation reaction",
        "acetylation reaction", "cleavage reaction", "protein cleavage", "covalent binding",
        "disulfide bond", "sumoylation reaction", "neddylation reaction", "self interaction",
    ),
}  # fmt: skip


def scored_terms(ontology: Path | None) -> dict[str, str]:
    """Return term -> the scored term that it counts as; absent terms count as ``unknown``.

    Parameters
    ----------
    ontology
        ``psi-mi.obo``, or the nested JSON that MIscore ships; None: a short list of frequent
        terms.

    Raises
    ------
    InputError
        If the file is neither.
    """
    own = {t: t for t in SCORES}
    if ontology is None:
        return {t: s for s, terms in _FREQUENT.items() for t in terms} | own
    parents = _parents(ontology)
    if not parents:
        raise InputError(str(ontology), "holds no terms", "give psi-mi.obo or psimiOntology.json")
    out: dict[str, str] = {}
    for term in parents:
        best = max((a for a in _ancestors(term, parents) if a in SCORES), default=None,
                   key=lambda a: SCORES[a])  # fmt: skip
        if best is not None:
            out[term] = best
    return out | own


def _parents(path: Path) -> dict[str, set[str]]:
    try:
        text = read_bounded(path).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), str(error), "give psi-mi.obo") from None
    out: dict[str, set[str]] = {}
    if text.lstrip().startswith("{"):
        try:
            stack: list[tuple[Any, str | None]] = [(parse_json(text.encode()), None)]
        except ValueError as error:
            raise InputError(str(path), str(error), "give psimiOntology.json") from None
        while stack:
            node, above = stack.pop()
            if not isinstance(node, dict):
                raise InputError(str(path), "a term is no object", "give psimiOntology.json")
            name = str(node.get("name", ""))
            out.setdefault(name, set()).update({above} if above else set())
            stack += [(child, name) for child in node.get("children", [])]
        return out
    for stanza in text.split("[Term]")[1:]:
        match = re.search(r"^name: (.+)$", stanza, re.M)
        if match:
            above_names = re.findall(r"^is_a: MI:\d+ ! (.+)$", stanza, re.M)
            out.setdefault(match.group(1).strip(), set()).update(a.strip() for a in above_names)
    return out


def _ancestors(term: str, parents: dict[str, set[str]]) -> set[str]:
    seen, todo = {term}, [term]
    while todo:
        for above in parents.get(todo.pop(), ()):
            if above not in seen:
                seen.add(above)
                todo.append(above)
    return seen


def publication_score(n: np.ndarray) -> np.ndarray:
    """Return log(n + 1) / log(8), 1 from seven publications on."""
    return np.where(n > 7, 1.0, np.log(n + 1) / np.log(8))


def category_score(counts: pd.DataFrame) -> np.ndarray:
    """Return the score of counted terms: log(a + 1) / log(a + m + 1).

    Parameters
    ----------
    counts
        [pairs, scored terms] numbers of studies. ``a`` is the sum of score x count, ``m`` the sum
        over distinct scores of the largest count among the terms of that score.
    """
    score = np.array([SCORES[c] for c in counts.columns])
    values = counts.to_numpy(float)
    a = values @ score
    m = np.zeros(len(values))
    for s in np.unique(score):
        m += values[:, score == s].max(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(a > 0, np.log(a + 1) / np.log(a + m + 1), 0.0)
