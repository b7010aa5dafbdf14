"""Gene annotation: which gene, transcript, protein ids and symbols are one gene ("dogma")."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from octoscope.errors import InputError
from octoscope.octopus.components import components
from octoscope.octopus.sources.record import SourceCounts, SourceRecord, identifier_frame
from octoscope.octopus.sources.text import delimiter_of, header_names, open_binary, stream_table

# Column of a table -> ontology; the first name is the one asked for.
COLUMNS = {
    "ncbi_entrez_gene": ("ncbi_entrez_gene", "entrez", "entrez_id", "gene_id"),
    "ensembl_gene": ("ensembl_gene", "ensg", "ensembl_gene_id"),
    "ensembl_transcript": ("ensembl_transcript", "enst"),
    "ensembl_protein": ("ensembl_protein", "ensp"),
    "uniprot": ("uniprot", "uniprot_ids"),
    "symbol": ("symbol", "gene_symbol"),
}
FEW = 0.1  # share of matches below which ids do not fit each other
_QUALIFIER = {
    "uniprot": "BQB_IS",
    "ensembl_protein": "BQB_IS",
    "ensembl_gene": "BQB_IS_ENCODED_BY",
    "ensembl_transcript": "BQB_IS_ENCODED_BY",
    "ncbi_entrez_gene": "BQB_IS_ENCODED_BY",
}
# Tables of Bioconductor's org.Hs.eg.sqlite: name, column, ontology.
_ORG = (
    ("genes", "gene_id", "ncbi_entrez_gene"),
    ("ensembl", "ensembl_id", "ensembl_gene"),
    ("ensembl_trans", "trans_id", "ensembl_transcript"),
    ("ensembl_prot", "prot_id", "ensembl_protein"),
    ("uniprot", "uniprot_id", "uniprot"),
    ("gene_info", "symbol", "symbol"),
)


@dataclass
class Annotation:
    """Rows ``gene`` (number), ``ontology``, ``identifier``; symbols are an ontology too."""

    table: pd.DataFrame
    files: list[Path] = field(default_factory=list)
    counts: SourceCounts = field(default_factory=SourceCounts)

    def of_symbols(self, ontologies: tuple[str, ...]) -> dict[str, list[tuple[str, str]]]:
        """Return symbol -> (ontology, identifier), the first ontology that the gene has."""
        symbols = self.table[self.table["ontology"] == "symbol"][["gene", "identifier"]]
        out: dict[str, list[tuple[str, str]]] = {}
        for ontology in ontologies:
            ids = self.table[self.table["ontology"] == ontology][["gene", "identifier"]]
            both = symbols.merge(ids, on="gene", suffixes=("_symbol", ""))
            found = both.groupby("identifier_symbol", sort=False)["identifier"].unique()
            for symbol, values in found.items():
                if symbol not in out:
                    out[str(symbol)] = [(ontology, v) for v in values]
        return out

    def symbols(self, ontology: str) -> dict[str, str]:
        """Return identifier -> symbol of its gene, for the ids of one ontology."""
        symbols = self.table[self.table["ontology"] == "symbol"][["gene", "identifier"]]
        ids = self.table[self.table["ontology"] == ontology][["gene", "identifier"]]
        both = ids.merge(symbols, on="gene", suffixes=("", "_symbol"))
        both = both.drop_duplicates("identifier")
        return dict(zip(both["identifier"], both["identifier_symbol"], strict=True))


def read_annotation(path: Path) -> Annotation:
    """Read a table (TSV, CSV, Parquet) or Bioconductor's ``org.Hs.eg.sqlite``.

    A table has one row per gene or per combination of ids, with any two of the columns
    ncbi_entrez_gene, ensembl_gene, ensembl_transcript, ensembl_protein, uniprot, symbol; a cell
    may hold several ids joined by ``;``.

    Raises
    ------
    InputError
        If fewer than two such columns are there, or the file cannot be read.
    """
    if path.suffix == ".sqlite":
        return Annotation(_sqlite(path), [path])
    counts = SourceCounts()
    delimiter = delimiter_of(path)
    found = _columns(path, delimiter)
    parts: list[pd.DataFrame] = []
    row = 0
    wanted = {c: pa.string() for c in found.values()}
    for batch in stream_table(path, wanted, counts, delimiter=delimiter):
        number = np.arange(row, row + batch.num_rows)
        row += batch.num_rows
        for ontology, column in found.items():
            values = batch[column].to_pandas().astype(object)
            part = pd.DataFrame({"gene": number, "identifier": values}).dropna()
            part["identifier"] = part["identifier"].astype(str).str.split(";")
            part = part.explode("identifier")
            part["identifier"] = part["identifier"].str.strip()
            if ontology.startswith("ensembl_"):
                part["identifier"] = part["identifier"].str.replace(r"\.\d+$", "", regex=True)
            part.insert(1, "ontology", ontology)
            parts.append(part[part["identifier"] != ""])
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if table.empty:
        raise InputError(str(path), "has no ids", "give a table of genes")
    counts.kept = table["gene"].nunique()
    counts.drop("row without any id", counts.read - counts.kept)
    return Annotation(_joined(table), [path], counts)


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
        asked = set(record.species)
    else:
        ids = record.identifiers
        own = (ids["ontology"] == ontology) & (ids["bqb"] == "BQB_IS")
        asked = set(ids["identifier"][own])
    found = len(asked & known)
    if known and asked and found < FEW * len(asked):
        raise InputError(
            str(record.files[0]),
            f"the annotation knows {found} of {len(asked)} {ontology} of {record.name}, for "
            f"example not {sorted(asked - known)[0]!r}",
            "give source and annotation of one organism",
        )


def _joined(table: pd.DataFrame) -> pd.DataFrame:
    """Give rows of one gene one number: rows that share a protein, gene or Entrez id."""
    ids = table[table["ontology"].isin(["ncbi_entrez_gene", "uniprot", "ensembl_protein"])]
    if ids.empty:
        ids = table[table["ontology"] == "ensembl_gene"]
    n = int(table["gene"].max()) + 1
    label = components(n, ids["gene"].to_numpy(), (ids["ontology"] + ":" + ids["identifier"]))
    out = table.assign(gene=label[table["gene"].to_numpy()])
    return out.drop_duplicates(ignore_index=True)


def _columns(path: Path, delimiter: str) -> dict[str, str]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        try:
            names = pq.read_schema(path).names
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(str(path), f"cannot be read ({error})", "get it again") from None
    else:
        with open_binary(path) as handle:
            names = header_names(handle.readline(1 << 20), delimiter, str(path))
    found = {
        ontology: next(a for a in aliases if a in names)
        for ontology, aliases in COLUMNS.items()
        if any(a in names for a in aliases)
    }
    if len(found) < 2:
        raise InputError(
            f"{path}: line 1",
            f"needs two of {', '.join(COLUMNS)}; found {', '.join(names)[:200]}",
            "name the columns so",
        )
    return found


def _sqlite(path: Path) -> pd.DataFrame:
    parts = []
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            for name, column, ontology in _ORG:
                rows = connection.execute(f"SELECT _id, {column} FROM {name}").fetchall()
                parts.append(
                    pd.DataFrame(rows, columns=["gene", "identifier"]).assign(ontology=ontology)
                )
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise InputError(str(path), f"cannot be read ({error})", "give org.Hs.eg.sqlite") from None
    table = pd.concat(parts, ignore_index=True).dropna()
    return table[["gene", "ontology", "identifier"]].astype({"identifier": str})


def dogma(annotation: Annotation, release: str) -> SourceRecord:
    """Return the annotation as a source that states species but no reaction.

    A species is a connected set of Entrez genes and proteins, as in the peer; genes without a
    protein id are left out of it.
    """
    table = annotation.table
    protein = table[table["ontology"].isin(["uniprot", "ensembl_protein"])]
    coding = np.sort(protein["gene"].unique())
    counts = SourceCounts(read=table["gene"].nunique(), kept=len(coding))
    counts.drop("gene without a protein id", counts.read - counts.kept)
    kept = table[table["gene"].isin(coding)]
    place = np.searchsorted(coding, kept["gene"].to_numpy())
    symbol = kept["ontology"] == "symbol"
    first = protein.drop_duplicates("gene").set_index("gene")["identifier"]
    names = [str(x) for x in first.reindex(coding)]  # for genes without a symbol
    for at, name in zip(place[symbol][::-1], kept["identifier"][symbol][::-1], strict=True):
        names[at] = name
    rows = kept[~symbol]
    identifiers = pd.DataFrame(
        {
            "species": place[~symbol],
            "ontology": rows["ontology"].to_numpy(),
            "identifier": rows["identifier"].to_numpy(),
            "bqb": rows["ontology"].map(_QUALIFIER).to_numpy(),
        }
    )
    return SourceRecord(
        "Dogma", release, names, identifiers if len(identifiers) else identifier_frame([]),
        files=annotation.files, counts=counts,
    )  # fmt: skip
