"""Files of gene annotation: BioMart, HGNC, NCBI, mygene, org.Hs.eg, or a table of one's own."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from octoscope.errors import InputError
from octoscope.octopus.identifiers import clean_identifier, joined_by_key
from octoscope.octopus.sources.annotation import Annotation
from octoscope.octopus.sources.open_text import begins_with
from octoscope.octopus.sources.record import SourceCounts
from octoscope.octopus.sources.text import first_line, stream_table

# Ontology -> names of its columns, in lower case; the first is the one asked for. `alias` are
# former symbols and other names of a gene. All columns that are there are read.
COLUMNS = {
    "ncbi_entrez_gene": (
        "ncbi_entrez_gene", "entrez", "entrez_id", "gene_id", "entrezid", "entrezgene",
        "entrezgene_id", "geneid", "ncbi gene id", "ncbi gene (formerly entrezgene) id",
        "ncbi gene id(supplied by ncbi)", "entrez gene id", "entrez gene id(supplied by ncbi)",
    ),
    "ensembl_gene": (
        "ensembl_gene", "ensg", "ensembl_gene_id", "ensembl_id", "ensembl", "ensembl.gene",
        "gene stable id", "gene stable id version", "ensembl_gene_id_version", "ensembl gene id",
        "ensembl id(supplied by ensembl)", "dbxrefs",
    ),
    "ensembl_transcript": (
        "ensembl_transcript", "enst", "ensembl_transcript_id", "ensembltrans",
        "ensembl.transcript", "transcript stable id", "transcript stable id version",
        "ensembl_transcript_id_version", "transcript_id",
    ),
    "ensembl_protein": (
        "ensembl_protein", "ensp", "ensembl_peptide_id", "ensembl_protein_id", "ensemblprot",
        "ensembl.protein", "protein stable id", "protein stable id version",
        "ensembl_peptide_id_version", "protein_id",
    ),
    "uniprot": (
        "uniprot", "uniprot_ids", "uniprot_id", "uniprotkb", "uniprotkb/swiss-prot id",
        "uniprotkb/trembl id", "uniprotswissprot", "uniprotsptrembl", "uniprot.swiss-prot",
        "uniprot.trembl", "uniprot id(supplied by uniprot)", "uniprot_accession",
    ),
    "symbol": (
        "symbol", "gene_symbol", "gene name", "gene_name", "hgnc symbol", "hgnc_symbol",
        "mgi symbol", "mgi_symbol", "external_gene_name", "approved symbol",
    ),
    "alias": (
        "alias", "aliases", "alias_symbol", "alias symbol", "alias symbols", "prev_symbol",
        "previous symbol", "previous symbols", "gene synonym", "external_synonym",
        "external_gene_synonym", "synonym", "synonyms",
    ),
}  # fmt: skip
_OF_COLUMN = {name: ontology for ontology, names in COLUMNS.items() for name in names}
_ONTOLOGY_COLUMNS = [ontology for ontology in COLUMNS if ontology != "alias"]
# Tables of Bioconductor's org.Hs.eg.sqlite: name, column, ontology.
_ORG = (
    ("genes", "gene_id", "ncbi_entrez_gene"),
    ("ensembl", "ensembl_id", "ensembl_gene"),
    ("ensembl_trans", "trans_id", "ensembl_transcript"),
    ("ensembl_prot", "prot_id", "ensembl_protein"),
    ("uniprot", "uniprot_id", "uniprot"),
    ("gene_info", "symbol", "symbol"),
    ("alias", "alias_symbol", "alias"),
)
# Ids in a cell: Ensembl's are found anywhere in it (lists, dbXrefs); others stand between these.
_ENSEMBL = {
    "ensembl_gene": r"ENS[A-Z]*G\d+",
    "ensembl_transcript": r"ENS[A-Z]*T\d+",
    "ensembl_protein": r"ENS[A-Z]*P\d+",
}
_BETWEEN = re.compile(r"[;|,]|///")
_ROUND = " \t\"'[]"


def read_annotation(path: Path) -> Annotation:
    """Read a table (TSV, CSV, Parquet) or Bioconductor's ``org.Hs.eg.sqlite``.

    A table has one row per gene or per combination of ids, with two of the columns of
    :data:`COLUMNS`, of which one is an id; a cell may hold several ids, joined by ``;``, ``|`` or
    ``,``. Ids lose versions and isoforms; those without the form of their column are left out and
    counted.

    Raises
    ------
    InputError
        If fewer than two such columns are there, or the file cannot be read.
    """
    counts = SourceCounts()
    if begins_with(path, b"SQLite format 3") or path.suffix == ".sqlite":
        table = _cleaned(_sqlite(path), counts)
        counts.read = counts.kept = int(table["gene"].nunique())
        return Annotation(table, [path], counts)
    ontology_of = _columns(path)
    parts: list[pd.DataFrame] = []
    row = 0
    for batch in stream_table(path, dict.fromkeys(ontology_of, pa.string()), counts):
        number = np.arange(row, row + batch.num_rows)
        row += batch.num_rows
        for column, ontology in ontology_of.items():
            values = batch[column].to_pandas().astype(object)
            part = pd.DataFrame({"gene": number, "identifier": values}).dropna()
            text = part["identifier"].astype(str)
            form = _ENSEMBL.get(ontology)
            part["identifier"] = text.str.findall(form) if form else text.str.split(_BETWEEN)
            part = part.explode("identifier").dropna()
            part.insert(1, "ontology", ontology)
            parts.append(part)
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    table = _cleaned(table, counts) if len(table) else table
    if table.empty:
        raise InputError(str(path), "has no ids", "give a table of genes")
    counts.kept = int(table["gene"].nunique())
    counts.drop("row without any id", counts.read - counts.kept)
    return Annotation(_joined(table), [path], counts)


def _cleaned(table: pd.DataFrame, counts: SourceCounts) -> pd.DataFrame:
    """Return the ids in the form of their ontology; what has it not is left out and counted."""
    distinct = table[["ontology", "identifier"]].drop_duplicates()
    clean: dict[tuple[str, str], tuple[str, str | None]] = {}
    for ontology, text in distinct.itertuples(index=False):
        plain = str(text).strip(_ROUND)
        identifier = None if plain in ("", "-") else clean_identifier(_form(ontology), plain)
        gene = clean_identifier("ensembl_gene", plain) if identifier is None else None
        if ontology == "ncbi_entrez_gene" and gene:  # a column gene_id may hold Ensembl's
            clean[ontology, text] = "ensembl_gene", gene
        else:
            clean[ontology, text] = ontology, identifier
            if identifier is None and plain not in ("", "-"):
                counts.note(f"text that is no {ontology} (not read)", 1, [plain])
    keys = list(zip(table["ontology"], table["identifier"], strict=True))
    out = table.assign(ontology=[clean[k][0] for k in keys])
    out["identifier"] = [clean[k][1] for k in keys]
    return out.dropna().drop_duplicates(ignore_index=True)


def _form(ontology: str) -> str:
    return "symbol" if ontology == "alias" else ontology


def _joined(table: pd.DataFrame) -> pd.DataFrame:
    """Give rows of one gene one number: rows that share a protein, gene or Entrez id."""
    ids = table[table["ontology"].isin(["ncbi_entrez_gene", "uniprot", "ensembl_protein"])]
    if ids.empty:
        ids = table[table["ontology"] == "ensembl_gene"]
    n = int(table["gene"].max()) + 1
    label = joined_by_key(n, ids["gene"].to_numpy(), (ids["ontology"] + ":" + ids["identifier"]))
    out = table.assign(gene=label[table["gene"].to_numpy()])
    return out.drop_duplicates(ignore_index=True)


def _columns(path: Path) -> dict[str, str]:
    """Return column of the file -> ontology."""
    names = first_line(path)
    ontology_of = {n: _OF_COLUMN[n.casefold()] for n in names if n.casefold() in _OF_COLUMN}
    if len(set(ontology_of.values()) - {"alias"}) < 2:
        raise InputError(
            f"{path}: line 1",
            f"needs two of {', '.join(_ONTOLOGY_COLUMNS)}; found {', '.join(names)[:200]}",
            "name the columns so, or export them from BioMart, HGNC or org.Hs.eg",
        )
    return ontology_of


def _sqlite(path: Path) -> pd.DataFrame:
    parts = []
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            tables = {n for (n,) in connection.execute("SELECT name FROM sqlite_master")}
            for name, column, ontology in _ORG:
                if name not in tables and name != "genes":  # organisms differ in their tables
                    continue
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
