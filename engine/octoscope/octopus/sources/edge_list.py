"""Any edge list of the user's as a source: two columns of ids, and what else it may say."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from octoscope.errors import InputError, warn
from octoscope.octopus.identifiers import ONTOLOGIES, clean_identifier, has_form
from octoscope.octopus.network_schema import ROLE_CODE
from octoscope.octopus.sources.annotation import FEW, Annotation
from octoscope.octopus.sources.edge_columns import (
    mapped_values,
    read_flags,
    read_references,
    read_scores,
    read_signs,
)
from octoscope.octopus.sources.edge_layouts import Layout, column_numbers_of
from octoscope.octopus.sources.mitab import is_mitab, read_mitab
from octoscope.octopus.sources.no_pairs import ADJACENCY, MANY, second_line
from octoscope.octopus.sources.open_text import is_parquet
from octoscope.octopus.sources.published_layouts import layout_of, names_without_header
from octoscope.octopus.sources.record import SourceCounts, SourceRecord, identifier_frame, pairs_of
from octoscope.octopus.sources.symbols import note_aliases
from octoscope.octopus.sources.text import SHORT, first_line, read_frame

ASSUMED = "row whose direction is assumed, as nothing tells it (column directed)"
_MAY_TELL_SIGNS = ("action", "direction", "effect", "interaction", "mode", "mode of regulation",
                   "regulation", "relation", "subtype", "type")  # fmt: skip
_NO_TAXON = ("", "-", "-1", "-2", "-3", "0")  # of chemicals, in vitro, unknown


def read_edge_list(
    path: Path,
    name: str,
    ids: str | None,
    annotation: Annotation | None,
    release: str,
    given: Layout | None = None,
    taxon: str = "9606",
) -> SourceRecord:
    """Read a table (TSV, CSV, Parquet) of pairs.

    The layouts of :mod:`~octoscope.octopus.sources.published_layouts` are known by their columns,
    and PSI-MI TAB by its form. Rows with neither a sign nor an order are taken as directed, with a
    warning, unless the layout tells. Rows that state the same of one pair are joined: distinct
    publications count, and the highest score. Other columns are named in a warning.

    Parameters
    ----------
    ids
        Ontology of both ends: ensembl_gene, ensembl_protein, ncbi_entrez_gene, uniprot, symbol, …
        None: that of the layout, or of ids in a first line without names, else symbol. An end
        written ``ontology:id`` tells its own. Symbols are looked up in the annotation.
    given
        What the user says of the columns.
    taxon
        Organism; rows of another, where a column tells it, are dropped.

    Raises
    ------
    InputError
        If columns are missing, the ontology is unknown, a sign or truth value cannot be read, or a
        score lies outside its range.
    """
    counts, given = SourceCounts(), given or Layout()
    own = given.columns or given.values or given.keep  # else they would be passed over in silence
    if not own and not is_parquet(path) and is_mitab(path):
        return read_mitab(path, name, release, taxon=taxon)
    names = first_line(path)
    known = None if is_parquet(path) else names_without_header(names)
    names = known or names
    layout = layout_of(names, given, second_line(path))
    ids = ids or layout.ids or _ontology_of(names[:2]) or "symbol"
    _require_ontology(path, name, ids, annotation)
    header = False if known else layout.header
    if header is None:
        header = not (len(names) > 1 and all(has_form(ids, n) for n in names[:2]))
    column_numbers = column_numbers_of(path, names, layout, given, header or known is not None)
    if not header:
        how = f"those of {layout.known}" if known else "known by their number"
        counts.note(f"file without a line of names: its columns are {how}", 1)
    frame = _read(path, column_numbers, header, counts)
    short = counts.dropped.get(SHORT, 0)
    if not header and not known and short > MANY * counts.read:
        seen = f"has {len(names)} fields, and {short:,} of {counts.read:,} rows have another number"
        raise InputError(f"{path}: line 1", seen, ADJACENCY)
    for role in frame.columns.intersection(list(layout.values)):
        frame[role] = mapped_values(frame[role], layout.values[role])
    frame = _rows_of(frame, layout, taxon, counts)
    a, b, texts, identifiers = _ends(path, name, frame, ids, annotation, counts)
    frame = frame[(a >= 0) & (b >= 0)]
    a, b = a[(a >= 0) & (b >= 0)], b[(a >= 0) & (b >= 0)]
    sign_name = "sign"
    if "sign" in column_numbers and "sign" not in given.columns:
        sign_name = names[column_numbers["sign"]].casefold()
    unread = counts.unread.copy()
    score = read_scores(path, frame, layout.score_max)
    sign, directed = _signs_and_orders(path, frame, layout, sign_name, counts)
    _warn(path, [] if layout.known else unread, counts, signed="sign" in column_numbers)
    edges = (a, b, sign, directed)
    return _record(path, name, release, frame, edges, score, texts, identifiers, counts)


def _signs_and_orders(
    path: Path, frame: pd.DataFrame, layout: Layout, sign_name: str, counts: SourceCounts
) -> tuple[np.ndarray, np.ndarray]:
    """Return [rows] signs, and whether a row has an order.

    Parameters
    ----------
    sign_name
        What the column of signs is called.
    """
    sign = read_signs(path, frame, counts, sign_name)
    none = np.full(len(frame), -1, np.int8)
    stated, up, down = (
        read_flags(path, frame, c) if c in frame else none
        for c in ("directed", "stimulation", "inhibition")
    )
    # what stimulates and inhibits has an order, and no one sign
    both = (up == 1) & (down == 1) & ("sign" not in frame)
    not_stated = (stated < 0) & (sign == 0) & ~both
    if layout.directed is None:
        counts.note(ASSUMED, int(not_stated.sum()))
    return sign, (stated == 1) | (sign != 0) | both | (not_stated & (layout.directed is not False))


def _read(
    path: Path, column_numbers: dict[str, int], header: bool, counts: SourceCounts
) -> pd.DataFrame:
    """Return a column per role; two roles may be told by one column of the file."""
    at = {f"column {i}": i for i in sorted(set(column_numbers.values()))}
    columns = dict.fromkeys(at, pa.string())
    frame = read_frame(path, columns, counts, header=header, column_numbers=at)
    roles = {role: frame[f"column {i}"] for role, i in column_numbers.items()}
    return pd.DataFrame(roles | {"row": frame["row"]})


def _rows_of(frame: pd.DataFrame, layout: Layout, taxon: str, counts: SourceCounts) -> pd.DataFrame:
    """Return the rows to read: both ends there, of the organism, and of the values to keep."""
    empty = frame[["source", "target"]].isna().any(axis=1)
    counts.drop("without a source or target", int(empty.sum()))
    frame = frame[~empty]
    for column, values in layout.keep.items():
        text = frame[f"keep {column}"].fillna("").astype(str).str.casefold()
        wrong = ~text.isin([str(v).casefold() for v in values])
        counts.drop(f"{column} is not {' or '.join(map(str, values))}", int(wrong.sum()),
                    frame[f"keep {column}"][wrong].unique())  # fmt: skip
        frame = frame[~wrong]
    for role in ("taxon", "source_taxon", "target_taxon"):
        if role in frame:
            organism = frame[role].fillna("").astype(str).str.extract(r"(-?\d+)")[0].fillna("")
            other = ~organism.isin([taxon, *_NO_TAXON])
            counts.drop(f"an end of another organism than {taxon}", int(other.sum()),
                        organism[other].unique())  # fmt: skip
            frame = frame[~other]
    if layout.remark is not None and f"keep {layout.remark[0]}" in frame:
        column, value, remark = layout.remark
        counts.note(remark, int((frame[f"keep {column}"] == value).sum()))
    return frame


def _ends(
    path: Path, name: str, frame: pd.DataFrame, ids: str, annotation: Annotation | None,
    counts: SourceCounts,
) -> tuple[np.ndarray, np.ndarray, list[str], pd.DataFrame]:  # fmt: skip
    """Return [rows] species of both ends (-1: no known id), their names and identifiers."""
    kinds = [
        frame[f"{end}_ids"].fillna("") if f"{end}_ids" in frame else pd.Series(ids, frame.index)
        for end in ("source", "target")
    ]
    keys = [k.astype(str) + "\t" + frame[e] for k, e in zip(kinds, ("source", "target"),
                                                            strict=True)]  # fmt: skip
    distinct = pd.Index(pd.unique(pd.concat(keys)))
    typed = [tuple(k.split("\t", 1)) for k in distinct]
    texts = [t for _, t in typed]
    identifiers = _identifiers(typed, annotation)
    note_aliases([t for k, t in typed if k == "symbol"], annotation, counts)
    known = np.zeros(len(distinct), bool)
    known[identifiers["species"].to_numpy(int)] = True
    unknown = [t for t, k in zip(texts, known, strict=True) if not k]
    if len(known) and not known.any():
        symbols = annotation.of_symbols(("ensembl_gene",)) if annotation is not None else {}
        seen = _ontology_of(texts) or ("symbol" if any(t in symbols for t in texts) else None)
        capitals = next((t for t in texts if t.upper() in symbols and ids == "symbol"), None)
        organism = "or give the annotation of their organism" if capitals is None else (
            f"as {capitals.upper()!r} is known: symbols of mouse need its annotation, others the "
            "case that they have in the annotation"
        )  # fmt: skip
        fix = f"set ids of {name} to their ontology, {organism}"
        if seen and seen != ids:
            fix = f"set ids: {seen} for {name}"
        elif unknown[0].upper().startswith("HGNC:"):
            fix = "ids of HGNC are not read: give symbols or Ensembl ids, which HGNC's table has"
        raise InputError(
            f"{path}: source, target",
            f"none of its {len(known):,} ids is a known {ids}, for example not {unknown[0]!r}", fix,
        )  # fmt: skip
    if 0 < known.sum() < FEW * len(known):
        warn(f"{path}: only {int(known.sum()):,} of {len(known):,} ids are a known {ids}, for "
             f"example not {unknown[0]!r}; check the field ids of {name}")  # fmt: skip
    a, b = (distinct.get_indexer(pd.Index(k)) for k in keys)
    mapped = known[a] & known[b] if len(frame) else np.zeros(0, bool)
    counts.drop(f"an end is no known {ids}", int((~mapped).sum()), unknown)
    return np.where(mapped, a, -1), np.where(mapped, b, -1), texts, identifiers


def _ontology_of(texts: list[str]) -> str | None:
    """Return the ontology whose form most of some ids have; bare numbers have none."""
    named = [t for t in texts if ":" in t]  # a number that its database stands before
    kinds = ("ensembl_gene", "ensembl_protein", "ensembl_transcript", "uniprot", "ncbi_entrez_gene")
    of = {k: named if k == "ncbi_entrez_gene" else texts for k in kinds}
    likely = (k for k in kinds if 2 * sum(has_form(k, t) for t in of[k]) > len(texts))
    return next(likely, None) if len(texts) > 1 else None


def _identifiers(typed: Iterable[tuple[str, ...]], annotation: Annotation | None) -> pd.DataFrame:
    of_symbol = annotation.of_symbols(("ncbi_entrez_gene", "ensembl_gene", "uniprot")) if (
        annotation is not None
    ) else {}  # fmt: skip
    rows: list[tuple[int, str, str, str]] = []
    for i, (kind, text) in enumerate(typed):
        prefix, colon, rest = text.partition(":")
        if colon and prefix in ONTOLOGIES:  # as our own exports name vertices without a gene
            kind, text = prefix, rest.partition("#")[0]
        if kind == "symbol":
            rows += [(i, o, x, "BQB_IS_ENCODED_BY") for o, x in of_symbol.get(text.strip(), [])]
            continue
        value = clean_identifier(kind, text) if kind in ONTOLOGIES else None
        if value:
            rows.append((i, kind, value,
                         "BQB_IS_ENCODED_BY" if kind == "ensembl_gene" else "BQB_IS"))  # fmt: skip
    return identifier_frame(rows)


def _record(
    path: Path, name: str, release: str, frame: pd.DataFrame, edges: tuple[np.ndarray, ...],
    score: np.ndarray | None, texts: list[str], identifiers: pd.DataFrame, counts: SourceCounts,
) -> SourceRecord:  # fmt: skip
    """Join rows that state the same of one pair into one statement."""
    a, b, sign, directed = edges
    swap = ~directed & (a > b)
    a, b = np.where(swap, b, a), np.where(swap, a, b)
    rows = pd.DataFrame({"a": a, "b": b, "sign": sign, "directed": directed,
                         "row": frame["row"].to_numpy(),
                         "score": np.nan if score is None else score})  # fmt: skip
    grouped = rows.groupby(["a", "b", "sign", "directed"], sort=False)
    first = grouped.agg(row=("row", "min"), score=("score", "max")).reset_index()
    refs = read_references(frame, grouped.ngroup().to_numpy())
    counts.kept, counts.merged = len(first), len(rows) - len(first)
    role = np.select(
        [first["sign"] > 0, first["sign"] < 0, first["directed"]],
        [ROLE_CODE[r] for r in ("stimulator", "inhibitor", "modifier")],
        ROLE_CODE["interactor"],
    )
    other = np.where(first["directed"], ROLE_CODE["modified"], ROLE_CODE["interactor"])
    return SourceRecord(
        name, release, texts, identifiers,
        pairs_of(first["a"].to_numpy(), first["b"].to_numpy(), role, other,
                 ~first["directed"].to_numpy(bool), origin=first["row"].to_numpy(),
                 score=None if score is None else first["score"].to_numpy(), refs=refs),
        files=[path], file_names=[path.name], counts=counts,
    )  # fmt: skip


def _require_ontology(path: Path, name: str, ids: str, annotation: Annotation | None) -> None:
    where = f"{path}: sources.edge_lists: {name}: ids"
    if ids not in ONTOLOGIES:
        near = difflib.get_close_matches(ids, ONTOLOGIES, 1, 0.4)
        near = ["symbol"] if "symbol" in ids.lower() else near
        hint = f"write {near[0]}, or another" if near else "write one"
        raise InputError(
            where, f"no ontology {ids!r} is known", f"{hint} of {', '.join(ONTOLOGIES)}"
        )
    if ids == "symbol" and annotation is None:
        raise InputError(where, "symbols need an annotation, and the build names none",
                         "add annotation: {path: …}, a table of symbols and gene ids")  # fmt: skip


def _warn(path: Path, unread: list[str], counts: SourceCounts, *, signed: bool) -> None:
    if unread:
        signs = next((f'. If {c!r} tells signs, write columns: {{sign: "{c}"}}' for c in unread
                      if c.casefold() in _MAY_TELL_SIGNS and not signed), "")  # fmt: skip
        warn(f"{path}: columns that are not read: {', '.join(unread)[:300]}{signs}")
    short = counts.dropped.get(SHORT)
    if short:
        warn(f"{path}: {short:,} rows have another number of fields and are left out (SIF: give "
             "each target a row of its own)")  # fmt: skip
    assumed = counts.noted.get(ASSUMED)
    if assumed:
        warn(f"{path}: no column tells the direction of {assumed:,} rows; they are taken as "
             "directed. Add a column directed (true, false), or directed: false for the whole "
             "list")  # fmt: skip
