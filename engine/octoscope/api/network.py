"""A molecular network for notebooks: views, neighbours, and what it says of pairs of genes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from octoscope.api.choose import positions_of
from octoscope.api.described_network import DescribedNetwork
from octoscope.errors import InputError, warn
from octoscope.extras import extras_needed
from octoscope.genes import symbols_of_ensembl
from octoscope.octopus.directory import verify_directory
from octoscope.octopus.lookups import annotate
from octoscope.octopus.name_lookup import require_known, with_names
from octoscope.octopus.network import octopus_folder
from octoscope.octopus.network import open_network as read_network
from octoscope.octopus.network_schema import NOT_KNOWN
from octoscope.octopus.network_views import INDEPENDENT, View, not_known_text, view
from octoscope.octopus.nulls import gene_table

if TYPE_CHECKING:
    from octoscope.link_prediction.evaluate_links import Evaluation, Scorer


class Network(DescribedNetwork):
    """A molecular network, or a view of one.

    Examples
    --------
    >>> network = oc.open_network("demo")
    >>> signed = network.view(signed=True)
    >>> len(signed.neighbours("SPI1")) <= len(network.neighbours("SPI1"))
    True
    """

    def view(
        self,
        *,
        independent: bool = False,
        sources: Sequence[str] | None = None,
        without: Sequence[str] = (),
        without_channels: Sequence[str] = (),
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
            rows inferred from expression). A warning says what is not known of a source; it stands
            in ``graph.meta["not_known_independent"]``, too.
        sources, without
            Sources to keep (None: all) and to leave out.
        without_channels
            Channels of STRING to take out of its scores.
        directed, signed
            Keep only assertions with a direction, with a sign.
        min_score
            Keep only scores of at least this; assertions without a score stay.

        Raises
        ------
        InputError
            If a source does not exist, or its evidence cannot be told apart.

        Examples
        --------
        >>> network = oc.open_network("demo")
        >>> signed = network.view(signed=True)
        >>> len(signed.neighbours("LYZ")), len(network.neighbours("LYZ"))
        (19, 41)
        """
        base = INDEPENDENT if independent else View()
        what = replace(
            base,
            sources=None if sources is None else tuple(sources),
            without_sources=tuple(without),
            string_without=tuple(sorted({*base.string_without, *without_channels})),
            directed=directed,
            signed=signed,
            min_score=min_score,
        )
        if what == View():
            return self
        seen = view(self.graph, what)
        if NOT_KNOWN in seen.meta:
            warn(not_known_text(seen.meta[NOT_KNOWN]))
        return Network(seen)

    def named(self, genes: Iterable[object], *, where: str = "genes") -> tuple[Network, str]:
        """Return the network with further names of its genes, and as what they were read.

        Parameters
        ----------
        genes
            Ensembl ids, or symbols and other ids that the network knows.
        where
            The file that names them, for messages.

        Raises
        ------
        InputError
            If it knows none of them; if it knows under one in ten there is a warning.

        Examples
        --------
        >>> oc.open_network("demo").named(["LYZ", "NOSUCH"])[1]
        '1 of 2 names known: 1 as label'
        """
        names = list(genes)
        graph, counts = with_names(self.graph, names)
        summary = require_known(where, graph, counts, str(next(iter(names), "")))
        return Network(graph), summary

    def annotate(
        self, pairs: pd.DataFrame, *, query: str = "query", key: str = "key", distance: int = 0
    ) -> pd.DataFrame:
        """Return pairs of genes with what the network asserts of each.

        Genes are Ensembl ids, or symbols and other ids that the network knows. ``mapped`` is False
        where it does not know one; the other columns are null there.

        Adds ``mapped``, ``forward``, ``reverse``, ``stated``, ``sources``, ``relations``, ``sign``,
        ``contradictory``, ``score``, ``degree_a``, ``degree_b``, ``same_vertex`` and
        ``shared_pathways``; see ``octoscope.octopus.lookups.describe_genes``. With ``distance`` it
        adds the edges on the shortest path, up to this many (null: more).

        Examples
        --------
        >>> top = oc.open_run(RUN).topk(model="tiny", category="T cell", layer=2, k=20)
        >>> annotated = oc.open_network("demo").view(directed=True).annotate(top)
        >>> annotated[["query_symbol", "key_symbol", "forward", "reverse", "sources"]].shape
        (20, 5)
        """
        named, _ = with_names(self.graph, pd.concat([pairs[query], pairs[key]]).dropna().unique())
        return annotate(pairs, named, query, key, distance)

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

        Examples
        --------
        >>> near = oc.open_network("demo").neighbours("LYZ")
        >>> near[["symbol", "to", "from_", "sources"]].head(1).to_dict("records")
        [{'symbol': 'ITGAL', 'to': True, 'from_': False, 'sources': 'OmniPath'}]
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

    @extras_needed()
    def rate(
        self,
        pairs: pd.DataFrame,
        *,
        query: str = "query",
        key: str = "key",
        genes: Iterable[str] | None = None,
        permutations: int = 1000,
        seed: int = 0,
    ) -> dict[str, float | int]:
        """Return how many pairs of a list are edges, against genes of like degree.

        Parameters
        ----------
        pairs
            Ordered pairs, without missing genes.
        genes
            Genes that could have been listed; None: those of the list.
        permutations, seed
            Of the null.

        Returns
        -------
        dict
            ``n_pairs``, ``n_edges``, ``edge_rate``, ``null_mean``, ``null_low``, ``null_high``,
            ``fold_over_null``, ``p`` and more of the test; ``peer_rate`` and ``peer_background``:
            as the napistu posts count them, without a null.

        Raises
        ------
        InputError
            If ``genes`` lacks a gene of the list.

        Examples
        --------
        >>> top = oc.open_run(RUN).topk(model="tiny", category="T cell", layer=2, k=20)
        >>> rates = oc.open_network("demo").rate(top, permutations=50)
        >>> rates["n_pairs"] <= 20, 0 <= rates["p"] <= 1  # pairs of genes that the network has
        (True, True)
        """
        from octoscope.analysis.given_lists import list_rates

        a, b = (pairs[c].astype(str).to_numpy(object) for c in (query, key))
        listed = list(dict.fromkeys([*a, *b]))
        known = listed if genes is None else list(dict.fromkeys(genes))
        if outside := set(listed).difference(known):
            raise InputError(
                "genes", f"lacks {len(outside):,} genes of the list, e.g. {min(outside)}",
                "name every gene that could have been listed",
            )  # fmt: skip
        named, _ = with_names(self.graph, known)
        vocabulary = np.array(known, dtype=object)
        rates, peer = list_rates(named, a, b, vocabulary, permutations=permutations, seed=seed)
        return rates | {"peer_rate": peer.rate, "peer_background": peer.background}

    def gene_table(self, genes: Sequence[str]) -> pd.DataFrame:
        """Return vertex, degree by source, and stratum of a set of genes, for nulls.

        Columns: ``gene``, ``vertex``, ``how``, ``same_vertex``, ``degree``, ``degree_in_set``,
        ``stratum`` and ``degree_<source>``; null for a gene that is not in the network.

        Examples
        --------
        >>> oc.open_network("demo").gene_table(["LYZ", "NOSUCH"])["degree"].notna().tolist()
        [True, False]
        """
        named, _ = with_names(self.graph, genes)
        return gene_table(named, list(genes))

    @extras_needed()
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
        >>> evaluation = network.evaluate_links(floors=["mirror"], positives=500, queries=20)
        >>> areas = evaluation.metrics.query("metric == 'auc' and stratum == 'all'")
        >>> areas["value"].round(1).tolist()
        [0.5, 0.5]
        """
        from octoscope.api.links import evaluate_links

        return evaluate_links(
            self, checkpoints, split=split, source=source, older=older, negatives=negatives,
            floors=floors, models=models, seed=seed, positives=positives, queries=queries,
            candidates=candidates, peer=peer,
        )  # fmt: skip


def open_network(path: str | Path, *, check: bool = False) -> Network:
    """Open an Octopus directory, or the embedded demonstration network (``demo``).

    ``check``: compare every file with its digest first.

    Raises
    ------
    InputError
        If it is no Octopus directory, a file or column is missing, or a file does not match its
        digest.

    Examples
    --------
    >>> import octoscope as oc
    >>> network = oc.open_network("demo", check=True)
    >>> network.sources
    ['OmniPath']
    >>> sorted(network.neighbours("LYZ").columns)[:2]
    ['from_', 'gene']
    """
    if check:
        with octopus_folder(path) as folder:
            faults = verify_directory(folder)
        if faults:
            raise InputError(str(path), "; ".join(faults), "build or import it again")
    return Network(read_network(path))
