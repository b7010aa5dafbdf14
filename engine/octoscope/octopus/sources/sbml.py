"""SBML level 3 files of reactions: species, participants, roles; compartments are taken away."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import pandas as pd

from octoscope.errors import InputError
from octoscope.octopus.identifiers import best_identifiers, best_names, joined_by_key, nameness
from octoscope.octopus.network_schema import ROLE_CODE, SBO
from octoscope.octopus.sources.record import Reactions, SourceCounts, identifier_frame
from octoscope.octopus.sources.uris import parse_uri
from octoscope.octopus.sources.xml import local, stream_elements

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_BIOLOGY = "{http://biomodels.net/biology-qualifiers/}"
# What makes two species of one database the same.
SAME = ("BQB_IS", "BQB_IS_HOMOLOG_TO")
_COMPARTMENT = re.compile(r"\[.+\]")


@dataclass
class SbmlFile:
    """Species and reactions of one file, as written.

    Attributes
    ----------
    species
        SBML id -> position.
    names
        [species] names.
    identifiers
        Rows (species, ontology, identifier, bqb).
    reactions
        (id, name, reversible, [(species id, role or None, stoichiometry)]).
    """

    species: dict[str, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    identifiers: list[tuple[int, str, str, str]] = field(default_factory=list)
    reactions: list[tuple[str, str, bool, list[tuple[str, int | None, float]]]] = field(
        default_factory=list
    )
    unknown_addresses: int = 0


def read_sbml(handle: IO[bytes], where: str) -> SbmlFile:
    """Read one SBML file; entities are not expanded.

    Raises
    ------
    InputError
        If it is not well-formed, or not SBML.
    """
    out = SbmlFile()
    tags = ("{*}species", "{*}reaction", "{*}geneProduct", "{*}sbml")
    seen = False
    for element in stream_elements(handle, where, tags):
        kind = local(element)
        if kind == "sbml":
            seen = True
        elif kind == "reaction":
            _reaction(element, out)
        elif element.getparent() is not None:
            _species(element, out)
    if not seen:
        raise InputError(where, "has no <sbml>", "give SBML level 3 files")
    return out


def _attribute(element: Any, name: str) -> str:
    """Return an attribute with or without a namespace."""
    if (value := element.get(name)) is not None:
        return str(value)
    return next((str(v) for k, v in element.attrib.items() if k.endswith("}" + name)), "")


def _species(element: Any, out: SbmlFile) -> None:
    key = _attribute(element, "id")
    if not key or key in out.species:
        return
    at = out.species[key] = len(out.names)
    out.names.append(_attribute(element, "name") or _attribute(element, "label") or key)
    for qualifier, uri in _annotations(element):
        identifier = parse_uri(uri)
        if identifier is None:
            out.unknown_addresses += 1
        else:
            out.identifiers.append((at, *identifier, qualifier))


def _annotations(element: Any) -> Any:
    """Yield (qualifier, address) of an element's biological annotation."""
    for description in element.iter(f"{_RDF}Description"):
        for statement in description:
            tag = statement.tag
            if not isinstance(tag, str) or not tag.startswith(_BIOLOGY):
                continue
            name = tag.removeprefix(_BIOLOGY)
            qualifier = "BQB_" + re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()
            for item in statement.iter(f"{_RDF}li"):
                if (uri := item.get(f"{_RDF}resource")) is not None:
                    yield qualifier, uri


def _reaction(element: Any, out: SbmlFile) -> None:
    members: list[tuple[str, int | None, float]] = []
    products: list[str] = []
    for part in element.iter("{*}speciesReference", "{*}modifierSpeciesReference",
                             "{*}geneProductRef"):  # fmt: skip
        kind = local(part)
        if kind == "geneProductRef":
            products.append(_attribute(part, "geneProduct"))
            continue
        role = SBO.get(part.get("sboTerm", ""))
        side = local(part.getparent())
        sign = {"listOfReactants": -1.0, "listOfProducts": 1.0}.get(side, 0.0)
        try:
            amount = float(part.get("stoichiometry") or 1)
        except ValueError:
            amount = 1.0
        members.append(
            (part.get("species", ""), None if role is None else ROLE_CODE[role], sign * amount)
        )
    # All gene products of a rule act on the reaction; and/or is not kept, as in the peer.
    members += [(g, None, 0.0) for g in dict.fromkeys(products)]
    reversible = element.get("reversible", "false") in ("true", "1")
    name = element.get("name") or element.get("id", "")
    out.reactions.append((element.get("id", ""), name, reversible, members))


@dataclass
class Joined:
    """Files of one database joined: one species per identity, one reaction per set of members."""

    species: list[str]
    identifiers: pd.DataFrame
    reactions: Reactions
    of_file: list[np.ndarray]  # [species of the file] -> joined species


def join_files(files: list[SbmlFile], file_number: list[int], counts: SourceCounts) -> Joined:
    """Merge species by identity (within each file first), reactions by their set of members.

    Compartments are dropped: members that cancel (transport) leave the reaction, and a reaction
    without members is dropped. This is the peer's order of merging, which decides names and which
    identifiers survive.
    """
    names: list[str] = []
    frames: list[pd.DataFrame] = []
    local_label: list[np.ndarray] = []
    for file in files:
        table = best_identifiers(identifier_frame(file.identifiers))
        mine = _identity(len(file.names), table)
        count = int(mine.max()) + 1 if len(mine) else 0
        first = np.full(count, -1)
        for i in range(len(mine) - 1, -1, -1):
            first[mine[i]] = i
        offset = len(names)
        names += [_COMPARTMENT.sub("", file.names[i]).strip() for i in first]
        table = table.assign(species=mine[table["species"].to_numpy(int)] + offset)
        frames.append(best_identifiers(table))
        local_label.append(mine + offset)
    every = pd.concat(frames, ignore_index=True) if frames else identifier_frame([])
    label = _identity(len(names), every)
    joined = best_identifiers(every.assign(species=label[every["species"].to_numpy(int)]))
    of_file = [label[x] for x in local_label]
    count = int(label.max()) + 1 if len(label) else 0
    reactions = _join_reactions(files, file_number, of_file, counts)
    return _used(Joined(best_names(label, names, count), joined, reactions, of_file))


def _identity(n: int, table: pd.DataFrame) -> np.ndarray:
    rows = table[table["bqb"].isin(SAME)]
    key = rows["ontology"].astype(str) + ":" + rows["identifier"].astype(str)
    return joined_by_key(n, rows["species"].to_numpy(int), key)


def _join_reactions(
    files: list[SbmlFile], file_number: list[int], of_file: list[np.ndarray], counts: SourceCounts
) -> Reactions:
    reactions: dict[frozenset[tuple[int, float, int]], tuple[str, bool, int, int]] = {}
    lost = empty = 0
    for number, (file, species) in enumerate(zip(files, of_file, strict=True)):
        for ordinal, (_, name, reversible, parts) in enumerate(file.reactions, 1):
            counts.read += 1
            members = set()
            for key, role, amount in parts:
                at = file.species.get(key)
                if at is None:
                    lost += 1
                    continue
                if role is None:
                    role = ROLE_CODE[
                        "reactant" if amount < 0 else "product" if amount > 0 else "stimulator"
                    ]
                members.add((int(species[at]), amount, role))
            key_set = frozenset(members)
            if not key_set:
                empty += 1
                continue
            known = reactions.get(key_set)
            if known is None:
                reactions[key_set] = (name, reversible, file_number[number], ordinal)
            else:
                counts.merged += 1
                better = min((known[0], name), key=nameness)
                reactions[key_set] = (better, known[1] or reversible, known[2], known[3])
    counts.drop("reaction without a known participant", empty)
    counts.note("participant that names no species of its file", lost)
    names: list[str] = []
    both_ways: list[bool] = []
    numbers: list[int] = []
    origin: list[int] = []
    rows: list[tuple[int, int, int, float]] = []
    cancelled = 0
    for key_set, (name, back, number, ordinal) in reactions.items():
        kept = _without_transport(key_set)
        if not kept:
            cancelled += 1
            continue
        at = len(names)
        names.append(name)
        both_ways.append(back)
        numbers.append(number)
        origin.append(ordinal)
        rows += [(at, s, r, a) for s, a, r in kept]
    counts.drop("transport only: nothing is left without compartments", cancelled)
    counts.kept += len(names)
    table = np.array(rows, float).reshape(-1, 4)
    return Reactions(
        names, np.array(both_ways, bool), np.array(numbers, np.int32), np.array(origin, np.int32),
        table[:, 0].astype(np.int32), table[:, 1].astype(np.int32),
        table[:, 2].astype(np.uint8), table[:, 3],
    )  # fmt: skip


def _without_transport(members: frozenset[tuple[int, float, int]]) -> list[tuple[int, float, int]]:
    """Drop what a reaction consumes and produces alike; one row per species and role is kept."""
    total: dict[int, float] = {}
    single: dict[tuple[int, int], float] = {}
    for species, amount, role in sorted(members):
        single.setdefault((species, role), amount)
    for (species, _), amount in single.items():
        total[species] = total.get(species, 0.0) + amount
    return [
        (species, amount, role)
        for (species, role), amount in single.items()
        if amount == 0 or total[species] != 0
    ]


def _used(joined: Joined) -> Joined:
    """Leave out species that take part in no reaction."""
    used = np.zeros(len(joined.species), bool)
    used[joined.reactions.species] = True
    new_number = np.where(used, np.cumsum(used) - 1, -1)
    table = joined.identifiers
    keep = used[table["species"].to_numpy(int)] if len(table) else np.zeros(0, bool)
    table = table[keep]
    joined.reactions.species = new_number[joined.reactions.species].astype(np.int32)
    return Joined(
        [n for n, u in zip(joined.species, used, strict=True) if u],
        table.assign(species=new_number[table["species"].to_numpy(int)]).reset_index(drop=True),
        joined.reactions,
        [np.where(x >= 0, new_number[x], -1) if len(x) else x for x in joined.of_file],
    )
