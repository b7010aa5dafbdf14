"""Signs (activation or inhibition) and what rules without a network say of them.

The rules are the rates of regulators and targets, and boosted trees on these and on signed paths.
Most regulators have one sign and most signs are activation, so accuracy says nothing and the rates
alone reach a high AUC. A model that does not beat them knows which vertices activate, not which
pairs do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from octoscope.gnn.graph import SPLITS as PARTS
from octoscope.gnn.pair_hash import pair_hash
from octoscope.link_prediction.floors import fit_stacked
from octoscope.link_prediction.link_metrics import Estimate, auc, interval, mean_of
from octoscope.link_prediction.links import Links
from octoscope.link_prediction.signed_paths import SignedTraining, path_features
from octoscope.link_prediction.splits import Split

REGULATOR, TARGET, BOTH = "regulator_rate", "target_rate", "regulator_and_target"
STACKED = "stacked_signs"
FLOORS = (REGULATOR, TARGET, BOTH, STACKED)
SPLITS = ("as asked", "new regulators", "new targets", "both new")
COLUMNS = [
    "split", "scorer", "kind", "metric", "value", "low", "high", "best_floor", "gain", "gain_low",
    "gain_high", "n_pairs", "n_activating", "n_regulators",
]  # fmt: skip
_TEST = 0.2  # share of regulators, of targets, that is held out
_LEAST = 5  # targets of a regulator within which targets are ordered
_FITTED = (100, 20_000)  # least and most validation pairs that trees are fitted on
Scorer = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class SignedPairs:
    """Distinct ordered pairs with one sign.

    Attributes
    ----------
    src, dst
        [pairs] int64 regulator and target.
    activates
        [pairs] bool; False: inhibits.
    part
        [pairs] uint8 of the split of links.
    conflicting
        Number of pairs with both signs, which are left out.
    """

    src: np.ndarray
    dst: np.ndarray
    activates: np.ndarray
    part: np.ndarray
    conflicting: int

    def training(self, n: int, rows: np.ndarray) -> SignedTraining:
        """Return those at ``rows`` as what features may know, of a network of ``n`` vertices."""
        return SignedTraining(n, self.src[rows], self.dst[rows], self.activates[rows])


def signed_pairs(links: Links, split: Split) -> SignedPairs:
    """Return the signed ordered pairs of a network; self pairs are left out.

    Where copies of a pair are in several parts, the first of train, val, test counts.
    """
    rows = np.flatnonzero((links.sign != 0) & (links.src != links.dst))
    key, inverse = np.unique(links.ordered[rows], return_inverse=True)
    up = np.bincount(inverse, links.sign[rows] > 0, len(key)) > 0
    down = np.bincount(inverse, links.sign[rows] < 0, len(key)) > 0
    part = np.full(len(key), 255, np.uint8)
    stated = split.part[rows]
    np.minimum.at(part, inverse, np.where(stated == 0, 254, stated).astype(np.uint8))
    one = up != down
    return SignedPairs(
        key[one] // links.n, key[one] % links.n, up[one], part[one], int((~one).sum())
    )


def divided(links: Links, pairs: SignedPairs, how: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the [train] and [test] positions of a split of signs, one of :data:`SPLITS`."""
    if how == "as asked":
        return np.flatnonzero(pairs.part == 1), np.flatnonzero(pairs.part == 3)
    number = pair_hash(links.graph.vertex_names, np.arange(links.n), np.arange(links.n))
    number = number ^ np.random.default_rng([seed, 3]).integers(2**63, dtype=np.uint64)
    held_out = (number % np.uint64(10_000)) < np.uint64(10_000 * _TEST)
    a, b = held_out[pairs.src], held_out[pairs.dst]
    test = {"new regulators": a, "new targets": b, "both new": a & b}[how]
    train = ~(a | b) if how == "both new" else ~test
    return np.flatnonzero(train), np.flatnonzero(test)


def rates(n: int, src: np.ndarray, dst: np.ndarray, activates: np.ndarray) -> dict[str, Scorer]:
    """Return the floors: smoothed log-odds of activation of the regulator, of the target, and both.

    ``log((up + p) / (down + 1 - p))`` with p the share of activation, so a vertex without a
    training pair has the log-odds of p.
    """
    p = min(max(float(activates.mean()), 1e-6), 1 - 1e-6)

    def of(end: np.ndarray) -> np.ndarray:
        up = np.bincount(end, activates, n)
        down = np.bincount(end, ~activates, n)
        return np.log((up + p) / (down + 1 - p))

    regulator, target = of(src), of(dst)
    return {
        REGULATOR: lambda a, b: regulator[a],
        TARGET: lambda a, b: target[b],
        BOTH: lambda a, b: regulator[a] + target[b],
    }


def sign_features(known: SignedTraining) -> Scorer:
    """Return a function from regulators and targets to what training pairs say of their sign.

    It returns [pairs, columns] float64: rates, counts of signs, sums over signed paths.
    """
    of_rates = rates(known.n, known.src, known.dst, known.activates)

    def features(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        columns = [np.column_stack([of(a, b) for of in of_rates.values()]), known.counts(a, b)]
        return np.hstack([*columns, path_features(known, of_rates[BOTH], a, b)])

    return features


def fit_stacked_signs(
    n: int, pairs: SignedPairs, train: np.ndarray, fitted: np.ndarray, seed: int = 0
) -> Scorer | None:
    """Fit boosted trees on rates and signed paths, with what training pairs say of both.

    Parameters
    ----------
    n
        Number of vertices.
    train, fitted
        Positions in ``pairs``: of those that the features know, and of those that trees are fitted
        on, at most 20,000 of them.

    Returns
    -------
    Scorer or None
        Log-odds of activation; None if there are fewer than 100 pairs to fit on, or one sign alone
        in either part.
    """
    parts = [pairs.activates[rows] for rows in (train, fitted)]
    if len(fitted) < _FITTED[0] or any(up.all() or not up.any() for up in parts):
        return None
    if len(fitted) > _FITTED[1]:
        fitted = np.sort(np.random.default_rng([seed, 4]).choice(fitted, _FITTED[1], replace=False))
    features = sign_features(pairs.training(n, train))
    table = features(pairs.src[fitted], pairs.dst[fitted])
    trees = fit_stacked(table, pairs.activates[fitted], seed)
    return lambda a, b: trees.score(features(a, b))


def within_regulators(
    score: np.ndarray, activates: np.ndarray, src: np.ndarray
) -> tuple[Estimate, np.ndarray]:
    """Return the mean over regulators of the AUC among their targets, and these regulators.

    Regulators have at least five targets and both signs.
    """
    areas, kept = [], []
    for rows in pd.Series(np.arange(len(src))).groupby(src).indices.values():
        truth = activates[rows]
        if len(rows) >= _LEAST and truth.any() and not truth.all():
            areas.append(auc(score[rows], truth).value)
            kept.append(src[rows[0]])
    return mean_of(np.array(areas)), np.array(kept, np.int64)


def sign_table(
    links: Links, split: Split, models: Mapping[str, Scorer] | None = None, seed: int = 0,
    *, stacked: bool = False,
) -> tuple[pd.DataFrame, int]:  # fmt: skip
    """Evaluate floors, and models beside them, on the signs of a network.

    Parameters
    ----------
    models
        Name -> a function from regulators and targets ([pairs] int64) to scores that grow with
        activation. They are asked about the test pairs of ``split`` only, on which they were not
        trained.
    stacked
        Add boosted trees on rates and signed paths to the floors (scikit-learn). They are fitted on
        the validation pairs of ``split`` and asked about its test pairs.

    Returns
    -------
    tuple
        Rows of split, scorer, kind, metric (``auc``, ``auc_within_regulator``), value, low, high,
        best_floor, gain, gain_low, gain_high, n_pairs, n_activating, n_regulators; intervals are by
        regulator. And the number of conflicting pairs. No rows for a network without signs.
    """
    pairs = signed_pairs(links, split)
    out: list[dict[str, Any]] = []
    for how in SPLITS:
        train, test = divided(links, pairs, how, seed)
        up = pairs.activates[test]
        if not len(train) or not up.any() or up.all():
            continue
        a, b = pairs.src[test], pairs.dst[test]
        floors = rates(links.n, pairs.src[train], pairs.dst[train], pairs.activates[train])
        trained = dict(models or {}) if how == "as asked" else {}
        if stacked and how == "as asked":
            val = np.flatnonzero(pairs.part == PARTS.index("val"))
            trees = fit_stacked_signs(links.n, pairs, train, val, seed)
            floors |= {} if trees is None else {STACKED: trees}
        scores = {name: of(a, b) for name, of in (floors | trained).items()}
        estimates = {("auc", name): (auc(s, up), a) for name, s in scores.items()}
        estimates |= {
            ("auc_within_regulator", name): within_regulators(s, up, a)
            for name, s in scores.items()
        }
        out += _rows(how, estimates, up)
    return pd.DataFrame(out, columns=COLUMNS), pairs.conflicting


def _rows(
    how: str, estimates: dict[tuple[str, str], tuple[Estimate, np.ndarray]], up: np.ndarray
) -> list[dict[str, Any]]:
    out, floors = [], [f for f in FLOORS if ("auc", f) in estimates]
    for (metric, name), (estimate, regulator) in estimates.items():
        if not len(regulator):
            continue
        low, high, n = interval(estimate, regulator)
        row: dict[str, Any] = {
            "split": how, "scorer": name, "kind": "floor" if name in FLOORS else "model",
            "metric": metric, "value": estimate.value, "low": low, "high": high,
        }  # fmt: skip
        best = max(floors, key=lambda f: estimates[metric, f][0].value)
        if name not in FLOORS:
            gain = estimate - estimates[metric, best][0]
            low, high, _ = interval(gain, regulator)
            row |= {"best_floor": best, "gain": gain.value, "gain_low": low, "gain_high": high}
        row |= {"n_pairs": len(up), "n_activating": int(up.sum()), "n_regulators": n}
        out.append(row)
    return out
