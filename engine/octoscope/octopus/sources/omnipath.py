"""OmniPath interactions (Türei et al. 2016): directed, signed, by UniProt, miRBase or symbol."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from octoscope.octopus.identifiers import clean_identifier, has_form
from octoscope.octopus.network_schema import ROLE_CODE
from octoscope.octopus.omnipath_resources import inferred_from_expression
from octoscope.octopus.sources.annotation import Annotation
from octoscope.octopus.sources.record import (
    Pairs,
    SourceCounts,
    SourceRecord,
    identifier_frame,
    pairs_of,
)
from octoscope.octopus.sources.symbols import note_aliases
from octoscope.octopus.sources.text import read_frame

_FLAGS = ("is_directed", "is_stimulation", "is_inhibition",
          "consensus_direction", "consensus_stimulation", "consensus_inhibition")  # fmt: skip
_COUNTS = ("n_references", "n_sources", "n_primary_sources", "curation_effort")
_TAXA = ("ncbi_tax_id_source", "ncbi_tax_id_target")
_SYMBOLS = ("source_genesymbol", "target_genesymbol")
_CALLED = {
    "references": ("references_stripped",), "n_sources": ("n_resources",), "sources": ("resources",)
}  # fmt: skip
_ENSEMBL = ("ensembl_gene", "ensembl_protein", "ensembl_transcript")
_MIRBASE = re.compile(r"^MIMAT\d+$")


def read_omnipath(
    path: Path,
    annotation: Annotation | None,
    release: str,
    mode: Literal["peer", "corrected"],
    taxon: str = "9606",
) -> SourceRecord:
    """Read an interactions table of the OmniPath web service or client (TSV or Parquet).

    The role comes from the consensus of the resources: one sign a stimulator or inhibitor, both a
    modifier, none a modifier if the consensus is directed, else an undirected interactor. In peer
    mode a directed row is stored a second time in reverse. Tables without consensus columns are
    read by ``is_directed, is_stimulation, is_inhibition``. The column ``sources``, where there is
    one, is kept as evidence: null where a row names none, empty for members of complexes. Of rows
    that state one reaction a row that is not inferred from expression alone speaks. Publications
    are ``n_references``, else those that ``references`` lists. Rows of another organism (columns
    ``ncbi_tax_id_source``, ``ncbi_tax_id_target``) are dropped.

    Raises
    ------
    InputError
        If columns are missing.
    """
    counts = SourceCounts()
    columns = (
        {
            c: pa.string()
            for c in ("source", "target", "type", "sources", "references", *_TAXA, *_SYMBOLS)
        }
        | {c: pa.bool_() for c in _FLAGS}
        | {c: pa.float64() for c in _COUNTS}
    )
    optional = ("type", "sources", "references", *_FLAGS[3:], *_COUNTS, *_TAXA, *_SYMBOLS)
    frame = read_frame(path, columns, counts, optional=optional, called=_CALLED)
    empty = frame[["source", "target"]].isna().any(axis=1)
    counts.drop("without a source or target", int(empty.sum()))
    frame = _of_organism(frame[~empty], taxon, counts)
    names = pd.Index(pd.unique(pd.concat([frame["source"], frame["target"]]).astype(str)))
    identifiers, complexes = _identify(names, annotation, counts)
    known = np.zeros(len(names), bool)
    known[identifiers["species"].to_numpy(int)] = True
    a, b = names.get_indexer(frame["source"]), names.get_indexer(frame["target"])
    mapped = known[a] & known[b]
    unknown = names[~known]
    counts.drop("an end of no known kind", int((~mapped).sum()), unknown)
    frame, a, b = frame[mapped], a[mapped], b[mapped]
    if "sources" in frame:
        frame = frame.assign(sources=frame["sources"].where(frame["sources"].str.strip() != ""))
        order = _inferred_last(frame["sources"], counts)
        frame, a, b = frame.iloc[order], a[order], b[order]
    directed, up, down = _consensus(frame)
    role = np.select(
        [up & down, up, down, directed],
        [ROLE_CODE[r] for r in ("modifier", "stimulator", "inhibitor", "modifier")],
        ROLE_CODE["interactor"],
    ).astype(np.uint8)
    undirected = role == ROLE_CODE["interactor"]
    other = np.where(undirected, ROLE_CODE["interactor"], ROLE_CODE["modified"])
    pairs = pairs_of(a, b, role, other, undirected, refs=_references(frame), origin=frame["row"])
    doubled = np.flatnonzero(directed & ~undirected)
    counts.kept = len(pairs)
    keep = frame.columns.intersection([*_FLAGS, *_COUNTS, "type", "sources"])
    evidence = frame[list(keep)].reset_index(drop=True)
    order = np.arange(len(pairs))
    if mode == "peer":
        order = np.sort(np.concatenate([order, doubled]), kind="stable")
        again = np.diff(order, prepend=-1) == 0
        pairs, evidence = _reversed(pairs.select(order), again), evidence.iloc[order]
    members, pairs = _complexes(complexes, names, pairs)
    table = pa.Table.from_pandas(evidence, preserve_index=False)
    if "sources" in keep:  # also where all are null
        at = table.column_names.index("sources")
        table = table.set_column(at, "sources", table["sources"].cast(pa.string()))
    if members:
        blank = {f.name: pa.nulls(members, f.type) for f in table.schema}
        if "sources" in blank:
            blank["sources"] = pa.array([""] * members, pa.string())
        table = pa.concat_tables([table, pa.table(blank, schema=table.schema)])
    counts.note("members of complexes, stated by the complex's name", members)
    symbol = _own_symbols(frame)
    if annotation is not None:
        symbol |= annotation.symbols("uniprot")
    return SourceRecord(
        "OmniPath", release, [symbol.get(n, str(n)) for n in names], identifiers, pairs,
        evidence=table,
        files=[path], file_names=[path.name], counts=counts,
        defects=[] if mode == "peer" else [{
            "defect": "each directed row is stored a second time in reverse",
            "source": "OmniPath", "unit": "statements",
            "peer": len(order) + len(doubled), "corrected": len(order),
            "how": "a row gives one statement, in its own order",
        }],
    )  # fmt: skip


def _of_organism(frame: pd.DataFrame, taxon: str, counts: SourceCounts) -> pd.DataFrame:
    """Return the rows whose ends are of one organism, or of none (-1: molecules)."""
    other = pd.Series(False, index=frame.index)
    for column in frame.columns.intersection(list(_TAXA)):
        organism = frame[column].fillna("").str.extract(r"(-?\d+)")[0].fillna("")
        other |= ~organism.isin([taxon, "", "0", "-1", "-2"])
    counts.drop(f"an end of another organism than {taxon}", int(other.sum()),
                frame["source"][other])  # fmt: skip
    return frame[~other]


def _references(frame: pd.DataFrame) -> np.ndarray:
    """Return [rows] numbers of publications; a list names them with or without their database."""
    if "n_references" in frame:
        return frame["n_references"].fillna(0).to_numpy()
    if "references" not in frame:
        return np.zeros(len(frame))
    listed = frame["references"].fillna("").str.split(";")
    return np.array([len({x.rpartition(":")[2] for x in items if x}) for items in listed])


def _own_symbols(frame: pd.DataFrame) -> dict[str, str]:
    """Return id -> the symbol that the table itself gives."""
    out: dict[str, str] = {}
    for end, column in zip(("source", "target"), _SYMBOLS, strict=True):
        if column in frame:
            known = frame[[end, column]].dropna().drop_duplicates(end)
            out |= dict(zip(known[end], known[column], strict=True))
    return out


def _inferred_last(sources: pd.Series[str], counts: SourceCounts) -> np.ndarray:
    """Return an order of rows: known resources, none named, inferred alone; count the last two."""
    inferred = inferred_from_expression(sources)
    alone, unknown = inferred.fillna(False).to_numpy(bool), inferred.isna()
    counts.note("row inferred from expression alone", int(alone.sum()))
    counts.note("row that names no resource in `sources`", int(unknown.sum()))
    return np.argsort(2 * alone + unknown, kind="stable")


def _consensus(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return directed, stimulation, inhibition; signs that no resource gives are not believed."""
    given = {c: frame[c].eq(True).to_numpy(bool) for c in _FLAGS if c in frame}
    plain = [given[c] for c in _FLAGS[:3]]
    if not all(c in given for c in _FLAGS[3:]):
        return plain[0], plain[1], plain[2]
    directed, up, down = (given[c] for c in _FLAGS[3:])
    invented = ~plain[1] & ~plain[2] & up & down
    return directed, up & ~invented, down & ~invented


def _reversed(pairs: Pairs, again: np.ndarray) -> Pairs:
    out = pairs.select(np.arange(len(pairs)))
    out.a, out.b = np.where(again, pairs.b, pairs.a), np.where(again, pairs.a, pairs.b)
    return out


def _identify(
    names: pd.Index, annotation: Annotation | None, counts: SourceCounts
) -> tuple[pd.DataFrame, dict[int, list[str]]]:
    """Return identifiers of the ends, and the members of those that are complexes."""
    rows: list[tuple[int, str, str, str]] = []
    complexes: dict[int, list[str]] = {}
    symbols = annotation.of_symbols(("uniprot", "ncbi_entrez_gene", "ensembl_gene")) if (
        annotation is not None
    ) else {}  # fmt: skip
    # Some symbols look like accessions (P2RY11): a table by symbols is read as symbols first.
    accessions = sum(has_form("uniprot", n) for n in names)
    by_symbol = sum(n in symbols for n in names) >= max(accessions, 1)
    note_aliases([n for n in names if by_symbol or not has_form("uniprot", n)], annotation, counts)
    for i, name in enumerate(names):
        accession = clean_identifier("uniprot", name)
        if by_symbol and name in symbols:
            rows += _of_symbol(i, symbols[name])
        elif name.startswith("COMPLEX:"):
            complexes[i] = name.removeprefix("COMPLEX:").split("_")
            rows.append((i, "omnipath_complex", name, "BQB_IS"))
            for member in complexes[i]:
                own = [("uniprot", member)] if has_form("uniprot", member) else (
                    symbols.get(member, []))  # fmt: skip
                rows += [(i, o, x, "BQB_HAS_PART") for o, x in own]
        elif accession is not None:
            rows.append((i, "uniprot", accession, "BQB_IS"))
        elif any(has_form(o, name) for o in _ENSEMBL):  # our own exports
            rows += _of_symbol(i, [(o, x) for o in _ENSEMBL
                                   if (x := clean_identifier(o, name)) is not None])  # fmt: skip
        elif _MIRBASE.match(name):
            rows.append((i, "mirbase", name, "BQB_IS"))
        elif name.isdigit():
            rows.append((i, "pubchem", name, "BQB_IS"))
        else:
            rows += _of_symbol(i, symbols.get(name, []))
    return identifier_frame(rows), complexes


def _of_symbol(i: int, identifiers: list[tuple[str, str]]) -> list[tuple[int, str, str, str]]:
    return [
        (i, o, x, "BQB_IS_ENCODED_BY" if o == "ensembl_gene" else "BQB_IS") for o, x in identifiers
    ]


def _complexes(complexes: dict[int, list[str]], names: pd.Index, pairs: Pairs) -> tuple[int, Pairs]:
    """Add member -> complex, reactant to product, for members that interact themselves."""
    used = set(pairs.a) | set(pairs.b)
    position = {str(n): i for i, n in enumerate(names)}
    ends = [
        (position[m], c)
        for c, members in complexes.items()
        for m in dict.fromkeys(members)
        if c in used and m in position
    ]
    if not ends:
        return 0, pairs
    a, b = np.array(ends).T
    more = pairs_of(a, b, "reactant", "product", False, origin=np.zeros(len(a)))
    joined = {k: np.concatenate([v, getattr(more, k)]) for k, v in vars(pairs).items()}
    return len(a), Pairs(**joined)
