"""Layouts of published edge lists, recognised by the names of their columns or a first row."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from octoscope.octopus.sources.edge_layouts import Layout

# Relations of SIF (Cytoscape, Pathway Commons, CellNOpt) -> sign, whether the pair has an order.
_RELATIONS: dict[str, tuple[int, bool]] = {
    **dict.fromkeys(("1", "activates", "activation", "stimulates", "stimulation"), (1, True)),
    **dict.fromkeys(("-1", "inhibits", "inhibition", "represses", "repression"), (-1, True)),
    **dict.fromkeys((
        "pd", "controls-state-change-of", "controls-transport-of", "controls-phosphorylation-of",
        "controls-expression-of", "controls-production-of", "controls-transport-of-chemical",
        "catalysis-precedes", "chemical-affects", "consumption-controlled-by", "used-to-produce",
    ), (0, True)),
    **dict.fromkeys((
        "pp", "binds", "binding", "interacts", "interacts-with", "in-complex-with", "neighbor-of",
        "reacts-with",
    ), (0, False)),
}  # fmt: skip


def _relations(source: str, relation: str, target: str) -> Layout:
    """Return the layout of a table whose middle column tells sign and order of a pair."""
    return Layout(
        columns={"source": (source,), "target": (target,), "sign": (relation,),
                 "directed": (relation,)},
        values={"sign": {k: sign for k, (sign, _) in _RELATIONS.items()},
                "directed": {k: order for k, (_, order) in _RELATIONS.items()}},
        ids="symbol",
    )  # fmt: skip


_PLAIN = Layout(
    columns={
        "source": ("source", "tf", "regulator", "from"),
        "target": ("target", "to", "gene"),
        "sign": ("sign", "mor", "weight"),
        "stimulation": ("is_stimulation",),
        "inhibition": ("is_inhibition",),
        "directed": ("directed", "is_directed"),
        "score": ("score",),
        "references": ("references", "n_references", "pmid", "pmids"),
    }
)
_BIOGRID = Layout(
    columns={
        "source": ("Entrez Gene Interactor A",),
        "target": ("Entrez Gene Interactor B",),
        "references": ("Publication Source", "Pubmed ID"),
        "source_taxon": ("Organism ID Interactor A", "Organism Interactor A"),
        "target_taxon": ("Organism ID Interactor B", "Organism Interactor B"),
    },
    ids="ncbi_entrez_gene", directed=False, known="BioGRID",
    remark=("Experimental System Type", "genetic",
            "genetic interaction (keep: {Experimental System Type: [physical]} leaves them out)"),
)  # fmt: skip
_DATABASES = {
    "UNIPROT": "uniprot", "PUBCHEM": "pubchem", "CHEBI": "chebi", "RNACENTRAL": "rnacentral",
    "MIRBASE": "mirbase", "DRUGBANK": "drugbank",
}  # fmt: skip
# The columns of a download of SIGNOR, which has no line of names where its web service gives it.
_SIGNOR_COLUMNS = (
    "ENTITYA", "TYPEA", "IDA", "DATABASEA", "ENTITYB", "TYPEB", "IDB", "DATABASEB", "EFFECT",
    "MECHANISM", "RESIDUE", "SEQUENCE", "TAX_ID", "CELL_DATA", "TISSUE_DATA", "MODULATOR_COMPLEX",
    "TARGET_COMPLEX", "MODIFICATIONA", "MODASEQ", "MODIFICATIONB", "MODBSEQ", "PMID", "DIRECT",
    "NOTES", "ANNOTATOR", "SENTENCE", "SIGNOR_ID", "SCORE",
)  # fmt: skip
_SIGNOR = Layout(
    columns={
        "source": ("IDA",),
        "target": ("IDB",),
        "source_ids": ("DATABASEA",),
        "target_ids": ("DATABASEB",),
        "sign": ("EFFECT",),
        "references": ("PMID",),
        "score": ("SCORE",),
        "taxon": ("TAX_ID",),
    },
    values={
        "sign": {"up-regulates*": 1, "down-regulates*": -1, "form complex": 0, "unknown": 0},
        "source_ids": _DATABASES, "target_ids": _DATABASES,
    },
    ids="uniprot", directed=True, known="SIGNOR",
)  # fmt: skip
_STRING_WEB = Layout(
    columns={"source": ("#node1", "node1"), "target": ("node2",), "score": ("combined_score",)},
    ids="symbol", directed=False, known="an export of STRING's web site",
)  # fmt: skip
_STRING_API = Layout(
    columns={"source": ("preferredName_A",), "target": ("preferredName_B",), "score": ("score",),
             "taxon": ("ncbiTaxonId",)},
    ids="symbol", directed=False, known="STRING's web service",
)  # fmt: skip
_BIOPLEX = Layout(
    columns={"source": ("GeneA",), "target": ("GeneB",), "score": ("pInt", "p(Interaction)")},
    ids="ncbi_entrez_gene", directed=False, known="BioPlex",
)  # fmt: skip
# NicheNet: its `source` is the database of the pair
_NICHENET = replace(
    _PLAIN, known="NicheNet", ids="symbol", directed=True,
    columns={**_PLAIN.columns, "source": ("from",), "target": ("to",)},
)  # fmt: skip
# Gephi: `Type` tells the order, and `Weight` is a strength, 1 unless it is stated
_GEPHI = Layout(
    columns={"source": ("source",), "target": ("target",), "directed": ("type",)}, known="Gephi",
)  # fmt: skip
_TFLINK = Layout(
    columns={"source": ("NCBI.GeneID.TF",), "target": ("NCBI.GeneID.Target",),
             "references": ("PubmedID",)},
    ids="ncbi_entrez_gene", directed=True, known="TFLink",
)  # fmt: skip
_REGNETWORK = Layout(
    columns={"source": ("regulator_id",), "target": ("target_id",)},
    ids="ncbi_entrez_gene", directed=True, known="RegNetwork",
)  # fmt: skip
_REACTOME_PAIRS = Layout(
    columns={"source": ("# Interactor 1 uniprot id", "Interactor 1 uniprot id"),
             "target": ("Interactor 2 uniprot id",), "references": ("Pubmed references",)},
    ids="uniprot", directed=False, known="Reactome's list of interactions",
)  # fmt: skip
# Pathway Commons. Its last lines describe the participants, with another number of fields.
_PAIRS_OF_COMMONS = _relations("PARTICIPANT_A", "INTERACTION_TYPE", "PARTICIPANT_B")
_EXTENDED_SIF = replace(
    _PAIRS_OF_COMMONS, known="extended SIF",
    columns={**_PAIRS_OF_COMMONS.columns, "references": ("INTERACTION_PUBMED_ID",)},
)  # fmt: skip
# Tables without a line of names: names that are given to their columns, and how they are read.
_SIF_COLUMNS = ("SIF source", "SIF relation", "SIF target")
_SIF = replace(_relations(*_SIF_COLUMNS), known="SIF")
_HIPPIE_COLUMNS = ("HIPPIE name 1", "HIPPIE Entrez 1", "HIPPIE name 2", "HIPPIE Entrez 2", "score",
                   "evidence")  # fmt: skip
_HIPPIE = Layout(
    columns={"source": _HIPPIE_COLUMNS[1:2], "target": _HIPPIE_COLUMNS[3:4], "score": ("score",)},
    ids="ncbi_entrez_gene", directed=False, known="HIPPIE",
)  # fmt: skip
_REGULATORS_COLUMNS = ("TF symbol", "TF Entrez", "target symbol", "target Entrez", "direction")
_REGULATORS = Layout(
    columns={"source": _REGULATORS_COLUMNS[1:2], "target": _REGULATORS_COLUMNS[3:4],
             "sign": _REGULATORS_COLUMNS[4:]},
    values={"sign": {"-->": 1, "--|": -1, "-p": 0, "-/-": 0}},
    ids="ncbi_entrez_gene", directed=True, known="RegNetwork",
)  # fmt: skip
_SIGNOR_ID = re.compile(r"SIGNOR-\d+$")
_OMNIPATH = replace(_PLAIN, known="OmniPath, or our own export of that form")
_EXPORT = replace(_PLAIN, known="our own export")
# Columns that tell a layout -> the layout.
_KNOWN: tuple[tuple[frozenset[str], Layout], ...] = (
    (frozenset({"entrez gene interactor a", "entrez gene interactor b"}), _BIOGRID),
    (frozenset({"#node1", "node2", "combined_score"}), _STRING_WEB),
    (frozenset({"node1", "node2", "combined_score"}), _STRING_WEB),
    (frozenset({"preferredname_a", "preferredname_b", "score"}), _STRING_API),
    (frozenset({"genea", "geneb", "uniprota", "uniprotb"}), _BIOPLEX),
    (frozenset({"from", "to", "source", "database"}), _NICHENET),
    (frozenset({"ida", "idb", "databasea", "databaseb", "effect"}), _SIGNOR),
    (frozenset({"source", "target", "is_directed", "is_stimulation"}), _OMNIPATH),
    (frozenset({"source", "target", "role_source", "role_target"}), _EXPORT),
    (frozenset({"ncbi.geneid.tf", "ncbi.geneid.target"}), _TFLINK),
    (frozenset({"regulator_symbol", "regulator_id", "target_symbol", "target_id"}), _REGNETWORK),
    (frozenset({"interactor 1 uniprot id", "interactor 2 uniprot id"}), _REACTOME_PAIRS),
    (frozenset({"# interactor 1 uniprot id", "interactor 2 uniprot id"}), _REACTOME_PAIRS),
    (frozenset({"participant_a", "interaction_type", "participant_b"}), _EXTENDED_SIF),
    (frozenset(n.casefold() for n in _SIF_COLUMNS), _SIF),
    (frozenset(n.casefold() for n in _HIPPIE_COLUMNS[:4]), _HIPPIE),
    (frozenset(n.casefold() for n in _REGULATORS_COLUMNS[:4]), _REGULATORS),
)


def _is_signor(first: list[str]) -> bool:
    at = _SIGNOR_COLUMNS.index("SIGNOR_ID")
    return len(first) > at and bool(_SIGNOR_ID.match(first[at]))


def _is_sif(first: list[str]) -> bool:
    fields = len(first) == len(_SIF_COLUMNS) and not first[0].isdigit()
    return fields and first[1].casefold() in _RELATIONS


def _are_genes_and_numbers(first: list[str], lengths: tuple[int, ...]) -> bool:
    """Return whether names and Entrez ids take turns, for two ends."""
    if len(first) not in lengths or first[0].isdigit() or first[2].isdigit():
        return False
    return all(re.match(r"(?:\d+|MIMAT\d+|MI\d+)$", first[i]) for i in (1, 3))


def _is_hippie(first: list[str]) -> bool:
    score = first[4] if len(first) > 4 else ""
    return _are_genes_and_numbers(first, (5, 6)) and bool(re.match(r"[01]?\.?\d*$", score))


def _is_regnetwork(first: list[str]) -> bool:
    directions = ("", *_REGULATORS.values["sign"])
    return _are_genes_and_numbers(first, (4, 5)) and "".join(first[4:]) in directions


# Whether a first row is of such a table, names of its columns.
_NAMELESS: tuple[tuple[Callable[[list[str]], bool], tuple[str, ...]], ...] = (
    (_is_signor, _SIGNOR_COLUMNS),
    (_is_sif, _SIF_COLUMNS),
    (_is_regnetwork, _REGULATORS_COLUMNS),
    (_is_hippie, _HIPPIE_COLUMNS),
)


def names_without_header(first: list[str]) -> list[str] | None:
    """Return the column names of a layout that is known without a line of names.

    SIGNOR's web service gives such a table: its rows end with the id of the relation and, since
    2020, a score. So are SIF, HIPPIE's own format and RegNetwork's tables.

    Parameters
    ----------
    first
        Fields of the first line.

    Returns
    -------
    list of str or None
        One name per field; None if the line is of no such layout.
    """
    names = next((names for is_such, names in _NAMELESS if is_such(first)), None)
    if names is None:
        return None
    further = [f"column {i + 1}" for i in range(len(names), len(first))]
    return [*names, *further][: len(first)]


def layout_of(names: list[str], given: Layout, below: list[str]) -> Layout:
    """Return the layout of a file by its column names, with what the user says put first.

    Parameters
    ----------
    below
        Fields of the second line, which tell Gephi's ``Type`` from other types.
    """
    present = {n.casefold(): i for i, n in enumerate(names)}
    own = next((layout for required, layout in _KNOWN if required <= set(present)), _PLAIN)
    at = present.get("type", len(below))
    if own is _PLAIN and "".join(below[at : at + 1]).casefold() in ("directed", "undirected"):
        own = _GEPHI
    return replace(
        own,
        columns={**own.columns, **given.columns},
        values={r: {**own.values.get(r, {}), **given.values.get(r, {})}
                for r in {*own.values, *given.values}},
        keep=given.keep,
        ids=given.ids or own.ids,
        directed=own.directed if given.directed is None else given.directed,
        header=given.header,
        score_max=given.score_max,
    )  # fmt: skip
