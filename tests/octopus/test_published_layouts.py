"""Published edge lists without a line of names or with names of their own, and what is no list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from octoscope.errors import InputError, OctoscopeWarning
from octoscope.octopus.sources.no_pairs import suggested_ends

from tests.octopus.test_edge_layouts import E, G, S, U, built, edges, lines, rows

MIMAT = "MIMAT0000416"


@pytest.mark.filterwarnings("error::octoscope.errors.OctoscopeWarning")
@pytest.mark.parametrize("by", ["\t", " "])
def test_sif(tmp_path: Path, by: str) -> None:
    """Red: "no column 'source'; found GNX0, controls-expression-of, GNX1"."""
    text = lines(
        (S[0], "controls-expression-of", S[1]), (S[2], "in-complex-with", S[3]),
        (S[4], "-1", S[5]), (S[6], "1", S[7]), ("CHEBI:15377", "used-to-produce", S[8]),
        by=by,
    )  # fmt: skip
    net = built(tmp_path, text, "PathwayCommons12.sif")
    assert edges(net) == {
        (0, 1): (0, True), (2, 3): (0, False), (4, 5): (-1, True), (6, 7): (1, True)
    }  # fmt: skip
    assert rows(net)["dropped"] == {"an end is no known symbol": 1}


def test_what_sif_says_in_other_words_is_not_guessed(tmp_path: Path) -> None:
    text = lines((S[0], "pp", S[1]), (S[2], "pp", S[3], S[4]))
    with pytest.warns(OctoscopeWarning, match="1 rows have another number of fields.*SIF"):
        assert edges(built(tmp_path, text)) == {(0, 1): (0, False)}
    (tmp_path / "odd").mkdir()
    text = lines((S[0], "pp", S[1]), (S[2], "odd", S[3]))
    with pytest.raises(InputError, match=r"row 2: 'odd' is no sign.*values: \{sign: \{'odd'"):
        built(tmp_path / "odd", text)


EXTENDED = ("PARTICIPANT_A", "INTERACTION_TYPE", "PARTICIPANT_B", "INTERACTION_DATA_SOURCE",
            "INTERACTION_PUBMED_ID", "PATHWAY_NAMES", "MEDIATOR_IDS")  # fmt: skip
TFLINK = ("UniprotID.TF", "UniprotID.Target", "NCBI.GeneID.TF", "NCBI.GeneID.Target", "Name.TF",
          "Name.Target", "Detection.method", "PubmedID", "Organism")  # fmt: skip
REGNETWORK = ("regulator_symbol", "regulator_id", "target_symbol", "target_id", "database")
REACTOME = ("# Interactor 1 uniprot id", "Interactor 1 Entrez Gene id", "Interactor 2 uniprot id",
            "Interactor 2 Entrez Gene id", "Pubmed references")  # fmt: skip
BIOGRID_MITAB = (
    "#ID Interactor A", "ID Interactor B", "Alt IDs Interactor A", "Alt IDs Interactor B",
    "Aliases Interactor A", "Aliases Interactor B", "Interaction Detection Method",
    "Publication 1st Author", "Publication Identifiers", "Taxid Interactor A",
    "Taxid Interactor B", "Interaction Types", "Source Database", "Interaction Identifiers",
    "Confidence Values",
)  # fmt: skip


def mitab(a: str, b: str) -> tuple[str, ...]:
    return (a, b, "-", "-", "-", "-", 'psi-mi:"MI:0018"(two hybrid)', "x", "pubmed:1",
            "taxid:9606", "taxid:9606", 'psi-mi:"MI:0407"(direct interaction)', "-", "-",
            "-")  # fmt: skip


PUBLISHED: dict[str, tuple[list[tuple[Any, ...]], dict[tuple[int, int], tuple[int, bool]]]] = {
    "extended SIF": (
        [EXTENDED, (S[0], "controls-state-change-of", S[1], "reactome", "1;2", "", ""),
         (S[2], "interacts-with", S[3], "bind", "", "", "")],
        {(0, 1): (0, True), (2, 3): (0, False)},
    ),
    "HIPPIE": (
        [("A_HUMAN", E[0], "B_HUMAN", E[1], 0.76, "pmids:1"),
         ("C_HUMAN", E[2], "D_HUMAN", E[3], 0, "")],
        {(0, 1): (0, False), (2, 3): (0, False)},
    ),
    "TFLink": (
        [TFLINK, (U[0], U[1], E[0], E[1], S[0], S[1], "ChIP", "1;2", "Homo sapiens")],
        {(0, 1): (0, True)},
    ),
    "RegNetwork, search": (
        [REGNETWORK, (S[0], E[0], S[1], E[1], "tred"), ("mir", MIMAT, S[2], E[2], "x")],
        {(0, 1): (0, True)},
    ),
    "RegNetwork, human.source": (
        [(S[0], E[0], S[1], E[1]), ("hsa-miR-21", MIMAT, S[2], E[2])], {(0, 1): (0, True)},
    ),
    "RegNetwork, directions": (
        [(S[0], E[0], S[1], E[1], "-->"), (S[2], E[2], S[3], E[3], "--|")],
        {(0, 1): (1, True), (2, 3): (-1, True)},
    ),
    "Reactome, interactions": (
        [REACTOME, ("uniprotkb:" + U[0], "x", "uniprotkb:" + U[1], "y", "1|2")],
        {(0, 1): (0, False)},
    ),
    "BioGRID, MITAB": (
        [BIOGRID_MITAB, mitab("entrez gene/locuslink:" + E[0], "entrez gene/locuslink:" + E[1])],
        {(0, 1): (0, False)},
    ),
    "HIPPIE, MITAB": (
        [("ID Interactor A", *BIOGRID_MITAB[1:]),
         mitab("entrez gene:" + E[0], "entrez gene:" + E[1])],
        {(0, 1): (0, False)},
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("error::octoscope.errors.OctoscopeWarning")
@pytest.mark.parametrize("name", list(PUBLISHED))
def test_published_lists_are_known_by_their_columns(tmp_path: Path, name: str) -> None:
    """Red: each was refused for want of a column 'source'."""
    table, expected = PUBLISHED[name]
    net = built(tmp_path, lines(*table), f"{name}.txt")
    assert edges(net) == expected
    if name == "HIPPIE":
        assert sorted(net.edges.score.tolist()) == pytest.approx([0, 0.76])


NO_PAIRS = {
    "GMT": (lines(("HALLMARK_A", "https://www.gsea-msigdb.org/a", *S[:4]), ("B", "na", S[0])),
            r"line 1: is a gene set and its genes \(GMT\).*gene_sets"),
    "GMX": (lines(("A", "B"), ("na", "na"), S[:2]), r"line 2: .*\(GMX\).*gene_sets"),
    "matrix": (lines(("", *S[:3]), (S[0], 0, 1, 0), (S[1], 0, 0, 1)),
               r"names 3 genes, and line 2 has a number for each: a matrix.*stack"),
    "Entrez ids": (lines((E[0], E[1], 4.5)), "names no columns.*ids: ncbi_entrez_gene"),
    "STRING": (lines(("protein1", "protein2", "combined_score"), by=" "),
               r"is a table of STRING's links.*sources: \{STRING"),
    "Reactome-FI": (lines(("Gene1", "Gene2", "Annotation", "Direction", "Score")),
                    r"is the table of Reactome-FI.*sources: \{Reactome-FI"),
    "pathways": (lines((U[0], "R-HSA-109582", "https://reactome.org", "x", "TAS", "Homo sapiens")),
                 "a gene and a pathway of Reactome, not a pair.*sbml"),
    "GML": ('graph [\n  node [\n    label "a"\n  ]\n]\n', "is a graph in GML.*one row per pair"),
    "DOT": ("digraph G {\n  a -> b;\n}\n", "is a graph in DOT"),
    "Pajek": ('*Vertices 2\n1 "a"\n2 "b"\n*Arcs\n1 2\n', "is a network of Pajek"),
    "Pajek in capitals": ('*VERTICES 2\n1 "a"\n2 "b"\n*ARCS\n1 2\n', "is a network of Pajek"),
    "GEXF": ('<gexf version="1.2">\n<graph/>\n</gexf>\n', "is XML, not a table.*networkx"),
    "LGL": (lines(("#", S[0]), (S[1], 1), (S[2], 1), by=" "), "is a graph in LGL.*each pair"),
    "complexes": (lines(("ComplexID", "subunits(UniProt IDs)"), (1, f"{U[0]};{U[1]};{U[2]}")),
                  r"line 2: column 'subunits\(UniProt IDs\)' has several genes in a cell"),
    "networkx, attributes": (lines((S[0], S[1], "{'weight':", "0.5}"), by=" "),
                             "an edge list of networkx.*to_pandas_edgelist"),
    "networkx, weights": (lines((S[0], S[1], 12.5), by=" "),
                          r"is a row \(GNX0, GNX1, 12.5\).*header: false.*source: 1, target: 2"),
    "Matrix Market": ("%%MatrixMarket matrix coordinate real general\n3 3 1\n1 2 0.5\n",
                      "is a matrix in Matrix Market form"),
    "adjacency list of networkx": (lines(S[:3], S[3:5], S[1:2], by=" "),
                                   "rows have 1 to 3 fields.*adjacency list.*read_adjlist"),
    "adjacency list of ids": (lines(G[:3], G[1:2], G[3:5], by=" "),
                              "line 1: has 3 fields, and 2 of 3 rows have another.*adjacency"),
    "ARACNe": (lines((">  Input file", "x.exp"), (S[0], S[1], 0.31, S[2], 0.2), (S[3], S[4], 0.5)),
               r"line 1: is an adjacency list of ARACNe \(.adj\).*a row for each pair"),
    "ARACNe without its heading": (lines((S[3], S[4], 0.5), (S[0], S[1], 0.31, S[2], 0.2)),
                                   r"is an adjacency list of ARACNe"),
    "STITCH": (lines(("chemical", "protein", "score"), ("CIDm91758680", "9606.ENSP1", 279)),
               r"pairs chemicals with proteins \(STITCH\)"),
    "Cytoscape": (lines(("interaction", "name", "shared name"), ("pp", f"{S[0]} (pp) {S[1]}", "x")),
                  "is Cytoscape's table of edges.*SIF"),
    "one column": (lines(S[:1], S[1:2]), r"has one field \(GNX0\), not a pair"),
    "vertex numbers": (lines((0, 1), (0, 2), by=" "), r"vertices \(igraph\) name no genes"),
    "mouse": (lines(("source", "target", "directed"), ("Gnx0", "Gnx1", "true")),
              "'Gnx0'.*'GNX0' is known: symbols of mouse"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(NO_PAIRS))
def test_what_names_no_pairs_is_named(tmp_path: Path, name: str) -> None:
    """Red: "no column 'source'; name the columns of the ends", of tables that have no ends."""
    text, message = NO_PAIRS[name]
    with pytest.raises(InputError, match=message):
        built(tmp_path, text, "file.txt")


def test_sif_of_several_targets_is_named(tmp_path: Path) -> None:
    """Red: "if a row is a gene and all its targets (an adjacency list)"."""
    text = lines((S[0], "pp", S[1], S[2]), (S[3], "pp", S[4]), by=" ")
    with pytest.raises(InputError, match=r"up to 4 fields.*\(SIF\).*each target a row of its own"):
        built(tmp_path, text, "net.sif")


@pytest.mark.filterwarnings("error::octoscope.errors.OctoscopeWarning")
@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_gephis_type_is_an_order_and_its_weight_no_sign(tmp_path: Path, ending: str) -> None:
    """Red: its weights, 1 for all, were signs: both pairs had the sign 1 and an order."""
    head = ("Source", "Target", "Type", "Id", "Label", "Weight")
    by = "," if ending == "csv" else "\t"
    text = lines(head, (S[0], S[1], "Undirected", 0, "", 1.0),
                 (S[2], S[3], "Directed", 1, "", 1.0), by=by)  # fmt: skip
    net = built(tmp_path, text, f"edges.{ending}")
    table = pd.read_csv(tmp_path / f"edges.{ending}", sep=by)
    ordered = (table.Type == "Directed").tolist()
    assert edges(net) == {(0, 1): (0, ordered[0]), (2, 3): (0, ordered[1])}


@pytest.mark.filterwarnings("ignore::octoscope.errors.OctoscopeWarning")
def test_strings_actions_are_read_as_the_refusal_says(tmp_path: Path) -> None:
    """Each row stands twice, the second time with the ends swapped and ``a_is_acting`` f."""
    text = lines(
        ("item_id_a", "item_id_b", "mode", "action", "is_directional", "a_is_acting", "score"),
        (U[0], U[1], "activation", "activation", "t", "t", 900),
        (U[1], U[0], "activation", "", "t", "f", 900),
        (U[1], U[2], "inhibition", "inhibition", "t", "t", 400),
        (U[2], U[1], "inhibition", "", "t", "f", 400),
    )
    with pytest.raises(InputError, match="is STRING's table of actions") as refused:
        built(tmp_path, text)
    advice = refused.value.fix.removeprefix("set ").replace(" and score_max", ", score_max")
    settings = yaml.safe_load(f"{{{advice}}}")
    assert settings["ids"] == "ensembl_protein"
    net = built(tmp_path, text, **settings | {"ids": "uniprot"})
    assert edges(net) == {(0, 1): (1, True), (1, 2): (-1, True)}
    assert sorted(net.edges.score.tolist()) == pytest.approx([0.4, 0.9])


def test_ids_of_kegg_are_entrez_ids(tmp_path: Path) -> None:
    """Red: "no column 'source'", or "none of its ids is a known symbol" without a word of KEGG."""
    rows = lines((f"hsa:{E[0]}", f"hsa:{E[1]}", "activation"), (f"hsa:{E[2]}", f"hsa:{E[3]}", "x"))
    assert set(edges(built(tmp_path, rows, directed=True))) == {(0, 1), (2, 3)}


def test_a_column_that_may_tell_signs_is_named(tmp_path: Path) -> None:
    text = lines(("source", "target", "directed", "effect"), (S[0], S[1], "true", "inhibits"))
    with pytest.warns(OctoscopeWarning, match=r'If \'effect\' tells signs.*\{sign: "effect"\}'):
        built(tmp_path, text)
    (tmp_path / "own").mkdir()
    net = built(tmp_path / "own", text, columns={"sign": "effect"})
    assert edges(net) == {(0, 1): (-1, True)}
    assert net.vertex_of([G[0]])[0] >= 0


LIKELY = {
    "CellTalkDB": (("lr_pair", "ligand_gene_symbol", "receptor_gene_symbol",
                    "ligand_ensembl_gene_id", "receptor_ensembl_gene_id"),
                   (f"{S[0]}_{S[1]}", S[0], S[1], G[0], G[1])),
    "GeneMANIA": (("Gene_A", "Gene_B", "Weight"), (G[0], G[1], 0.01)),
    "CellPhoneDB": (("id", "partner_a", "partner_b", "source"), ("C1", U[0], U[1], "PMID: 1")),
    "HINT": (("Uniprot_A", "Uniprot_B", "Gene_A", "Gene_B"), (U[0], U[1], S[0], S[1])),
    "FunCoup": (("#0:PFC", "1:FBS_max", "2:Gene1", "3:Gene2"), (0.9, 5, G[0], G[1])),
    "LIANA": (("ligand", "receptor"), (S[0], S[1])),
    "WGCNA": (("fromNode", "toNode", "weight", "fromAltName", "toAltName"),
              (S[0], S[1], 0.3, "NA", "NA")),
    "GENIE3": (("regulatoryGene", "targetGene", "weight"), (S[0], S[1], 0.3)),
    "SignaLink": (("source_name", "source_uniprot", "target_name", "target_uniprot"),
                  (S[0], U[0], S[1], U[1])),
    "Entrez": (("gene_id_1", "gene_id_2", "pmid"), (E[0], E[1], 5)),
}  # fmt: skip


@pytest.mark.parametrize("name", list(LIKELY))
def test_what_is_suggested_for_the_ends_reads_the_list(tmp_path: Path, name: str) -> None:
    """Red: the advice of every such list was to name the columns, whatever they were called."""
    text = lines(*LIKELY[name])
    with pytest.raises(InputError, match="these look like the ends: ") as refused:
        built(tmp_path, text)
    columns, _, ids = refused.value.fix.split("ends: ")[1].split(";")[0].partition(" and ids: ")
    (tmp_path / "as_said").mkdir()
    with pytest.warns(OctoscopeWarning, match=r"taken as directed|columns that are not read"):
        net = built(tmp_path / "as_said", text, ids=ids, **yaml.safe_load("{" + columns + "}"))
    assert set(edges(net)) == {(0, 1)}


def test_columns_that_are_no_ends_are_not_suggested() -> None:
    """Red: any two names that begin alike."""
    for names in (["gene", "description"], ["p_1", "p_val"], ["chemical", "protein"], ["x", "x"]):
        assert suggested_ends(names, ["", ""]) is None
    assert suggested_ends(["Gene_B", "Gene_A"], []) == (
        'columns: {source: "Gene_A", target: "Gene_B"} and ids: symbol'
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [("95%", "'95%' is no number.*without a unit"), ("-0.9", "outside 0..1.*tells signs as"),
     ("900", "outside 0..1.*as score_max")],
)  # fmt: skip
def test_a_score_that_cannot_be_read_says_why(tmp_path: Path, value: str, message: str) -> None:
    """Red: the advice for each of them was score_max, which helps one."""
    with pytest.raises(InputError, match=message):
        built(tmp_path, lines(("source", "target", "score"), (S[0], S[1], value)))
