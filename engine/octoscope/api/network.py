"""A molecular network for notebooks: views, neighbours, and what it says of pairs of genes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from octoscope.api.choose import positions_of
from octoscope.api.display import Shown
from octoscope.genes import symbols_of_ensembl
from octoscope.octopus.asked_names import with_names
from octoscope.octopus.lookups import annotate
from octoscope.octopus.network import Network as Graph
from octoscope.octopus.network import open_network as read_network
from octoscope.octopus.network_schema import NOT_KNOWN
from octoscope.octopus.network_views import INDEPENDENT, View, view

if TYPE_CHECKING:
    from octoscope.link_prediction.evaluate_links import Evaluation, Scorer


@dataclass(frozen=True, repr=False)
class Network(Shown):
    """A molecular network, or a view of one.

    Attributes
    ----------
    graph
        Vertices, genes and source assertions; see ``Network``.

    Examples
    --------
    >>> network = oc.open_network("demo")
    >>> network.contains(["ENSG00000090382", "ENSG00000000000"]).tolist()
    [True, False]
    >>> signed = network.view(signed=True)
    >>> len(signed.neighbours("SPI1")) <= len(network.neighbours("SPI1"))
    True
    """

    graph: Graph

    @property
    def sources(self) -> list[str]:
        """Names of the sources."""
        return list(self.graph.sources)

    @property
    def genes(self) -> pd.DataFrame:
        """Genes of the network: columns ``gene`` (Ensembl id) and ``symbol``."""
        genes = np.asarray(self.graph.gene_index, dtype=object)
        return pd.DataFrame({"gene": genes, "symbol": symbols_of_ensembl(genes)})

    def view(
        self,
        *,
        independent: bool = False,
        sources: Sequence[str] | None = None,
        without: Sequence[str] = (),
        directed: bool = False,
        signed: bool = False,
        min_score: float | None = None,
    ) -> Network:
        """Return the part of the network that counts.

        Parameters
        ----------
        independent
            Leave out evidence that rests on co-expression (STRING rescored without its
            co-expression and text-mining channels, predicted Reactome-FI interactions, OmniPath
            rows inferred from expression). What is not known of a source is shown, and in
            ``graph.meta["not_known_independent"]``.
        sources, without
            Sources to keep (None: all) and to leave out.
        directed, signed
            Keep only assertions with a direction, with a sign.
        min_score
            Keep only scores of at least this; assertions without a score stay.

        Raises
        ------
        InputError
            If a source does not exist, or its evidence cannot be told apart.
        """
        what = replace(
            INDEPENDENT if independent else View(),
            sources=None if sources is None else tuple(sources),
            without_sources=tuple(without),
            directed=directed,
            signed=signed,
            min_score=min_score,
        )
        return Network(view(self.graph, what))

    def annotate(
        self, pairs: pd.DataFrame, *, query: str = "query", key: str = "key"
    ) -> pd.DataFrame:
        """Return pairs of genes with what the network asserts of each.

        Genes are Ensembl ids, or symbols and other ids that the network knows. ``mapped`` is False
        where it does not know one.

        Adds ``mapped``, ``forward``, ``reverse``, ``stated``, ``sources``, ``relations``, ``sign``,
        ``contradictory``, ``score``, ``degree_a``, ``degree_b``, ``same_vertex`` and
        ``shared_pathways``; see ``octoscope.octopus.lookups.describe_genes``.
        """
        named, _ = with_names(self.graph, pd.concat([pairs[query], pairs[key]]).dropna().unique())
        return annotate(pairs, named, query, key)

    def neighbours(self, gene: str) -> pd.DataFrame:
        """Return the genes that an edge joins to a gene (symbol or Ensembl id).

        Returns
        -------
        DataFrame
            ``gene``, ``symbol``, ``to`` and ``from_`` (an edge leads to, comes from the neighbour),
            ``sources``, ``relations``, ``sign``, ``score``, largest score first.

        Raises
        ------
        InputError
            If the gene is not in the network.
        """
        genes = self.genes
        at = positions_of([gene], genes["gene"].tolist(), genes["symbol"].tolist())[0]
        own = self.graph.genes
        mine = own.loc[own["gene"] == genes["gene"][at], "vertex"].to_numpy(np.int64)
        n = max(len(self.graph.vertices), 1)
        low, high = self.graph.pair_keys // n, self.graph.pair_keys % n
        beside = np.union1d(high[np.isin(low, mine)], low[np.isin(high, mine)])
        near = own.loc[own["vertex"].isin(beside), "gene"].unique()
        pairs = pd.DataFrame({"query": genes["gene"][at], "gene": near}, dtype=object)
        edges = annotate(pairs, self.graph, "query", "gene")
        edges = edges.rename(columns={"forward": "to", "reverse": "from_"})
        edges.insert(1, "symbol", symbols_of_ensembl(np.asarray(near, dtype=object)))
        columns = ["gene", "symbol", "to", "from_", "sources", "relations", "sign", "score"]
        ordered = edges.sort_values(["score", "gene"], ascending=[False, True], kind="stable")
        return ordered[columns].reset_index(drop=True)

    def contains(self, genes: Iterable[str]) -> pd.Series[bool]:
        """Tell of each gene (Ensembl id) whether the network has it; indexed by the gene."""
        names = list(genes)
        return pd.Series(self.graph.gene_codes(names) >= 0, index=names)

    def evaluate_links(
        self,
        checkpoints: Sequence[str | Path] = (),
        *,
        split: str = "pair",
        source: str | None = None,
        older: Network | None = None,
        negatives: Sequence[str] = ("degree", "uniform"),
        floors: Sequence[str] = (),
        models: Mapping[str, Scorer] | None = None,
        seed: int = 0,
        positives: int = 20_000,
        queries: int = 500,
        candidates: int = 200,
        peer: bool = False,
    ) -> Evaluation:
        """Measure how well edges are predicted by rules without a model, checkpoints and models.

        Parameters
        ----------
        checkpoints
            Folders of graph neural networks that were trained on it.
        split
            ``pair``, ``vertex``, ``source`` (with ``source``), ``release`` (with ``older``, the
            network in an older release), or in peer mode ``edge``.
        negatives
            Of ``degree``, ``stratified``, ``uniform``, ``two-hop``, ``peer``. Ranks are among
            targets of test edges.
        floors
            Empty: all.
        models
            Name -> a function of source vertices, target vertices and relations ([pairs] int64
            each) that returns [pairs] scores.
        positives
            At most so many edges of validation and of test.
        queries, candidates
            Test edges to rank, each among so many targets.
        peer
            Allow the split by directed edge, which leaks.

        Returns
        -------
        Evaluation
            ``metrics`` and ``signs`` (DataFrames) and ``about``.

        Raises
        ------
        InputError
            If an argument is unknown or a checkpoint was not trained on this network.

        Examples
        --------
        >>> network = oc.open_network("demo")
        >>> found = network.evaluate_links(floors=["mirror"], positives=500, queries=20)
        >>> found.metrics.query("metric == 'auc' and stratum == 'all'")["value"].round(1).tolist()
        [0.5, 0.5]
        """
        from octoscope.link_prediction.evaluate_links import Settings, evaluate_links
        from octoscope.link_prediction.links import links_of_network
        from octoscope.link_prediction.splits import split_links

        links = links_of_network(self.graph)
        before = None if older is None else links_of_network(older.graph)
        divided = split_links(links, split, seed=seed, source=source, older=before, peer=peer)
        settings = Settings(tuple(negatives), tuple(floors), seed, positives, queries, candidates)
        return evaluate_links(links, divided, checkpoints, settings, models)

    def _facts(self) -> Mapping[str, Any]:
        unknown = self.graph.meta.get(NOT_KNOWN, ())
        return {
            "name": self.graph.meta.get("name", "network"),
            "vertices": f"{len(self.graph.vertices):,}",
            "genes": f"{len(self.graph.gene_index):,}",
            "pairs": f"{len(self.graph.pair_keys):,}",
            "sources": ", ".join(self.sources),
            **({"not known to be independent": ", ".join(unknown)} if unknown else {}),
        }


def open_network(path: str | Path) -> Network:
    """Open an Octopus directory, or the embedded demonstration network (``demo``).

    Raises
    ------
    InputError
        If it is none, or a file or column is missing.

    Examples
    --------
    >>> import octoscope as oc
    >>> network = oc.open_network("demo")
    >>> network.sources
    ['OmniPath']
    >>> sorted(network.neighbours("LYZ").columns)[:2]
    ['from_', 'gene']
    """
    return Network(read_network(path))
