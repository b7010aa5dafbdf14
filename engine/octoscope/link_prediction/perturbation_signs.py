"""Do predicted signs agree with what perturbations did? Within regulators, beside floors.

The estimand is the AUC of the observed sign among the targets of one regulator, averaged over
regulators; a model that knows hubs, frequent signs or how a regulator tends to act gets 0.5.
Intervals are by bootstrap over regulators. The p value permutes scores among targets of one
regulator that respond alike to other regulators. A test over rows would count each regulator as
often as it has targets. A model of targets alone can have a small p, as fifths are coarse: its gain
over the floor of targets says whether it knows more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

RESPONSE, MAJORITY, RATE = "target_response", "regulator_majority", "target_rate"
SHARES = (1.0, 0.5, 0.1)
COLUMNS = [
    "share", "pairs", "scorer", "kind", "auc", "low", "high", "best_floor", "gain", "gain_low",
    "gain_high", "p", "n_pairs", "n_regulators", "share_up",
]  # fmt: skip
LEAST = 5  # targets of a regulator
_STRATA = 5  # of targets by their response
_DRAWS = 1000


def perturbation_signs(
    regulator: np.ndarray,
    target: np.ndarray,
    effect: np.ndarray,
    models: Mapping[str, np.ndarray],
    *,
    rate: np.ndarray | None = None,
    group: np.ndarray | None = None,
    shares: tuple[float, ...] = SHARES,
    seed: int = 0,
    draws: int = _DRAWS,
) -> pd.DataFrame:
    """Return a row per share of the strongest effects, group of pairs and scorer.

    Parameters
    ----------
    regulator, target
        [pairs] int64 codes.
    effect
        [pairs] float64, that of more of the regulator; not 0.
    models
        Scores by name, [pairs] float64; they grow with activation.
    rate
        [pairs] float64 log-odds of activation of the target in the network; a floor.
    group
        [pairs] object: names of groups that are reported besides all pairs, such as training edges.
    shares
        Of the largest absolute effects of each regulator.

    Returns
    -------
    DataFrame
        Columns :data:`COLUMNS`. Floors: the response of the target to other regulators, the
        regulator's majority (0.5 by construction), and ``rate``. ``p`` is one-sided.
    """
    rows: list[dict[str, Any]] = []
    for share in shares:
        kept = _strongest(regulator, effect, share)
        for name in ["all", *(sorted(set(group.tolist())) if group is not None else [])]:
            mine = kept if name == "all" or group is None else kept[group[kept] == name]
            # what targets do to other regulators is known from all strong pairs
            response = _response(regulator, target, effect > 0, kept)
            floors = {RESPONSE: response, MAJORITY: np.zeros(len(effect))}
            if rate is not None:
                floors[RATE] = rate
            scores = {n: s[mine] for n, s in {**floors, **models}.items()}
            about = {"share": share, "pairs": name}
            rows += [about | row for row in _rows(
                regulator[mine], effect[mine] > 0, scores, set(floors), seed, draws)]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def _strongest(regulator: np.ndarray, effect: np.ndarray, share: float) -> np.ndarray:
    """Return the positions of the largest absolute effects of each regulator, at least five."""
    order = np.lexsort((-np.abs(effect), regulator))
    size = np.bincount(regulator)
    start = np.cumsum(size) - size
    rank_of = np.arange(len(order)) - start[regulator[order]]
    most = np.maximum(np.ceil(share * size), LEAST)
    return np.sort(order[rank_of < most[regulator[order]]])


def _response(
    regulator: np.ndarray, target: np.ndarray, up: np.ndarray, kept: np.ndarray
) -> np.ndarray:
    """Return [pairs] smoothed log-odds of activation of the target by other regulators.

    Smoothing is by the share of activation among all strong pairs.
    """
    n = int(target.max()) + 1
    ups, downs = (np.bincount(target[kept][up[kept] == v], minlength=n) for v in (True, False))
    own = np.zeros(len(target), bool)
    own[kept] = True
    p = min(max(float(up[kept].mean()), 1e-6), 1 - 1e-6)
    a = ups[target] - (own & up) + p
    b = downs[target] - (own & ~up) + 1 - p
    return np.log(a / b)


def _ranks(score: np.ndarray, regulator: np.ndarray) -> np.ndarray:
    """Return [pairs] ranks within the regulator; equal scores share the mean."""
    return pd.Series(score).groupby(regulator).rank().to_numpy()


def _areas(rank: np.ndarray, regulator: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Return the AUC of each regulator with both signs and at least five targets; NaN otherwise."""
    n = int(regulator.max()) + 1
    ups, size = np.bincount(regulator, up, n), np.bincount(regulator, minlength=n)
    downs = size - ups
    total = np.bincount(regulator, rank * up, n)
    with np.errstate(invalid="ignore", divide="ignore"):
        area = (total - ups * (ups + 1) / 2) / (ups * downs)
    return np.where((ups > 0) & (downs > 0) & (size >= LEAST), area, np.nan)


def _rows(
    regulator: np.ndarray, up: np.ndarray, scores: Mapping[str, np.ndarray], floors: set[str],
    seed: int, draws: int,
) -> list[dict[str, Any]]:  # fmt: skip
    if not len(regulator):
        return []
    rank = {name: _ranks(score, regulator) for name, score in scores.items()}
    areas = {name: _areas(r, regulator, up) for name, r in rank.items()}
    usable = np.flatnonzero(~np.isnan(areas[MAJORITY]))
    if len(usable) < 2:
        return []
    areas = {name: a[usable] for name, a in areas.items()}
    rng = np.random.default_rng([seed, 11])
    sample = rng.integers(len(usable), size=(draws, len(usable)))
    best = max(floors, key=lambda f: (float(areas[f].mean()), f))
    strata = _strata(scores[RESPONSE], regulator)
    out = []
    for name, area in areas.items():
        low, high = np.quantile(area[sample].mean(1), [0.025, 0.975])
        row = {"scorer": name, "kind": "floor" if name in floors else "model",
               "auc": float(area.mean()), "low": float(low), "high": float(high),
               "n_pairs": int(np.isin(regulator, usable).sum()), "n_regulators": len(usable),
               "share_up": float(up.mean())}  # fmt: skip
        if name not in floors:
            gain = area - areas[best]
            low, high = np.quantile(gain[sample].mean(1), [0.025, 0.975])
            p = _p_value(rank[name], regulator, up, strata, usable, rng, draws)
            row |= {"best_floor": best, "gain": float(gain.mean()), "gain_low": float(low),
                    "gain_high": float(high), "p": p}  # fmt: skip
        out.append(row)
    return out


def _strata(response: np.ndarray, regulator: np.ndarray) -> np.ndarray:
    """Return [pairs] codes: the regulator and the fifth of its targets by their response."""
    rank_of = pd.Series(response).groupby(regulator).rank(pct=True).to_numpy()
    return regulator * _STRATA + np.minimum((rank_of * _STRATA).astype(np.int64), _STRATA - 1)


def _p_value(
    rank: np.ndarray, regulator: np.ndarray, up: np.ndarray, strata: np.ndarray,
    usable: np.ndarray, rng: np.random.Generator, draws: int,
) -> float:  # fmt: skip
    """Return the share of permutations within strata with a mean AUC at least as high."""
    order = np.argsort(strata, kind="stable")
    observed = _areas(rank, regulator, up)[usable].mean()
    as_high, shuffled = 0, np.empty_like(rank)
    for _ in range(draws):
        shuffled[order] = rank[np.lexsort((rng.random(len(rank)), strata))]
        as_high += _areas(shuffled, regulator, up)[usable].mean() >= observed - 1e-12
    return (1 + as_high) / (1 + draws)
