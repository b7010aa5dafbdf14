"""A trained checkpoint as a scorer of pairs, encoded along the training edges of a split alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from octoscope.errors import InputError, warn
from octoscope.gnn.graph import SPLITS
from octoscope.gnn.open_graph import misfits
from octoscope.link_prediction.links import Links
from octoscope.link_prediction.splits import Split
from octoscope.octopus.pairs import find_keys, pair_codes


@dataclass(frozen=True)
class Seen:
    """What the weights of a checkpoint saw of the test edges.

    Attributes
    ----------
    share
        Share of the test edges whose pair was in training, in any order; None: the checkpoint does
        not say what it was trained on.
    """

    share: float | None

    def sentence(self) -> str:
        """Return it in words."""
        if self.share is None:
            return "does not say which edges it was trained on: its figures may be of edges it saw"
        return f"was trained on {self.share:.1%} of the test edges: its figures are not held out"


@dataclass(frozen=True)
class CheckpointScorer:
    """Scores of a checkpoint.

    Attributes
    ----------
    name
        Of its folder.
    head
        :class:`octoscope.gnn.heads.Head`.
    z
        [vertices, width] embeddings; only training edges of the split carried messages.
    relations
        Names of the relations of the head, empty for one without.
    seen
        What the weights saw.
    digest
        SHA-256 of the weights.
    """

    name: str
    head: Any = field(repr=False)
    z: Any = field(repr=False)
    relations: tuple[str, ...]
    seen: Seen
    digest: str

    def score(self, src: np.ndarray, dst: np.ndarray, relation: np.ndarray) -> np.ndarray:
        """Return [pairs] float64 raw scores.

        They are the probabilities of conditional RotatE, whose raw scores do not compare across
        relations.
        """
        from octoscope.gnn.scoring import score_pairs

        scores = score_pairs(self.head, self.z, src, dst, relation if self.relations else None)
        which = scores.probability if self.head.kind == "conditional_rotate" else scores.raw
        return which.astype(float)

    def sign(self, src: np.ndarray, dst: np.ndarray) -> np.ndarray:
        """Return [pairs] float64: best score as a stimulator less best score as an inhibitor."""
        best = []
        for role in ("stimulator", "inhibitor"):
            mine = of_role(self.relations, role)
            scores = [self.score(src, dst, np.full(len(src), r)) for r in mine]
            best.append(np.max(scores, axis=0))
        return np.asarray(best[0] - best[1], float)

    @property
    def knows_signs(self) -> bool:
        """Whether the head has relations of stimulators and of inhibitors."""
        return knows_signs(self.relations)


def of_role(relations: Sequence[str], role: str) -> list[int]:
    """Return the positions of the relations whose source is a ``stimulator`` or ``inhibitor``."""
    return [i for i, r in enumerate(relations) if r.startswith(f"{role} ->")]


def knows_signs(relations: Sequence[str]) -> bool:
    """Return whether there are relations of stimulators and of inhibitors."""
    return all(of_role(relations, role) for role in ("stimulator", "inhibitor"))


def open_scorer(path: str | Path, links: Links, split: Split) -> CheckpointScorer:
    """Open a checkpoint and encode the graph along the training edges of a split.

    It warns where the weights saw test edges, or do not say.

    Raises
    ------
    InputError
        If the checkpoint cannot be read or was not trained on this graph.
    """
    from octoscope.gnn.embeddings import encode, messages_of
    from octoscope.gnn.gnn_checkpoint import open_checkpoint

    checkpoint, graph = open_checkpoint(path), links.graph
    problems = misfits(checkpoint, graph)
    if problems:
        raise InputError(str(path), f"was not trained on {graph.made_from}: {problems[0]}",
                         "give the graph that it was trained on")  # fmt: skip
    messages = messages_of(checkpoint, graph).without(split.part != SPLITS.index("train"))
    seen = Seen(_seen(checkpoint.data, links, split))
    if seen.share is None or seen.share > 0:
        warn(f"{path}: {seen.sentence()}")
    return CheckpointScorer(
        Path(path).name, checkpoint.head, encode(checkpoint, graph, messages),
        checkpoint.relations, seen, checkpoint.digest,
    )  # fmt: skip


def _seen(about: dict[str, Any], links: Links, split: Split) -> float | None:
    graph, digests = links.graph, about.get("digests")
    if graph.split is None:
        return None
    same_mask = about.get("train_mask_hash") == graph.mask_digest("train")
    if not same_mask and not (
        isinstance(digests, dict) and digests.get("split") == graph.digests["split"]
    ):
        return None
    trained = np.asarray(graph.split) == SPLITS.index("train")
    codes = np.unique(links.codes[trained])
    test = split.rows("test")
    test_codes = pair_codes(links.src[test], links.dst[test], links.n)
    return float((find_keys(codes, test_codes) >= 0).mean())
