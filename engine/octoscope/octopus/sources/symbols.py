"""Identifiers of species that a source names by symbols."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from octoscope.octopus.sources.annotation import Annotation
from octoscope.octopus.sources.record import SourceCounts, identifier_frame

ALIAS = "symbol that is a former or other name of a gene (read as that gene)"


def symbol_identifiers(
    names: Iterable[str],
    annotation: Annotation | None,
    ontologies: tuple[str, ...],
    counts: SourceCounts,
) -> pd.DataFrame:
    """Return the identifiers of species named by symbols; symbols that nothing knows are counted.

    An id of a gene says that the protein is encoded by it, an id of a protein what it is.

    Parameters
    ----------
    ontologies
        Kinds of ids, in order: a gene gets those of the first that it has.
    counts
        Gets notes: symbols without an id, and former symbols.
    """
    known = annotation.of_symbols(ontologies) if annotation else {}
    rows: list[tuple[int, str, str, str]] = []
    unknown = []
    listed = list(names)
    for i, name in enumerate(listed):
        identifiers = known.get(name)
        if identifiers is None:
            unknown.append(name)
            continue
        rows += [(i, o, x, "BQB_IS_ENCODED_BY" if o == "ensembl_gene" else "BQB_IS")
                 for o, x in identifiers]  # fmt: skip
    counts.note("symbol without an id (a vertex of its own)", len(unknown), unknown)
    note_aliases(listed, annotation, counts)
    return identifier_frame(rows)


def note_aliases(names: Iterable[str], annotation: Annotation | None, counts: SourceCounts) -> None:
    """Count the names that are former symbols or other names, and read as the genes they name."""
    stands_for = annotation.aliases if annotation is not None else {}
    former = [f"{n} = {stands_for[n]}" for n in names if n in stands_for]
    counts.note(ALIAS, len(former), former)
