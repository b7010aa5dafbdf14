"""OmniPath interactions (Türei et al. 2016): directed, signed, by UniProt, miRBase or symbol."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

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
from octoscope.octopus.sources.text import read_frame

_FLAGS = ("is_directed", "is_stimulation", "is_inhibition",
          "consensus_direction", "consensus_stimulation", "consensus_inhibition")  # fmt: skip
_COUNTS = ("n_references", "n_sources", "n_primary_sources", "curation_effort")
# https://www.uniprot.org/help/accession_numbers
_UNIPROT = re.compile(
    r"^(?:[OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9](?:[A-Z][A-Z0-9]{2}[0-9]){1,2})(?:-\d+)?$"
)
_MIRBASE = re.compile(r"^MIMAT\d+$")


def read_omnipath(
    path: Path,
    annotation: Annotation | None,
    release: str,
    mode: Literal["peer", "corrected"],
) -> SourceRecord:
    """Read an interactions table of the OmniPath web service or client (TSV or Parquet).

    The role comes from the consensus of the resources: one sign a stimulator or inhibitor, both a
    modifier, none a modifier if the consensus is directed, else an undirected interactor. In peer
    mode a directed row is stored a second time in reverse. Tables without consensus columns are
    read by ``is_directed, is_stimulation, is_inhibition``. The column ``sources``, where there is
    one, is kept as evidence: null where a row names none, empty for members of complexes. Of rows
    that state one reaction a row that is not inferred from expression alone speaks.

    Raises
    ------
    InputError
        If columns are missing.
    """
    counts = SourceCounts()
    columns = (
        {c: pa.string() for c in ("source", "target", "type", "sources")}
        | {c: pa.bool_() for c in _FLAGS}
        | {c: pa.float64() for c in _COUNTS}
    )
    optional = ("type", "sources", *_FLAGS[3:], *_COUNTS)
    frame = read_frame(path, columns, counts, optional=optional)
    empty = frame[["source", "target"]].isna().any(axis=1)
    counts.drop("without a source or target", int(empty.sum()))
    frame = frame[~empty]
    names = pd.Index(pd.unique(pd.concat([frame["source"], frame["target"]]).astype(str)))
    identifiers, complexes = _identify(names, annotation)
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
    refs = frame.get("n_references", pd.Series(0.0, index=frame.index)).fillna(0)
    pairs = pairs_of(a, b, role, other, undirected, refs=refs.to_numpy(), origin=frame["row"])
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
    symbol = annotation.symbols("uniprot") if annotation else {}
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
    names: pd.Index, annotation: Annotation | None
) -> tuple[pd.DataFrame, dict[int, list[str]]]:
    """Return identifiers of the ends, and the members of those that are complexes."""
    rows: list[tuple[int, str, str, str]] = []
    complexes: dict[int, list[str]] = {}
    symbols = annotation.of_symbols(("uniprot", "ncbi_entrez_gene", "ensembl_gene")) if (
        annotation is not None
    ) else {}  # fmt: skip
    # Some symbols look like accessions (P2RY11): a table by symbols is read as symbols first.
    accessions = sum(_UNIPROT.match(n) is not None for n in names)
    by_symbol = sum(n in symbols for n in names) >= max(accessions, 1)
    for i, name in enumerate(names):
        if by_symbol and name in symbols:
            rows += _of_symbol(i, symbols[name])
        elif name.startswith("COMPLEX:"):
            complexes[i] = name.removeprefix("COMPLEX:").split("_")
            rows.append((i, "omnipath_complex", name, "BQB_IS"))
            for member in complexes[i]:
                own = [("uniprot", member)] if _UNIPROT.match(member) else symbols.get(member, [])
                rows += [(i, o, x, "BQB_HAS_PART") for o, x in own]
        elif _UNIPROT.match(name):
            rows.append((i, "uniprot", name.split("-")[0], "BQB_IS"))
        elif _MIRBASE.match(name):
            rows.append((i, "mirbase", name, "BQB_IS"))
        elif name.isdigit():
            rows.append((i, "pubchem", name, "BQB_IS"))
        else:
            rows += _of_symbol(i, symbols.get(name, []))
    return identifier_frame(rows), complexes


def _of_symbol(i: int, found: list[tuple[str, str]]) -> list[tuple[int, str, str, str]]:
    return [(i, o, x, "BQB_IS_ENCODED_BY" if o == "ensembl_gene" else "BQB_IS") for o, x in found]


def _complexes(complexes: dict[int, list[str]], names: pd.Index, pairs: Pairs) -> tuple[int, Pairs]:
    """Add member -> complex, reactant to product, for members that interact themselves."""
    used = set(pairs.a) | set(pairs.b)
    place = {str(n): i for i, n in enumerate(names)}
    ends = [
        (place[m], c)
        for c, members in complexes.items()
        for m in dict.fromkeys(members)
        if c in used and m in place
    ]
    if not ends:
        return 0, pairs
    a, b = np.array(ends).T
    more = pairs_of(a, b, "reactant", "product", False, origin=np.zeros(len(a)))
    joined = {k: np.concatenate([v, getattr(more, k)]) for k, v in vars(pairs).items()}
    return len(a), Pairs(**joined)
