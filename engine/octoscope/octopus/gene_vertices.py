"""Which vertices a gene is: from the identifiers of the vertices."""

from __future__ import annotations

import re

import pandas as pd

# A gene is a vertex if it, its homologue's entry, or what it encodes is; never a part of it.
IDENTITY = ("BQB_IS", "BQB_IS_HOMOLOG_TO", "BQB_IS_ENCODED_BY", "BQB_ENCODES")
_ENSEMBL = re.compile(r"^(ENS[A-Z]*G\d+)(?:\.\d+)?$")


def ensembl_gene(text: str) -> str | None:
    """Return an Ensembl gene id without its version; None if it is not one."""
    match = _ENSEMBL.match(text.strip())
    return match.group(1) if match else None


def map_genes(identifiers: pd.DataFrame, ontology: str = "ensembl_gene") -> pd.DataFrame:
    """Return the genes of a network.

    Parameters
    ----------
    identifiers
        vertex, ontology, identifier, bqb.
    ontology
        What counts as a gene; ids of ``ensembl_gene`` lose their version, malformed ones are left
        out.

    Returns
    -------
    DataFrame
        gene, vertex, how (ontology and qualifier), one row per pair, by vertex and gene.
    """
    rows = identifiers[(identifiers["ontology"] == ontology) & identifiers["bqb"].isin(IDENTITY)]
    gene = rows["identifier"].astype(str)
    if ontology == "ensembl_gene":
        distinct = pd.Series({g: ensembl_gene(g) for g in gene.unique()}, dtype=object)
        gene = gene.map(distinct)
    table = pd.DataFrame(
        {
            "gene": gene.to_numpy(object),
            "vertex": rows["vertex"].to_numpy(),
            "how": (rows["ontology"].astype(str) + " " + rows["bqb"].astype(str)).to_numpy(object),
        }
    )
    table = table[table["gene"].notna()].drop_duplicates(["gene", "vertex"])
    return table.sort_values(["vertex", "gene"], kind="stable", ignore_index=True)
