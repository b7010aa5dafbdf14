"""Gene annotation: which gene, transcript, protein ids and symbols are one gene ("dogma")."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from octoscope.errors import InputError
from octoscope.octopus.sources.record import SourceCounts, SourceRecord, identifier_frame

FEW = 0.1  # share of matches below which ids do not fit each other
_QUALIFIER = {
    "uniprot": "BQB_IS",
    "ensembl_protein": "BQB_IS",
    "ensembl_gene": "BQB_IS_ENCODED_BY",
    "ensembl_transcript": "BQB_IS_ENCODED_BY",
    "ncbi_entrez_gene": "BQB_IS_ENCODED_BY",
}


@dataclass
class Annotation:
    """Rows ``gene`` (number), ``ontology``, ``identifier``.

    Symbols are the ontology ``symbol``; former symbols and other names of a gene are ``alias``.
    """

    table: pd.DataFrame
    files: list[Path] = field(default_factory=list)
    counts: SourceCounts = field(default_factory=SourceCounts)

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Alias or former symbol -> the symbol that it stands for.

        An alias that is some gene's symbol, or that genes of several symbols have, stands for
        none.
        """
        symbols = self.table[self.table["ontology"] == "symbol"][["gene", "identifier"]]
        alias = self.table[self.table["ontology"] == "alias"][["gene", "identifier"]]
        alias = alias[~alias["identifier"].isin(symbols["identifier"])]
        both = alias.merge(symbols, on="gene", suffixes=("", "_symbol"))
        both = both.drop_duplicates(["identifier", "identifier_symbol"])
        both = both.drop_duplicates("identifier", keep=False)
        return dict(zip(both["identifier"], both["identifier_symbol"], strict=True))

    def of_symbols(self, ontologies: tuple[str, ...]) -> dict[str, list[tuple[str, str]]]:
        """Return symbol or alias -> (ontology, identifier), the first ontology that a gene has."""
        symbols = self.table[self.table["ontology"] == "symbol"][["gene", "identifier"]]
        out: dict[str, list[tuple[str, str]]] = {}
        for ontology in ontologies:
            ids = self.table[self.table["ontology"] == ontology][["gene", "identifier"]]
            both = symbols.merge(ids, on="gene", suffixes=("_symbol", ""))
            ids_of = both.groupby("identifier_symbol", sort=False)["identifier"].unique()
            for symbol, values in ids_of.items():
                if symbol not in out:
                    out[str(symbol)] = [(ontology, v) for v in values]
        return out | {a: out[s] for a, s in self.aliases.items() if s in out}

    def symbols(self, ontology: str) -> dict[str, str]:
        """Return identifier -> symbol of its gene, for the ids of one ontology."""
        symbols = self.table[self.table["ontology"] == "symbol"][["gene", "identifier"]]
        ids = self.table[self.table["ontology"] == ontology][["gene", "identifier"]]
        both = ids.merge(symbols, on="gene", suffixes=("", "_symbol"))
        both = both.drop_duplicates("identifier")
        return dict(zip(both["identifier"], both["identifier_symbol"], strict=True))


def require_organism(record: SourceRecord, annotation: Annotation, ontology: str) -> None:
    """Refuse a source hardly any of whose species the annotation knows.

    Parameters
    ----------
    ontology
        ``symbol``: the species' names are symbols. Otherwise its identifiers of that ontology are
        looked at; a source without any, or an annotation without any, is not judged.

    Raises
    ------
    InputError
        If fewer than one in ten is known: the files are of another organism.
    """
    table = annotation.table
    known = set(table["identifier"][table["ontology"] == ontology])
    if ontology == "symbol":
        known |= set(annotation.aliases)
        stated = set(record.species)
    else:
        ids = record.identifiers
        own = (ids["ontology"] == ontology) & (ids["bqb"] == "BQB_IS")
        stated = set(ids["identifier"][own])
    n_known = len(stated & known)
    if known and stated and n_known < FEW * len(stated):
        raise InputError(
            str(record.files[0]),
            f"the annotation knows {n_known} of {len(stated)} {ontology} of {record.name}, for "
            f"example not {sorted(stated - known)[0]!r}",
            "give source and annotation of one organism",
        )


def dogma(annotation: Annotation, release: str, *, proteins_only: bool = False) -> SourceRecord:
    """Return the annotation as a source that states species but no reaction.

    A species is a gene with all of its ids. Of a gene without a protein, its gene ids of two kinds
    are joined: lists name a long non-coding RNA by its symbol, and an annotation knows it by an
    Entrez id and an Ensembl id.

    Parameters
    ----------
    proteins_only
        Leave out genes without a protein id, as the peer does.
    """
    table = annotation.table[annotation.table["ontology"] != "alias"]
    ids = table[table["ontology"] != "symbol"]
    protein = ids[ids["ontology"].isin(["uniprot", "ensembl_protein"])]
    n_kinds = ids.groupby("gene")["ontology"].nunique()
    joining = set(protein["gene"]) | (set() if proteins_only else set(n_kinds.index[n_kinds > 1]))
    genes = np.array(sorted(joining), np.int64)
    counts = SourceCounts(read=table["gene"].nunique(), kept=len(genes))
    why = "gene without a protein id" if proteins_only else "gene with ids of one kind"
    counts.drop(why, counts.read - counts.kept)
    kept = table[table["gene"].isin(genes)]
    position = np.searchsorted(genes, kept["gene"].to_numpy())
    symbol = kept["ontology"] == "symbol"
    every = pd.concat([protein, ids]).drop_duplicates("gene")
    names = [str(x) for x in every.set_index("gene")["identifier"].reindex(genes)]  # if no symbol
    for at, name in zip(position[symbol][::-1], kept["identifier"][symbol][::-1], strict=True):
        names[at] = name
    rows = kept[~symbol]
    identifiers = pd.DataFrame(
        {
            "species": position[~symbol],
            "ontology": rows["ontology"].to_numpy(),
            "identifier": rows["identifier"].to_numpy(),
            "bqb": rows["ontology"].map(_QUALIFIER).to_numpy(),
        }
    )
    return SourceRecord(
        "Dogma", release, names, identifiers if len(identifiers) else identifier_frame([]),
        files=annotation.files, counts=counts,
    )  # fmt: skip
