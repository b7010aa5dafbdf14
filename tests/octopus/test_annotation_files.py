"""Gene annotation as BioMart, HGNC, NCBI, mygene and Bioconductor write it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from octoscope.errors import InputError, OctoscopeWarning
from octoscope.octopus.name_lookup import with_names
from octoscope.octopus.network import open_network
from octoscope.octopus.reading_notes import reading_notes
from octoscope.octopus.sources.annotation_files import read_annotation
from octoscope.octopus.sources.symbols import ALIAS

from tests.octopus.conftest import build_from

N = 6
GENES = pd.DataFrame(
    {
        "symbol": [f"GNX{i}" for i in range(N)],
        "alias": [f"ALT{i}" for i in range(N)],
        "former": [f"OLD{i}" for i in range(N)],
        "ensg": [f"ENSG00000990{i:03d}" for i in range(N)],
        "enst": [f"ENST00000990{i:03d}" for i in range(N)],
        "ensp": [f"ENSP00000990{i:03d}" for i in range(N)],
        "uniprot": [f"Q9ZA{i:02d}" for i in range(N)],
        "trembl": [f"A0A0Z9ZA{i:02d}" for i in range(N)],
        "entrez": [str(990000 + i) for i in range(N)],
    }
)


def table(**columns: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        frame = pd.DataFrame({name: GENES[column] for name, column in columns.items()})
        frame.to_csv(folder / "genes.txt", sep="\t", index=False)
        return folder / "genes.txt"

    return write


def csv(**columns: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        frame = pd.read_csv(table(**columns)(folder), sep="\t", dtype=str)
        frame.to_csv(folder / "mart_export.txt", index=False)
        return folder / "mart_export.txt"

    return write


def hgnc(folder: Path) -> Path:
    """The complete set: cells of several values are joined by bars and quoted, others are not."""
    lines = ["hgnc_id\tsymbol\talias_symbol\tprev_symbol\tentrez_id\tensembl_gene_id\tuniprot_ids"]
    lines += [
        f'HGNC:{i}\t{r.symbol}\t"{r.alias}|ALSO{i}"\t{r.former}\t{r.entrez}\t{r.ensg}'
        f'\t"{r.uniprot}|{r.trembl}"'
        for i, r in enumerate(GENES.itertuples())
    ]
    path = folder / "hgnc_complete_set.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def ncbi(folder: Path) -> Path:
    frame = pd.DataFrame(
        {
            "#tax_id": "9606",
            "GeneID": GENES["entrez"],
            "Symbol": GENES["symbol"],
            "Synonyms": GENES["alias"] + "|" + GENES["former"],
            "dbXrefs": "MIM:1|HGNC:HGNC:5|Ensembl:" + GENES["ensg"] + "|AllianceGenome:HGNC:5",
        }
    )
    frame.loc[0, "Synonyms"] = "-"
    frame.to_csv(folder / "Homo_sapiens.gene_info", sep="\t", index=False)
    return folder / "Homo_sapiens.gene_info"


def sqlite(folder: Path) -> Path:
    path = folder / "org.Hs.eg.sqlite"
    connection = sqlite3.connect(path)
    tables = {
        ("genes", "gene_id"): "entrez", ("ensembl", "ensembl_id"): "ensg",
        ("ensembl_prot", "prot_id"): "ensp", ("uniprot", "uniprot_id"): "uniprot",
        ("gene_info", "symbol"): "symbol", ("alias", "alias_symbol"): "alias",
    }  # fmt: skip
    for (name, column), values in tables.items():
        connection.execute(f"CREATE TABLE {name}(_id INTEGER, {column} TEXT)")
        rows = list(enumerate(GENES[values], 1))
        if name == "alias":  # Bioconductor lists the symbol among the aliases
            rows += list(enumerate(GENES["symbol"], 1)) + list(enumerate(GENES["former"], 1))
        connection.executemany(f"INSERT INTO {name} VALUES(?, ?)", rows)
    connection.commit()
    connection.close()
    return path


BIOMART = {
    "Gene stable ID": "ensg", "Gene stable ID version": "ensg", "Transcript stable ID": "enst",
    "Protein stable ID": "ensp", "Gene name": "symbol", "UniProtKB/Swiss-Prot ID": "uniprot",
    "NCBI gene (formerly Entrezgene) ID": "entrez", "Gene Synonym": "alias",
}  # fmt: skip
FORMS: dict[str, Callable[[Path], Path]] = {
    "own": table(symbol="symbol", alias="alias", ensembl_gene="ensg", uniprot="uniprot"),
    "BioMart": table(**BIOMART),
    "BioMart as CSV": csv(**BIOMART),
    "biomaRt of R": csv(
        ensembl_gene_id="ensg", ensembl_peptide_id="ensp", external_gene_name="symbol",
        uniprotswissprot="uniprot", entrezgene_id="entrez", external_synonym="alias",
    ),
    "select of org.Hs.eg": csv(
        ENTREZID="entrez", SYMBOL="symbol", ENSEMBL="ensg", UNIPROT="uniprot", ALIAS="alias"
    ),
    "org.Hs.eg.sqlite": sqlite,
    "HGNC, complete set": hgnc,
    "HGNC, download": table(**{
        "Approved symbol": "symbol", "Previous symbols": "former", "Alias symbols": "alias",
        "Ensembl ID(supplied by Ensembl)": "ensg", "UniProt ID(supplied by UniProt)": "uniprot",
    }),
    "NCBI gene_info": ncbi,
    "mygene": csv(**{"query": "symbol", "symbol": "symbol", "entrezgene": "entrez",
                     "ensembl.gene": "ensg", "uniprot.Swiss-Prot": "uniprot", "alias": "alias"}),
    "gene_id of Ensembl": table(gene_id="ensg", gene_name="symbol", alias="alias"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_names_the_same_genes(form: str, tmp_path: Path) -> None:
    """Red: of these only tables with our own names of columns could be read."""
    annotation = read_annotation(FORMS[form](tmp_path))
    known = annotation.of_symbols(("ensembl_gene",))
    for i in range(1, N):
        for name in (f"GNX{i}", f"ALT{i}"):
            assert known[name] == [("ensembl_gene", GENES["ensg"][i])], (form, name)
    own = annotation.table[annotation.table["ontology"] == "uniprot"]["identifier"]
    assert set(own) <= {*GENES["uniprot"], *GENES["trembl"]}
    assert not annotation.counts.noted


@pytest.mark.parametrize(
    ("column", "written", "want"),
    [
        ("ensembl_gene", "ENSG00000990000.17", "ENSG00000990000"),
        ("ensembl_gene", "['ENSG00000990000', 'ENSG00000990001']",
         "ENSG00000990000 ENSG00000990001"),
        ("ncbi_entrez_gene", "990000.0", "990000"),
        ("uniprot", "Q9ZA00-2, Q9ZA01", "Q9ZA00 Q9ZA01"),
        ("uniprot", "Q9ZA00 /// Q9ZA01", "Q9ZA00 Q9ZA01"),
        ("uniprot", " Q9ZA00 | Q9ZA01", "Q9ZA00 Q9ZA01"),
    ],
)  # fmt: skip
def test_ids_of_a_cell(column: str, written: str, want: str, tmp_path: Path) -> None:
    """Red: ``|`` did not divide a cell, and Entrez ids kept a spreadsheet's decimals."""
    path = tmp_path / "genes.tsv"
    path.write_text(f"symbol\t{column}\nA\t{written}\nB\t\n")
    table = read_annotation(path).table
    assert sorted(table["identifier"][table["ontology"] == column]) == want.split()


def test_text_that_is_no_id_is_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "genes.tsv"
    path.write_text("symbol\tuniprot\nA\tQ9ZA00\nB\tnot one\n")
    annotation = read_annotation(path)
    assert annotation.counts.noted == {"text that is no uniprot (not read)": 1}
    path.write_text("symbol\tname\nA\tx\n")
    with pytest.raises(InputError, match=r"needs two of ncbi_entrez_gene.*found symbol, name"):
        read_annotation(path)


def test_an_alias_of_two_genes_or_that_is_a_symbol_stands_for_none(tmp_path: Path) -> None:
    path = tmp_path / "genes.tsv"
    path.write_text(
        "symbol\talias\tensembl_gene\nA\tX;C\tENSG00000000001\nB\tX;Y\tENSG00000000002\n"
        "C\t\tENSG00000000003\n"
    )
    annotation = read_annotation(path)
    assert annotation.aliases == {"Y": "B"}
    assert annotation.of_symbols(("ensembl_gene",))["C"] == [("ensembl_gene", "ENSG00000000003")]
    assert "X" not in annotation.of_symbols(("ensembl_gene",))


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_former_symbols_are_read_in_every_source_and_said(tmp_path: Path) -> None:
    """Red: a source of former symbols had no gene of the network."""
    flags = "is_directed\tis_stimulation\tis_inhibition"
    tree: dict[str, Any] = {
        "annotation": {"path": str(hgnc(tmp_path))},
        "sources": {
            "TRRUST": {"path": write(tmp_path / "t.tsv", "OLD0\tGNX1\tActivation\t1\n")},
            "Reactome-FI": {"path": write(
                tmp_path / "f.txt",
                "Gene1\tGene2\tAnnotation\tDirection\tScore\nALT1\tOLD2\tx\t->\t1\n")},
            "OmniPath": {"path": write(
                tmp_path / "o.tsv", f"source\ttarget\t{flags}\nOLD2\tGNX3\t1\t1\t0\n")},
            "edge_lists": [{"name": "mine", "directed": True, "path": write(
                tmp_path / "e.tsv", "source\ttarget\nALSO3\tOLD4\n")}],
        },
    }  # fmt: skip
    net = open_network(build_from(tree, tmp_path, loud=True))
    pairs = [(i, i + 1) for i in range(4)]
    at = net.vertex_of(GENES["ensg"].to_numpy())
    assert (net.index.find(at[[a for a, _ in pairs]], at[[b for _, b in pairs]]) >= 0).all()
    assert len(net.vertices) == 5
    named, counts = with_names(net, ["OLD0", "ALSO3", "GNX1", "NOBODY"])
    assert counts == {"alias": 2, "symbol": 1, "": 1, "ensembl_gene": 0}
    assert (named.vertex_of(np.array(["OLD0", "ALSO3"], object)) == at[[0, 3]]).all()
    notes = [line for line in reading_notes(net.meta) if ALIAS in line]
    assert {line.partition(":")[0] for line in notes} == set(net.sources)


def test_hardly_any_known_symbol_still_warns(tmp_path: Path) -> None:
    rows = "".join(f"NO{i}\tNOT{i}\n" for i in range(20))
    tree: dict[str, Any] = {
        "annotation": {"path": str(hgnc(tmp_path))},
        "sources": {"edge_lists": [{"name": "mine", "directed": True, "path": write(
            tmp_path / "e.tsv", "source\ttarget\nOLD0\tGNX1\n" + rows)}]},
    }  # fmt: skip
    with pytest.warns(OctoscopeWarning, match="are a known symbol"):
        build_from(tree, tmp_path, loud=True)
