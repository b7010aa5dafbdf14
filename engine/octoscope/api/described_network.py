"""What a molecular network holds: sources, genes, sizes; and its files for other programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from octoscope.api.display import Shown
from octoscope.extras import extras_needed
from octoscope.genes import symbols_of_ensembl
from octoscope.octopus.network import Network as Graph
from octoscope.octopus.network_export import GRAPHML_EDGES, export
from octoscope.octopus.network_info import source_overlap, source_table, summary
from octoscope.octopus.network_schema import NOT_KNOWN
from octoscope.octopus.reading_notes import reading_notes
from octoscope.output_files import new_file


@dataclass(frozen=True, repr=False)
class DescribedNetwork(Shown):
    """A molecular network, or a view of one, with its description.

    Attributes
    ----------
    graph
        Vertices, genes and source assertions; see ``Network``.

    Examples
    --------
    >>> network = oc.open_network("demo")
    >>> network.contains(["ENSG00000090382", "ENSG00000000000"]).tolist()
    [True, False]
    >>> network.source_table()["source"].tolist()
    ['OmniPath']
    """

    graph: Graph

    @property
    def sources(self) -> list[str]:
        """Names of the sources."""
        return list(self.graph.sources)

    @property
    def genes(self) -> pd.DataFrame:
        """Genes of the network: columns ``gene`` (Ensembl id) and ``symbol``.

        Examples
        --------
        >>> oc.open_network("demo").genes.columns.tolist()
        ['gene', 'symbol']
        """
        genes = np.asarray(self.graph.gene_index, dtype=object)
        return pd.DataFrame({"gene": genes, "symbol": symbols_of_ensembl(genes)})

    def contains(self, genes: Iterable[str]) -> pd.Series[bool]:
        """Tell of each gene (Ensembl id) whether the network has it; indexed by the gene."""
        names = list(genes)
        return pd.Series(self.graph.gene_codes(names) >= 0, index=names)

    def summary(self) -> dict[str, Any]:
        """Return name, sizes, and the release of each source.

        Examples
        --------
        >>> oc.open_network("demo").summary()["connected pairs (unordered)"]
        127225
        """
        releases = self.source_table()
        pairs = zip(releases["source"], releases["release"], strict=True)
        return summary(self.graph) | {f"release of {name}": release for name, release in pairs}

    def source_table(self) -> pd.DataFrame:
        """Return one row per source: what it states, and of how many genes and pairs."""
        return source_table(self.graph)

    def source_overlap(self) -> pd.DataFrame:
        """Return one row per two sources: the pairs that both state, and their Jaccard index."""
        return source_overlap(self.graph)

    @property
    def notes(self) -> list[str]:
        """What the readers of its sources said of their files, a line each."""
        return reading_notes(self.graph.meta, self.graph.sources)

    @extras_needed()
    def export(
        self,
        path: str | Path,
        kind: str,
        *,
        limit: int = GRAPHML_EDGES,
        names: str | None = None,
        force: bool = False,
    ) -> int:
        """Write it for other programs; returns the number of rows.

        Parameters
        ----------
        kind
            ``parquet`` (assertions), ``graphml``, ``decoupler`` or ``omnipath``.
        limit
            Most edges of a GraphML file.
        names
            What genes are called in tables: ``symbol`` or ``ensembl``; None: symbols for
            decoupler, else Ensembl ids.
        force
            Replace a file that is there.

        Raises
        ------
        InputError
            If the file may not be written, or an argument is unknown.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     oc.open_network("demo").export(f"{folder}/edges.parquet", "parquet")
        133514
        """
        return export(self.graph, Path(path), kind, limit, names, force=force)

    @extras_needed()
    def write_report(self, path: str | Path, *, force: bool = False) -> None:
        """Write a page that compares its sources.

        Raises
        ------
        InputError
            If the file may not be written.
        """
        from octoscope.report.network_page import network_page

        with new_file(Path(path), force=force) as file:
            file.write_bytes(network_page(self.graph))

    def _entries(self) -> Mapping[str, Any]:
        unknown = self.graph.meta.get(NOT_KNOWN, ())
        return {
            "name": self.graph.meta.get("name", "network"),
            "vertices": f"{len(self.graph.vertices):,}",
            "genes": f"{len(self.graph.gene_index):,}",
            "pairs": f"{len(self.graph.pair_keys):,}",
            "sources": ", ".join(self.sources),
            **({"not known to be independent": ", ".join(unknown)} if unknown else {}),
        }
