"""Graph neural networks for notebooks: checkpoints, graphs, scores of pairs, training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from octoscope.api.display import Shown
from octoscope.errors import InputError
from octoscope.extras import extras_needed
from octoscope.output_files import require_outside
from octoscope.store.run_dir import require_lasting

with extras_needed():
    from octoscope.gnn.checkpoint_summary import describe_checkpoint
    from octoscope.gnn.embeddings import cache_folder
    from octoscope.gnn.gnn_checkpoint import Checkpoint, open_checkpoint, write_checkpoint
    from octoscope.gnn.graph import PASSINGS, GnnGraph, Passing
    from octoscope.gnn.graph_folder import write_graph
    from octoscope.gnn.open_graph import misfits, not_compared, open_with_identifiers
    from octoscope.gnn.open_graph import open_graph as graph_of
    from octoscope.gnn.relation_geometry import relation_geometry
    from octoscope.gnn.score_file import ScoreSettings, names_of, score_pairs, side_by_side
    from octoscope.gnn.scoring import Mode


@dataclass(frozen=True, repr=False)
class Graph(Shown):
    """A graph that networks are trained on: features, edges, splits and names.

    Attributes
    ----------
    graph
        The arrays; see ``GnnGraph``.
    identifiers
        Identifiers of its vertices; None for a folder of ``octoscope gnn graph``.

    Examples
    --------
    >>> from octoscope.api.gnn import open_graph
    >>> graph = open_graph("demo")
    >>> graph.summary()["vertices"] == graph.graph.n_vertices
    True
    """

    graph: GnnGraph
    path: str
    identifiers: pd.DataFrame | None

    def summary(self) -> dict[str, Any]:
        """Return its name and sizes."""
        return self.graph.summary()

    def with_structure(self) -> Graph:
        """Return it with degrees and spectral coordinates of training edges as features."""
        from octoscope.gnn.structural_features import with_structure

        return Graph(with_structure(self.graph), self.path, self.identifiers)

    def save(self, folder: str | Path) -> None:
        """Write it as arrays that open at once: features, edges, splits, names, digests.

        Raises
        ------
        InputError
            If the folder may not be written, or the graph was read from such a folder.
        """
        if self.identifiers is None:
            raise InputError(self.path, "is such a folder already", "use it as it is")
        write_graph(self.graph, self.identifiers, Path(folder))

    def _entries(self) -> Mapping[str, Any]:
        return self.summary()


def open_graph(path: str | Path, *, data: str | None = None) -> Graph:
    """Open an Octopus directory, ``demo``, a napistu-torch store, or a folder of ``gnn graph``.

    ``data``: name of the data of a store.

    Raises
    ------
    InputError
        If nothing of the kind is there, or it is damaged.
    """
    graph, identifiers = open_with_identifiers(path, None, data)
    return Graph(graph, str(path), identifiers)


@dataclass(frozen=True)
class PairScores:
    """Scores of pairs.

    Attributes
    ----------
    table
        The columns of the pairs, then ``probability``, ``raw``, ``relation``, ``cosine``, ``edge``,
        ``split`` and ``same_vertex``; see docs/gnn.md.
    names_as
        As what the names of the pairs were read.

    Examples
    --------
    >>> PairScores(pd.DataFrame({"probability": [0.5]}), "1 pairs of vertices").names_as
    '1 pairs of vertices'
    """

    table: pd.DataFrame
    names_as: str


class Gnn(Shown):
    """A checkpoint of a graph neural network.

    Attributes
    ----------
    checkpoint
        Encoder, head and what it says of its graph; see ``Checkpoint``.

    Examples
    --------
    >>> from octoscope.api.gnn import open_gnn
    >>> open_gnn(GNN).describe()["encoder"]
    'graph_conv'
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint

    def describe(self) -> dict[str, Any]:
        """Return encoder, head, sizes, relations, corrections, and what it was trained on."""
        return describe_checkpoint(self.checkpoint)

    def fit(self, graph: str | Path, *, data: str | None = None) -> dict[str, Any]:
        """Tell whether a graph is the one that it was trained on.

        Returns
        -------
        dict
            The summary of the graph, ``fits``, ``problems`` (what differs) and ``not_compared``
            (of what the checkpoint states no digest).

        Raises
        ------
        InputError
            If there is no graph, or it is damaged.
        """
        opened, _ = open_with_identifiers(graph, self.checkpoint, data)
        problems = misfits(self.checkpoint, opened)
        return opened.summary() | {
            "fits": not problems, "problems": problems,
            "not_compared": not_compared(self.checkpoint, opened),
        }  # fmt: skip

    def save(
        self, folder: str | Path, *, graph: str | Path | None = None, data: str | None = None
    ) -> None:
        """Write it as safetensors and JSON.

        Parameters
        ----------
        graph, data
            The graph that it was trained on, whose digests it then states.

        Raises
        ------
        InputError
            If the folder may not be written, or the graph is another one.
        """
        digests = None if graph is None else graph_of(graph, self.checkpoint, data).digests
        write_checkpoint(self.checkpoint, Path(folder), digests)

    def score(
        self,
        pairs: str | Path,
        graph: str | Path,
        *,
        data: str | None = None,
        mode: Mode = "corrected",
        message_passing: Sequence[Passing] = ("all",),
        cache: str | Path | bool = True,
        device: str = "cpu",
        calibration: str | Path | None = None,
    ) -> PairScores:
        """Score the pairs of a table.

        Parameters
        ----------
        pairs
            Table (Parquet, TSV, CSV) with ``src``, ``dst`` (vertices) or ``query``, ``key``
            (genes); ``relation`` or ``relation_type``.
        graph, data
            The graph that it was trained on.
        mode
            ``peer``: probabilities as napistu-torch gives them.
        message_passing
            Edges that carry messages: ``all``, those of ``train``, ``leave-out`` (all but the
            pair's own); several side by side.
        cache
            Folder for embeddings; True: the user's, False: none.
        device
            ``cpu`` or ``cuda``.
        calibration
            Folder of ``octoscope gnn evaluate`` with this checkpoint: its column ``calibrated`` is
            the probability of an edge where half of the pairs are edges.

        Raises
        ------
        InputError
            If the graph is another one, the table cannot be used, there is no such device, or the
            evaluation is not of this checkpoint.
        """
        settings = _settings(pairs, graph, data, mode, message_passing, cache, device)
        calibrate = _calibrator([self.checkpoint], calibration, mode)
        table, names_as = score_pairs(self.checkpoint, settings)
        return PairScores(calibrate(0, table), names_as)

    def relations(self, *, permutations: int = 10_000, seed: int = 0) -> pd.DataFrame:
        """Compare the embeddings of the relations of its head, with a permutation null.

        Columns: ``relation_a``, ``relation_b``, ``similarity``, ``angle``, ``mean_turn``,
        ``null_low``, ``null_high``, ``p``, ``q``, ``n``, ``permutations``.

        Raises
        ------
        InputError
            If the head has no relations, or only one that counts.
        """
        return relation_geometry(self.checkpoint, permutations, seed)

    def _entries(self) -> Mapping[str, Any]:
        description = self.describe()
        return {name: description[name] for name in ("encoder", "layers", "width", "head")}


def open_gnn(path: str | Path) -> Gnn:
    """Open a checkpoint: a napistu-torch folder or .ckpt, or a folder of Octoscope.

    Raises
    ------
    InputError
        If nothing of the kind is there, or it is damaged.
    """
    return Gnn(open_checkpoint(path))


def score_gnns(
    checkpoints: Sequence[str | Path],
    pairs: str | Path,
    graph: str | Path,
    *,
    data: str | None = None,
    mode: Mode = "corrected",
    message_passing: Sequence[Passing] = ("all",),
    cache: str | Path | bool = True,
    device: str = "cpu",
    address: str | None = None,
    calibration: str | Path | None = None,
) -> PairScores:
    """Score the pairs of a table with several checkpoints, one task of Ray each.

    A single checkpoint is scored in this process where no ``address`` is given.

    Parameters
    ----------
    checkpoints
        Each as for :func:`open_gnn`. They are opened before Ray starts.
    pairs, graph, data, mode, message_passing, cache, device, calibration
        As for :meth:`Gnn.score`. On a cluster every node must see the paths.
    address
        Of a Ray cluster; None: ``RAY_ADDRESS``, else a Ray of this machine.

    Returns
    -------
    PairScores
        Of several checkpoints the table has a first column ``checkpoint`` (the name of the folder)
        and the rows of each, in the order of ``checkpoints``.

    Raises
    ------
    InputError
        If a checkpoint is given twice or cannot be read, the graph is not that of all of them, the
        table cannot be used, there is no such device, or the evaluation lacks a checkpoint.
    OctoscopeError
        If Ray cannot be reached, or a task's process died again and again.
    """
    names = names_of([Path(path) for path in checkpoints])
    opened = [open_gnn(path) for path in checkpoints]
    settings = _settings(pairs, graph, data, mode, message_passing, cache, device)
    calibrate = _calibrator([one.checkpoint for one in opened], calibration, mode)
    if len(opened) == 1 and address is None:
        table, names_as = score_pairs(opened[0].checkpoint, settings)
        return PairScores(calibrate(0, table), names_as)
    from octoscope.cluster.score_checkpoints import score_checkpoints

    results = list(score_checkpoints([Path(p) for p in checkpoints], settings, address))
    tables = [calibrate(i, table) for i, (table, _) in enumerate(results)]
    scores = dict(zip(names, tables, strict=True))
    return PairScores(side_by_side(scores), results[0][1])


def _calibrator(
    checkpoints: Sequence[Checkpoint], evaluation: str | Path | None, mode: Mode
) -> Callable[[int, pd.DataFrame], pd.DataFrame]:
    """Return a function that adds calibrated probabilities to the table of the i-th checkpoint."""
    if evaluation is None:
        return lambda i, table: table
    if mode != "corrected":
        raise InputError("calibration", "is of corrected scores", "leave out peer mode")
    from octoscope.link_prediction.calibrated_scores import calibration_of, with_calibrated

    fits = [calibration_of(checkpoint, evaluation) for checkpoint in checkpoints]
    return lambda i, table: with_calibrated(table, checkpoints[i], fits[i])


def _settings(
    pairs: str | Path,
    graph: str | Path,
    data: str | None,
    mode: Mode,
    message_passing: Sequence[Passing],
    cache: str | Path | bool,
    device: str,
) -> ScoreSettings:
    passings = tuple(p for p in PASSINGS if p in message_passing)
    folder = None if cache is False else cache_folder() if cache is True else Path(cache)
    if folder is not None:
        require_outside(folder / "embeddings", [pairs, *([] if str(graph) == "demo" else [graph])])
    return ScoreSettings(str(graph), Path(pairs), data, mode, passings, folder, device)


def train_gnn(
    config: str | Path,
    graph: str | Path,
    out: str | Path,
    *,
    data: str | None = None,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Train a graph neural network on the links of a graph; goes on where it was stopped.

    Parameters
    ----------
    config
        YAML of settings (docs/gnn.md).
    graph, data
        As for :func:`open_graph`.
    out
        New folder, or that of a training to go on with.
    say
        Is called with a line per epoch.

    Returns
    -------
    Path
        The checkpoint.

    Raises
    ------
    InputError
        If a setting or the graph cannot be used, the folder holds another training, or it is a
        relative path in a submitted job, whose folder Ray deletes.
    """
    from octoscope.gnn_training.train import train
    from octoscope.gnn_training.train_config import load_train_config
    from octoscope.gnn_training.train_state import CHECKPOINT, require_own

    target = Path(out)
    require_lasting(str(out))
    require_outside(target / CHECKPOINT, [config, *([] if str(graph) == "demo" else [graph])])
    require_own(target)
    opened = graph_of(graph, None, data)
    return train(opened, load_train_config(config), target, say or _nothing)


def _nothing(line: str) -> None:
    pass
