"""IntAct (Orchard et al. 2014): PSI-MI XML 3.0, bait and prey as undirected pairs."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from octoscope.errors import InputError
from octoscope.octopus.sources.miscore import category_score, publication_score, scored_terms
from octoscope.octopus.sources.record import SourceCounts, SourceRecord, identifier_frame, pairs_of
from octoscope.octopus.sources.text import Names
from octoscope.octopus.sources.xml import local, stream_elements

_NS = "{http://psi.hupo.org/mi/mif300}"
_ENSEMBL = re.compile(r"(ENS([GTP])\d+)")
_KIND = {"G": "ensembl_gene", "T": "ensembl_transcript", "P": "ensembl_protein"}
_DATABASE = {"uniprotkb": "uniprot", "rnacentral": "rnacentral", "intact": "intact",
             "mirbase": "mirbase"}  # fmt: skip
_TAGS = tuple(f"{_NS}{t}" for t in ("experimentDescription", "interactor", "interaction",
                                   "abstractInteraction", "entry", "entrySet"))  # fmt: skip


class _Reading:
    """State that is collected over all entries."""

    def __init__(self, mode: str, counts: SourceCounts) -> None:
        self.mode, self.counts = mode, counts
        self.labels = Names()
        self.identifiers: dict[tuple[int, str, str], None] = {}
        self.rows: list[tuple[Any, ...]] = []  # study, a, b, method, type, publication, origin
        self.study = 0
        self.ordinal = 0
        self.file = 0
        self.new_entry()

    def new_entry(self) -> None:
        self.interactors: dict[str, int] = {}
        self.experiments: dict[str, tuple[str, str]] = {}
        self.first: tuple[str, str] = ("", "")
        self.grouped: dict[str, list[Any]] = {}


def read_intact(
    path: Path,
    release: str,
    mode: Literal["peer", "corrected"],
    ontology: Path | None = None,
    taxon: str = "9606",
) -> SourceRecord:
    """Read ``psi30/species/human.zip``, its folder, or one XML file.

    Interactions of one bait and some preys become one pair per prey (spoke). ``peer`` takes the
    method and publication of an entry's first experiment, knows an organism by its name's ending
    and counts an entry as a publication; ``corrected`` takes the interaction's own experiment, the
    stated organism, distinct publications, and leaves out negative interactions.

    Raises
    ------
    InputError
        If no file is PSI-MI XML 3.0; a damaged file among several is left out and named.
    """
    counts = SourceCounts()
    state = _Reading(mode, counts)
    names: list[str] = []
    for name, handle in _files(path):
        state.file = len(names)
        state.ordinal = 0
        try:
            _read(handle, f"{path}: {name}", state, taxon)
        except InputError as error:
            if path.suffix == ".xml":
                raise
            lost = "in the unfinished entry of a file that breaks off"
            counts.drop(lost, len(state.grouped))
            state.new_entry()
            counts.note("XML file that cannot be read to its end", 1, [f"{name}: {error.problem}"])
        names.append(name)
    if not names or not counts.read:
        raise InputError(str(path), "holds no PSI-MI XML 3.0 interaction", "give psi30/species")
    return _record(state, path, names, release, ontology)


def _files(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist()):
                    if name.endswith(".xml") and "negative" not in name:
                        with archive.open(name) as handle:
                            yield Path(name).name, handle
        else:
            found = sorted(path.glob("*.xml")) if path.is_dir() else [path]
            for file in found:
                with file.open("rb") as handle:
                    yield file.name, handle
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(str(path), f"cannot be read ({error})", "download it again") from None


def _read(handle: IO[bytes], where: str, state: _Reading, taxon: str) -> None:
    state.new_entry()
    for element in stream_elements(handle, where, _TAGS):
        kind = local(element)
        if kind == "experimentDescription":
            _experiment(element, state)
        elif kind == "interactor" and element.getparent() is not None:
            if local(element.getparent()) == "interactorList":
                _interactor(element, state, taxon)
        elif kind in ("interaction", "abstractInteraction"):
            _interaction(element, state)
        elif kind == "entry":
            _finish(state)
            state.study += 1
            state.new_entry()


@cache
def _qualified(path: str) -> str:
    return "/".join(_NS + p for p in path.split("/"))


def _text(element: Any, path: str) -> str:
    return (element.findtext(_qualified(path)) or "").strip()


def _experiment(element: Any, state: _Reading) -> None:
    reference = element.find(f"{_NS}bibref/{_NS}xref/{_NS}primaryRef")
    publication = ""
    if reference is not None and reference.get("db"):
        publication = f"{reference.get('db')}:{reference.get('id')}"
    facts = (_text(element, "interactionDetectionMethod/names/fullName"), publication)
    if not state.experiments:
        state.first = facts
    state.experiments[element.get("id", "")] = facts


def _interactor(element: Any, state: _Reading, taxon: str) -> None:
    label = _text(element, "names/shortLabel")
    primary = element.find(f"{_NS}xref/{_NS}primaryRef")
    if not label or primary is None:
        state.counts.note("interactor without a name or primary reference", 1, [label])
        return
    found = _identifier(primary, state.mode)
    organism = element.find(f"{_NS}organism")
    stated = organism.get("ncbiTaxId") if organism is not None else None
    listed = found is not None and found[0] not in ("uniprot", "mirbase")
    if state.mode == "peer":
        ours = label.endswith("human") or listed
    else:
        ours = stated == taxon or (stated in (None, "-2") and listed)
    if found is None or not ours:
        return
    at = state.labels.code.setdefault(label, len(state.labels.code))
    state.interactors[element.get("id", "")] = at
    state.identifiers[(at, *found)] = None
    for reference in element.iterfind(f"{_NS}xref/{_NS}secondaryRef"):
        if reference.get("db") == "intact" and reference.get("id"):
            state.identifiers[(at, "intact", reference.get("id"))] = None


def _identifier(reference: Any, mode: str) -> tuple[str, str] | None:
    database, value = reference.get("db") or "", reference.get("id") or ""
    if database == "ensembl":
        match = _ENSEMBL.search(value)
        return (_KIND[match.group(2)], match.group(1)) if match else None
    if database == "chebi":
        return "chebi", value.replace("CHEBI:", "")
    ontology = _DATABASE.get(database)
    if ontology == "uniprot" and mode == "corrected":
        value = value.split("-")[0]  # an isoform or chain is a product of the same gene
    return (ontology, value) if ontology and value else None


def _interaction(element: Any, state: _Reading) -> None:
    state.counts.read += 1
    state.ordinal += 1
    if state.mode == "corrected" and _text(element, "negative") == "true":
        state.counts.drop("negative interaction", 1)
        return
    baits: list[int] = []
    preys: list[int] = []
    for participant in element.iterfind(f"{_NS}participantList/{_NS}participant"):
        role = _text(participant, "experimentalRoleList/experimentalRole/names/fullName")
        at = state.interactors.get(_text(participant, "interactorRef"))
        if at is not None and role in ("bait", "prey"):
            (baits if role == "bait" else preys).append(at)
    name = _text(element, "names/shortLabel")
    own = _text(element, "experimentList/experimentRef")
    method, publication = state.first
    if state.mode == "corrected" and own in state.experiments:
        method, publication = state.experiments[own]
    facts = [baits, preys, _text(element, "interactionType/names/fullName"), method, publication,
             state.ordinal]  # fmt: skip
    if state.mode == "peer" and name in state.grouped:  # the peer joins those of one name
        known = state.grouped[name]
        known[0] += baits
        known[1] += preys
        state.counts.merged += 1
        return
    key = name if state.mode == "peer" else str(state.ordinal)
    state.grouped[key] = facts


def _finish(state: _Reading) -> None:
    for baits, preys, kind, method, publication, ordinal in state.grouped.values():
        if len(baits) != 1 or not preys:
            state.counts.drop("not one bait with some preys of the organism", 1)
        elif not publication:
            state.counts.drop("no publication", 1)
        else:
            study = state.study if state.mode == "peer" else publication
            state.counts.kept += 1
            for prey in preys:
                state.rows.append((study, baits[0], prey, method, kind, publication,
                                   state.file, ordinal))  # fmt: skip


def _record(
    state: _Reading, path: Path, names: list[str], release: str, ontology: Path | None
) -> SourceRecord:
    labels = np.array(state.labels.names, dtype=object)
    columns = ["study", "a", "b", "method", "type", "publication", "file", "origin"]
    frame = pd.DataFrame(state.rows, columns=columns)
    rank = np.argsort(np.argsort(labels)) if len(labels) else np.zeros(0, int)
    a, b = frame["a"].to_numpy(int), frame["b"].to_numpy(int)
    swap = rank[a] > rank[b] if len(frame) else np.zeros(0, bool)
    frame["a"], frame["b"] = np.where(swap, b, a), np.where(swap, a, b)
    terms = scored_terms(ontology)
    scored: dict[str, np.ndarray] = {}
    wide: dict[str, np.ndarray] = {}
    grouped = frame.groupby(["a", "b"], sort=True)
    first = grouped.agg(file=("file", "first"), origin=("origin", "first"))
    place = grouped.ngroup().to_numpy()
    n = len(first)
    for what in ("method", "type"):
        term = frame[what].map(terms).fillna("unknown")
        unknown = frame[what][term == "unknown"]
        state.counts.note(f"{what} that no scored term covers", len(unknown), unknown.unique())
        once = pd.DataFrame({"pair": place, "study": frame["study"], "term": term})
        table = once.drop_duplicates().groupby(["pair", "term"]).size().unstack(fill_value=0)
        table = table.reindex(range(n), fill_value=0)
        scored[what] = category_score(table) if n else np.zeros(0)
        for t in sorted(table.columns):
            wide[f"interaction_{what}_{t}"] = table[t].to_numpy(np.int32)
    papers = frame.assign(pair=place)[["pair", "study", "publication"]].drop_duplicates()
    count = np.bincount(papers["pair"].to_numpy(int), minlength=n)
    publication = publication_score(count)
    score = (publication + scored["method"] + scored["type"]) / 3
    used = np.zeros(len(labels), bool)
    pair_a, pair_b = (first.index.get_level_values(i).to_numpy(int) for i in (0, 1))
    used[pair_a] = used[pair_b] = True
    renumber = np.cumsum(used) - 1
    identifiers = [(int(renumber[s]), o, x, "BQB_IS") for s, o, x in state.identifiers if used[s]]
    evidence = pa.table(
        {
            "publication_score": publication,
            "interaction_method_score": scored["method"],
            "interaction_type_score": scored["type"],
            "miscore": score,
            "n_publications": count.astype(np.int32),
            **wide,
        }
    )
    state.counts.note("pairs of bait and prey", len(frame))
    return SourceRecord(
        "IntAct", release, [str(x) for x in labels[used]], identifier_frame(identifiers),
        pairs_of(renumber[pair_a], renumber[pair_b], score=score, refs=count,
                 file=first["file"].to_numpy(), origin=first["origin"].to_numpy()),
        evidence=evidence, files=[path, *([ontology] if ontology else [])],
        file_names=names, counts=state.counts,
    )  # fmt: skip
