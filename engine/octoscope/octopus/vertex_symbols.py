"""What users know the vertices of a network by: gene symbols, or Ensembl genes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from octoscope.genes import symbols_of_ensembl
from octoscope.octopus.directory import read_table
from octoscope.octopus.network import Network


def gene_names(network: Network) -> np.ndarray:
    """Return [vertices] the only gene of each vertex, else its name."""
    names = network.vertices["name"].to_numpy(object).copy()
    single = _only_gene(network)
    names[single.index.to_numpy(int)] = single.to_numpy()
    return names


def symbol_names(network: Network) -> np.ndarray:
    """Return [vertices] the only symbol of each vertex, else as :func:`gene_names`.

    Symbols are those of the network's annotation, else of GENCODE 44 for the only gene of a vertex.
    A vertex of several genes that share one symbol has it too. A symbol that several vertices have
    names none of them.
    """
    names, single = gene_names(network), _only_gene(network)
    at = single.index.to_numpy(int)
    symbols = pd.Series(symbols_of_ensembl(single.to_numpy(object)), at, dtype=object)
    own = _own_symbols(network)
    own = own[own.index.isin(network.genes["vertex"])]
    symbols = own.combine_first(symbols)
    symbols = symbols[(symbols != "") & ~symbols.duplicated(keep=False)]
    names[symbols.index.to_numpy(int)] = symbols.to_numpy()
    return names


def _only_gene(network: Network) -> pd.Series[str]:
    """Return vertex -> gene, of vertices of one gene."""
    genes = network.genes.groupby("vertex")["gene"].agg(["first", "nunique"])
    return genes[genes["nunique"] == 1]["first"]


def _own_symbols(network: Network) -> pd.Series[str]:
    """Return vertex -> symbol, of vertices to which the network's identifiers give just one."""
    if network.folder is None or not (network.folder / "identifiers.parquet").is_file():
        return pd.Series(dtype=object)
    table = read_table(network.folder, "identifiers").to_pandas()
    table = table[table["ontology"].astype(str) == "symbol"]
    symbols = table.groupby("vertex")["identifier"].agg(["first", "nunique"])
    return symbols[symbols["nunique"] == 1]["first"]
