"""PSI-MI TAB 2.5 to 2.8 (IntAct, MINT, HuRI, …): one row per pair of interactors."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa

from octoscope.errors import warn
from octoscope.octopus.sources.psi_mi import (
    NEGATIVE,
    NO_PUBLICATION,
    Collected,
    first_identifier,
    record_of,
)
from octoscope.octopus.sources.record import SourceCounts, SourceRecord
from octoscope.octopus.sources.text import first_line, stream_table

# Columns by their places in the format; the last is of version 2.6 and later.
_COLUMN_NUMBERS = {
    "a": 0, "b": 1, "other_a": 2, "other_b": 3, "alias_a": 4, "alias_b": 5, "method": 6,
    "publication": 8, "taxon_a": 9, "taxon_b": 10, "type": 11,
}  # fmt: skip
_OF_END = {e: (e, f"other_{e}", f"alias_{e}", f"taxon_{e}") for e in ("a", "b")}
_NEGATIVE = 35
_CAUSAL = 45  # of version 2.8: psi-mi:"MI:2235"(up-regulates)
CAUSAL = "row whose causal statement (PSI-MI TAB 2.8) is not read: neither its order nor its sign"
_FIELDS = 15  # of version 2.5
# of IntAct, BioGRID and HIPPIE, iRefIndex
_HEADINGS = ("id(s) interactor a", "unique identifier for interactor a", "unique id a",
             "id interactor a", "uida")  # fmt: skip
# database:value(text), joined by bars; value and text may be quoted.
_ITEM = re.compile(r'([^:|"]+):("(?:[^"\\]|\\.)*"|[^|(]*)(?:\(("(?:[^"\\]|\\.)*"|[^)]*)\))?')
Items = tuple[tuple[str, str, str], ...]


def is_mitab(path: Path) -> bool:
    """Return whether the first line of a text file is one of PSI-MI TAB.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    fields = first_line(path)
    if fields[0].lower().lstrip("#").startswith(_HEADINGS):
        return True
    return len(fields) >= _FIELDS and any(f.startswith("taxid:") for f in fields[9:11])


def read_mitab(
    path: Path, name: str, release: str, ontology: Path | None = None, taxon: str = "9606"
) -> SourceRecord:
    """Read a PSI-MI TAB file: each row a pair without an order, scored as in the XML.

    Complexes are pairs already (spoke expansion). Negative interactions, those of another organism
    and those without a publication are dropped. Causal statements of version 2.8 are not read, with
    a warning.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    counts = SourceCounts()
    state = Collected("corrected", taxon, counts)
    fields = first_line(path)
    later = {"negative": _NEGATIVE, "causal": _CAUSAL}
    column_numbers = _COLUMN_NUMBERS | {c: i for c, i in later.items() if i < len(fields)}
    skipped: list[int] = []
    known: dict[str, Items] = {}

    def items(text: str | None) -> Items:
        if text is None:
            return ()
        if text not in known:
            known[text] = tuple(
                (d.strip(), v.strip().strip('"'), t.strip().strip('"'))
                for d, v, t in _ITEM.findall(text)
            )
        return known[text]

    row = 0
    header = not any(f.startswith("taxid:") for f in fields)
    columns = dict.fromkeys(column_numbers, pa.string())
    for batch in stream_table(path, columns, counts, header=header, delimiter="\t",
                              column_numbers=column_numbers, skipped=skipped):  # fmt: skip
        for cells in batch.to_pylist():
            row += 1
            counts.note(CAUSAL, int((cells.get("causal") or "-") != "-"))
            ends = [_species(state, {c: items(cells[c]) for c in _OF_END[end]}, end)
                    for end in ("a", "b")]  # fmt: skip
            papers = items(cells["publication"])
            paper = next((p for p in papers if p[0] == "pubmed"), next(iter(papers), None))
            if (cells.get("negative") or "").lower() == "true":
                counts.drop(NEGATIVE, 1)
            elif None in ends:
                counts.drop(f"an end of no known kind, or of another organism than {taxon}", 1)
            elif paper is None:
                counts.drop(NO_PUBLICATION, 1)
            else:
                publication = f"{paper[0]}:{paper[1]}"
                method, kind = (_term(items(cells[c])) for c in ("method", "type"))
                state.rows.append((publication, *ends, method, kind, publication, 0, row + header))
                counts.kept += 1
    counts.unread.clear()  # the columns of the format are known
    if causal := counts.noted.get(CAUSAL):
        warn(
            f"{path}: {causal:,} rows state what regulates what, which is not read from PSI-MI "
            "TAB: pairs have neither order nor sign. SIGNOR's own table has both (edge_lists)"
        )
    return record_of(state, name, path, [path.name], release, ontology)


def _species(state: Collected, cells: dict[str, Items], end: str) -> int | None:
    """Return the species of an end; None if its id is of no known kind, or of another organism."""
    references = [(d, v) for d, v, _ in (*cells[end], *cells[f"other_{end}"])]
    identifier = first_identifier(references, "corrected")
    stated = next((v for d, v, _ in cells[f"taxon_{end}"] if d == "taxid"), None)
    if identifier is None or not state.ours(stated, identifier, ""):
        return None
    texts = {t: v for _, v, t in reversed(cells[f"alias_{end}"])}
    label = texts.get("gene name") or texts.get("display_short") or identifier[1]
    at = state.species_of(":".join(identifier), label)
    state.identifiers[(at, *identifier)] = None
    if own := next((v for d, v in references if d == "intact"), None):
        state.identifiers[(at, "intact", own)] = None
    return at


def _term(items: Items) -> str:
    """Return the name of a term: psi-mi:"MI:0018"(two hybrid)."""
    return next((t or v for _, v, t in items), "")
