"""Link prediction for notebooks: floors of a network, and checkpoints beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from octoscope.link_prediction.evaluate_links import Evaluation, Settings
from octoscope.link_prediction.evaluate_links import evaluate_links as evaluate
from octoscope.link_prediction.links import open_links
from octoscope.link_prediction.splits import split_links


def evaluate_links(
    network: str | Path,
    checkpoints: Sequence[str | Path] = (),
    *,
    split: str = "pair",
    source: str | None = None,
    older: str | Path | None = None,
    negatives: Sequence[str] = ("degree", "uniform"),
    floors: Sequence[str] = (),
    models: Mapping[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] | None = None,
    seed: int = 0,
    positives: int = 20_000,
    queries: int = 500,
    candidates: int = 200,
    data: str | None = None,
    peer: bool = False,
) -> Evaluation:
    """Measure how well edges of a network are predicted by floors, checkpoints and other models.

    Parameters
    ----------
    network
        An Octopus directory, ``demo``, a folder of ``octoscope gnn graph``, or a napistu-torch
        store.
    checkpoints
        Folders of graph neural networks that were trained on it.
    split
        ``pair``, ``vertex``, ``source`` (with ``source``), ``release`` (with ``older``, the network
        in an older release), ``graph`` (the split that the graph states), or in peer mode ``edge``.
    negatives
        Of ``degree``, ``stratified``, ``uniform``, ``two-hop``, ``peer``. Ranks are among targets
        of test edges.
    floors
        Empty: all.
    models
        Name -> a function of source vertices, target vertices and relations ([pairs] int64 each)
        that returns [pairs] scores.
    positives
        At most so many edges of validation and of test.
    queries, candidates
        Test edges to rank, each among so many targets.
    data
        Name of the data of a store.
    peer
        Allow the split by directed edge, which leaks.

    Returns
    -------
    Evaluation
        ``metrics`` and ``signs`` (DataFrames) and ``about``.

    Raises
    ------
    InputError
        If an argument is unknown or the network or a checkpoint cannot be used.

    Examples
    --------
    >>> found = oc.evaluate_links("demo", floors=["mirror"], positives=500, queries=20)
    >>> found.metrics.query("metric == 'auc' and stratum == 'all'")["value"].round(1).tolist()
    [0.5, 0.5]
    """
    links = open_links(network, data)
    before = None if older is None else open_links(older)
    divided = split_links(links, split, seed=seed, source=source, older=before, peer=peer)
    settings = Settings(tuple(negatives), tuple(floors), seed, positives, queries, candidates)
    return evaluate(links, divided, checkpoints, settings, models)
