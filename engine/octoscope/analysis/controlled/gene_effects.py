"""Probability of an edge from gene effects and bins: what degree and the controls expect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from octoscope.jit import compiled

NOT_ELIGIBLE = 255  # among the bins of co-expression
MOST_SWEEPS = 60
TOLERANCE = 1e-3  # largest step of an effect, on the log odds scale, at the end
RIDGE = 0.1  # of the effects of bins: without it, those of bins with one edge can run away
_LARGEST_STEP = 2.0
_LARGEST_EFFECT = 30.0
_REMEMBERED = 8  # steps that the next one is made of


@dataclass(frozen=True)
class PairBins:
    """Bins of all pairs of vertices.

    Attributes
    ----------
    control
        [vertices, vertices] uint8 bin of co-expression, ``NOT_ELIGIBLE``: the pair is not eligible
        (the diagonal too); symmetric.
    level
        [vertices] float64 steps of the expression grid.
    level_bins
        [steps] int64 bin of each step.
    rarer
        The level of a pair is that of its rarer gene; otherwise the mean of both.
    """

    control: np.ndarray
    level: np.ndarray
    level_bins: np.ndarray
    rarer: bool


@dataclass(frozen=True)
class GeneEffects:
    """A fitted model: log odds of an edge = theta_u + theta_v + phi(level) + psi(co-expression).

    Attributes
    ----------
    theta
        [vertices] float64; -inf: the vertex has no edge among eligible pairs.
    phi, psi
        Effects of the bins of level and of co-expression, of size one where they are not used;
        -inf: no pair of the bin is an edge.
    sweeps
        Passes over all pairs that the fit took.
    converged
        Whether effects stand still; probabilities are NaN otherwise.
    """

    theta: np.ndarray
    phi: np.ndarray
    psi: np.ndarray
    sweeps: int = 0
    converged: bool = False

    def probability(
        self, u: np.ndarray, v: np.ndarray, level: np.ndarray, control: np.ndarray
    ) -> np.ndarray:
        """Return [pairs] probabilities of an edge; bins of a kind that is not used are ignored."""
        if not self.converged:
            return np.full(len(u), np.nan)
        phi = self.phi[level if len(self.phi) > 1 else np.zeros(len(u), np.int64)]
        psi = self.psi[control if len(self.psi) > 1 else np.zeros(len(u), np.int64)]
        return 1 / (1 + np.exp(-(self.theta[u] + self.theta[v] + phi + psi)))


def fit(
    bins: PairBins,
    degree: np.ndarray,
    level_edges: np.ndarray,
    control_edges: np.ndarray,
    start: GeneEffects | None = None,
) -> GeneEffects:
    """Fit by maximum likelihood: expected edges of each vertex and bin equal the observed ones.

    The effects of bins have a penalty of ``RIDGE / 2`` times their squares, so in a bin observed
    less expected edges are ``RIDGE`` times its effect. A sweep is one pass over all pairs; edges
    enter by their counts alone.

    Parameters
    ----------
    degree
        [vertices] edges among the eligible pairs of each vertex.
    level_edges, control_edges
        Edges in each bin of level and of co-expression; of size one: the kind is not used.
    start
        A fit with fewer bins to begin with.

    Returns
    -------
    GeneEffects
        Not converged after ``MOST_SWEEPS`` passes: probabilities are NaN.
    """
    n_levels, n_bins = len(level_edges), len(control_edges)
    observed = np.concatenate([degree, level_edges, control_edges]).astype(np.float64)
    n, alive = len(degree), observed > 0
    effects = np.zeros(len(observed))
    if start is None:
        effects[:n] = np.log(np.maximum(degree, 1) / np.sqrt(max(degree.sum(), 1)))
    else:
        effects[:n] = np.where(degree > 0, start.theta, 0)
        if len(start.phi) == n_levels:
            effects[n : n + n_levels] = np.where(level_edges > 0, start.phi, 0)
    level_map = bins.level_bins if n_levels > 1 else np.zeros_like(bins.level_bins)
    control_map = np.arange(NOT_ELIGIBLE) if n_bins > 1 else np.zeros(NOT_ELIGIBLE, np.int64)

    def step(x: np.ndarray) -> np.ndarray:
        """Return Newton's step at the effects; one pass over all pairs."""
        odds = np.where(alive, np.exp(np.clip(x, -_LARGEST_EFFECT, _LARGEST_EFFECT)), 0.0)
        expected = np.zeros(len(observed))
        weights = np.zeros((n, n_levels + n_bins))
        crossed = np.zeros((n_levels, n_bins))
        add_expected(
            bins.control, bins.level, level_map, control_map, bins.rarer, odds[:n],
            odds[n : n + n_levels], odds[n + n_levels :], expected[:n], expected[n:], weights,
            crossed,
        )  # fmt: skip
        rest = observed - expected
        rest[n:] -= RIDGE * x[n:]
        change = _step(rest, alive, weights, crossed, n_levels)
        return np.clip(change, -_LARGEST_STEP, _LARGEST_STEP)

    effects, sweeps, converged = (
        _fixed_point(step, effects) if alive[:n].any() else (effects, 0, True)
    )
    effects = np.where(alive, effects, -np.inf)
    parts: Sequence[np.ndarray] = np.split(effects, [n, n + n_levels])
    return GeneEffects(parts[0], parts[1], parts[2], sweeps, converged)


def _fixed_point(
    step: Callable[[np.ndarray], np.ndarray], x: np.ndarray
) -> tuple[np.ndarray, int, bool]:
    """Return where the step is 0, the steps taken, and whether it was found (Anderson 1965).

    Steps alone halve what is left, or less. Each is corrected by the combination of earlier ones
    that would have made it smallest.
    """
    earlier: list[tuple[np.ndarray, np.ndarray]] = []
    for n in range(1, MOST_SWEEPS + 1):
        f = step(x)
        if np.abs(f).max() < TOLERANCE:
            return x + f, n, True
        moved = x + f
        if earlier:
            dx, df = (
                np.stack([now - past[i] for past in earlier], 1) for i, now in enumerate((x, f))
            )
            moved = moved - (dx + df) @ np.linalg.lstsq(df, f, rcond=1e-8)[0]
        earlier = [*earlier[1 - _REMEMBERED :], (x, f)]
        x = moved
    return x, MOST_SWEEPS, False


def _step(
    rest: np.ndarray, alive: np.ndarray, weights: np.ndarray, crossed: np.ndarray, n_levels: int
) -> np.ndarray:
    """Return a step of all effects towards the largest likelihood.

    Newton's, with twice the variances of the vertices in place of their variances and covariances.
    That is at least as curved in every direction, so a step does not go too far.
    """
    n = len(weights)
    # every pair is in one bin of each kind, so either kind's weights add up to the vertex's
    own = 2 * weights[:, :n_levels].sum(1)
    inverse = np.divide(1, own, out=np.zeros(n), where=own > 0)
    scaled = weights * inverse[:, None]
    of_bins = np.diag(weights.sum(0) / 2 + RIDGE)
    of_bins[:n_levels, n_levels:], of_bins[n_levels:, :n_levels] = crossed / 2, crossed.T / 2
    step = np.zeros(len(rest))
    use = np.flatnonzero(alive[n:])
    right = rest[n:] - scaled.T @ rest[:n]
    step[n + use] = np.linalg.solve((of_bins - weights.T @ scaled)[np.ix_(use, use)], right[use])
    step[:n] = inverse * (rest[:n] - weights @ step[n:]) * alive[:n]
    return step


@compiled()
def add_expected(
    control: np.ndarray,
    level: np.ndarray,
    level_map: np.ndarray,
    control_map: np.ndarray,
    rarer: bool,
    odds: np.ndarray,
    level_odds: np.ndarray,
    control_odds: np.ndarray,
    expected: np.ndarray,
    expected_bins: np.ndarray,
    weights: np.ndarray,
    crossed: np.ndarray,
) -> None:
    """Add expected edges, and their variances, of every vertex and bin, in one pass.

    Parameters
    ----------
    control, level, rarer
        As in :class:`PairBins`.
    level_map, control_map
        Bin of each step of the level, and of each bin of co-expression.
    odds, level_odds, control_odds
        Exponentials of the effects.
    expected, expected_bins
        [vertices] and [level bins + control bins] expected edges; added to.
    weights
        [vertices, level bins + control bins] variances of the pairs of a vertex in a bin.
    crossed
        [level bins, control bins] twice the variances of the pairs in both bins.
    """
    n, n_levels = len(odds), len(level_odds)
    for i in range(n):
        if odds[i] == 0:
            continue
        bins, in_row = control[i], weights[i]
        here = np.zeros(len(expected_bins))
        for j in range(n):
            if bins[j] == 255:
                continue
            both = min(level[i], level[j]) if rarer else (level[i] + level[j]) / 2
            a, b = level_map[int(both)], control_map[bins[j]]
            x = odds[i] * odds[j] * level_odds[a] * control_odds[b]
            q = 1 / (1 + x)
            p = x * q
            variance = p * q
            expected[i] += p
            here[a] += p
            here[n_levels + b] += p
            in_row[a] += variance
            in_row[n_levels + b] += variance
            crossed[a, b] += variance
        expected_bins += here / 2
