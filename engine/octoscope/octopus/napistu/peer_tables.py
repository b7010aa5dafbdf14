"""Napistu's files as plain tables, for every layout of theirs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from octoscope.errors import InputError
from octoscope.octopus.network_schema import ROLE_CODE, SBO


@dataclass
class PeerGraph:
    """A graph as the peer stores it.

    Attributes
    ----------
    vertices
        [vertices] name, label, node_type, species_type, species, compartment.
    edges
        [edges] src, dst (int), role_src, role_dst (codes), reaction (int code), reversible,
        reverse (the edge against the reaction's own order).
    assertions
        Columns reaction (int code), source, ordinal (number of the reaction within the source,
        -1 unknown). A reaction without any row has the source ``schema.UNNAMED``.
    reactions
        Names of the reactions that codes stand for, where the files give them.
    evidence
        source -> columns of that source, with ``reaction`` (int code).
    identifiers
        s_id, ontology, identifier, bqb; empty if the files hold none.
    pathways
        s_id, pathway, name.
    releases
        source -> what the files say of its release.
    notes
        What could not be read, for the record.
    """

    vertices: pd.DataFrame
    edges: pd.DataFrame
    assertions: pd.DataFrame
    reactions: list[str] = field(default_factory=list)
    evidence: dict[str, pd.DataFrame] = field(default_factory=dict)
    identifiers: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=["s_id", "ontology", "identifier", "bqb"])
    )
    pathways: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=["s_id", "pathway", "name"])
    )
    releases: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def roles_of(terms: Any, where: str) -> np.ndarray:
    """Return SBO terms (``SBO:0000010``) as role codes, unknown terms as ``unknown``.

    Raises
    ------
    InputError
        If the terms are not text.
    """
    codes, distinct = pd.factorize(np.asarray(terms, dtype=object))
    if any(not isinstance(d, str) for d in distinct):
        raise InputError(where, "terms are not text", "get the file again")
    table = np.array([ROLE_CODE[SBO.get(d, "unknown")] for d in distinct] or [0], np.uint8)
    return np.where(codes < 0, ROLE_CODE["unknown"], table[codes]).astype(np.uint8)
