"""Floors of link prediction: each rule alone, and boosted trees on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from octoscope.errors import InputError
from octoscope.link_prediction.topology_scores import RULES, Topology

STACKED = "stacked"
FLOORS = (*RULES, STACKED)


def floors_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the floors that are asked for, in the order of :data:`FLOORS`; empty: all.

    Raises
    ------
    InputError
        If one does not exist.
    """
    unknown = sorted(set(names) - {*FLOORS, "all"})
    if unknown:
        raise InputError("floors", f"{unknown[0]!r} is none", f"they are {', '.join(FLOORS)}, all")
    every = not names or "all" in names
    return tuple(f for f in FLOORS if every or f in names)


def features(topology: Topology, scores: dict[str, np.ndarray], src: np.ndarray,
             dst: np.ndarray) -> np.ndarray:  # fmt: skip
    """Return [pairs, rules + 4] float64: the scores of all rules, and in- and out-degrees."""
    degrees = [d[end] for end in (src, dst) for d in (topology.out_degree, topology.in_degree)]
    return np.column_stack([*(scores[rule] for rule in RULES), *degrees])


@dataclass(frozen=True)
class Stacked:
    """Boosted trees on the scores of all rules (scikit-learn's HistGradientBoosting).

    They are fitted on validation edges and their negatives, with scores from training edges, and
    asked about test pairs. So no pair is scored by trees that saw it.
    """

    model: Any

    def score(self, table: np.ndarray) -> np.ndarray:
        """Return [pairs] float64 log-odds from :func:`features`."""
        with threadpool_limits(1):
            return np.asarray(self.model.decision_function(table), float)


def fit_stacked(table: np.ndarray, truth: np.ndarray, seed: int = 0) -> Stacked:
    """Fit the trees on [pairs, features] of validation pairs and their [pairs] bool truth."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    trees = HistGradientBoostingClassifier(
        max_iter=200, learning_rate=0.1, max_leaf_nodes=31, early_stopping=False, random_state=seed
    )
    with threadpool_limits(1):  # 2 threads of a shared machine took 9 times as long
        return Stacked(trees.fit(table, truth))
