"""Probability of an edge from gene effects and bins: what degree and the controls expect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from octoscope.jit import compiled

NOT_ELIGIBLE = 255  # among the bins of co-expression
MOST_SWEEPS = 60
TOLERANCE = 1e-3  # largest step of an effect, on the log odds scale, at the end
RIDGE = 0.1  # of the effects of bins: without it, those of bins with one edge can run away
CELL_RIDGE = 1.0  # of the effects of cells: gene effects can say a part of what they say
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
    groups
        [2, vertices] int64 group of each vertex by its level and by its degree.
    """

    control: np.ndarray
    level: np.ndarray
    level_bins: np.ndarray
    rarer: bool
    groups: np.ndarray

    @property
    def cell_of(self) -> np.ndarray:
        """[groups, groups] int64 cell of two groups, in either order."""
        n = int(self.groups.max(initial=0)) + 1
        numbers = np.zeros((n, n), np.int64)
        numbers[np.triu_indices(n)] = np.arange(n * (n + 1) // 2)
        return np.maximum(numbers, numbers.T)

    def cells(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return [2, pairs] cells of pairs, by both levels and by both degrees."""
        return self.cell_of[self.groups[:, u], self.groups[:, v]]


@dataclass(frozen=True)
class GeneEffects:
    """A fitted model of the log odds of an edge.

    theta_u + theta_v + phi(level) + psi(co-expression) + chi(both levels) + chi'(both degrees).

    Attributes
    ----------
    theta
        [vertices] float64; -inf: the vertex has no edge among eligible pairs.
    phi, psi
        Effects of the bins of level and of co-expression, of size one where they are not used;
        -inf: no pair of the bin is an edge.
    chi
        [2, cells] effects of cells, as above, or [2, 0].
    sweeps
        Passes over all pairs that the fit took.
    converged
        Whether effects stand still; probabilities are NaN otherwise.
    """

    theta: np.ndarray
    phi: np.ndarray
    psi: np.ndarray
    chi: np.ndarray
    sweeps: int = 0
    converged: bool = False

    def probability(
        self,
        u: np.ndarray,
        v: np.ndarray,
        level: np.ndarray,
        control: np.ndarray,
        cells: np.ndarray,
    ) -> np.ndarray:
        """Return [pairs] probabilities of an edge; bins of a kind that is not used are ignored.

        Parameters
        ----------
        u, v, level, control
            [pairs] vertices, and bins of level and of co-expression.
        cells
            [2, pairs] of :meth:`PairBins.cells`.
        """
        if not self.converged:
            return np.full(len(u), np.nan)
        log_odds = self.theta[u] + self.theta[v]
        kinds = ((self.phi, level), (self.psi, control), *zip(self.chi, cells, strict=True))
        for effects, of_pair in kinds:
            if len(effects):
                log_odds = log_odds + (effects[of_pair] if len(effects) > 1 else effects[0])
        return 1 / (1 + np.exp(-log_odds))


def fit(
    bins: PairBins,
    degree: np.ndarray,
    level_edges: np.ndarray,
    control_edges: np.ndarray,
    start: GeneEffects | None = None,
    cell_edges: np.ndarray | None = None,
) -> GeneEffects:
    """Fit by maximum likelihood: expected edges of each vertex and bin equal the observed ones.

    The effects of bins have a penalty of ``RIDGE / 2`` times their squares, so in a bin observed
    less expected edges are ``RIDGE`` times its effect; those of cells, ``CELL_RIDGE``. A sweep is
    one pass over all pairs; edges enter by their counts alone.

    Parameters
    ----------
    degree
        [vertices] edges among the eligible pairs of each vertex.
    level_edges, control_edges
        Edges in each bin of level and of co-expression; of size one: the kind is not used.
    start
        A fit with fewer bins to begin with.
    cell_edges
        [2, cells] edges in each cell of both levels and of both degrees; None: without cells.

    Returns
    -------
    GeneEffects
        Not converged after ``MOST_SWEEPS`` passes: probabilities are NaN.
    """
    with_cells = cell_edges is not None
    of_cells = np.zeros((2, 0)) if cell_edges is None else cell_edges
    kinds = (level_edges, control_edges, *of_cells)
    ends = np.cumsum([len(degree), *map(len, kinds)])
    observed = np.concatenate([degree, *kinds]).astype(np.float64)
    n, alive = len(degree), observed > 0
    effects = np.zeros(len(observed))
    if start is None:
        effects[:n] = np.log(np.maximum(degree, 1) / np.sqrt(max(degree.sum(), 1)))
    else:
        effects[:n] = np.where(degree > 0, start.theta, 0)
        for first, edges, of in zip(ends[:-1], kinds, (start.phi, start.psi), strict=False):
            if len(of) == len(edges):
                effects[first : first + len(of)] = np.where(edges > 0, of, 0)
    level_map = bins.level_bins if len(level_edges) > 1 else np.zeros_like(bins.level_bins)
    control_map = np.arange(NOT_ELIGIBLE) * (len(control_edges) > 1)
    ridge = np.where(np.arange(len(observed) - n) < ends[2] - n, RIDGE, CELL_RIDGE)

    def step(x: np.ndarray) -> np.ndarray:
        """Return Newton's step at the effects; one pass over all pairs."""
        odds = np.where(alive, np.exp(np.clip(x, -_LARGEST_EFFECT, _LARGEST_EFFECT)), 0.0)
        expected = np.zeros(len(observed))
        weights, curved = np.zeros((n, ends[-1] - n)), np.zeros((ends[-1] - n,) * 2)
        add_expected(
            bins.control, bins.level, level_map, control_map, bins.rarer, bins.groups,
            bins.cell_of, with_cells, odds[:n], odds[n:], ends[1:-1] - n, expected[:n],
            expected[n:], weights, curved,
        )  # fmt: skip
        rest = observed - expected
        rest[n:] -= ridge * x[n:]
        change = _step(rest, alive, weights, curved + np.diag(ridge), len(level_edges))
        return np.clip(change, -_LARGEST_STEP, _LARGEST_STEP)

    effects, sweeps, converged = (
        _fixed_point(step, effects) if alive[:n].any() else (effects, 0, True)
    )
    effects = np.where(alive, effects, -np.inf)
    theta, phi, psi, *chi = np.split(effects, ends[:-1])
    return GeneEffects(theta, phi, psi, np.stack(chi), sweeps, converged)


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
    rest: np.ndarray, alive: np.ndarray, weights: np.ndarray, curved: np.ndarray, n_levels: int
) -> np.ndarray:
    """Return a step of all effects towards the largest likelihood.

    Newton's, with twice the variances of the vertices in place of their variances and covariances.
    That is at least as curved in every direction, so a step does not go too far.
    """
    n = len(weights)
    # every pair is in one bin of each kind, so the weights of one kind add up to the vertex's
    own = 2 * weights[:, :n_levels].sum(1)
    inverse = np.divide(1, own, out=np.zeros(n), where=own > 0)
    scaled = weights * inverse[:, None]
    of_bins = (curved + curved.T) / 2 + np.diag(weights.sum(0) / 2)
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
    groups: np.ndarray,
    cell_of: np.ndarray,
    use_cells: bool,
    odds: np.ndarray,
    bin_odds: np.ndarray,
    starts: np.ndarray,
    expected: np.ndarray,
    expected_bins: np.ndarray,
    weights: np.ndarray,
    curved: np.ndarray,
) -> None:
    """Add expected edges, and their variances, of every vertex and bin, in one pass.

    Parameters
    ----------
    control, level, rarer, groups
        As in :class:`PairBins`.
    level_map, control_map, cell_of
        Bin of each step of the level and of each bin of co-expression; cell of two groups.
    use_cells
        Whether cells have effects.
    odds, bin_odds
        Exponentials of the effects: of vertices, and of bins of level, bins of co-expression,
        cells of levels, cells of degrees, one kind after the other.
    starts
        Where the second, third and fourth kind begin.
    expected, expected_bins
        [vertices] and [bins] expected edges; added to.
    weights
        [vertices, bins] variances of the pairs of a vertex in a bin.
    curved
        [bins, bins] twice the variances of the pairs in bins of two kinds, each two kinds once.
    """
    n = len(odds)
    at_control, at_levels, at_degrees = starts[0], starts[1], starts[2]
    for i in range(n):
        if odds[i] == 0:
            continue
        bins, in_row = control[i], weights[i]
        here = np.zeros(len(expected_bins))
        by_level, by_degree = cell_of[groups[0, i]], cell_of[groups[1, i]]
        for j in range(n):
            if bins[j] == 255:
                continue
            both = min(level[i], level[j]) if rarer else (level[i] + level[j]) / 2
            a, b = level_map[int(both)], at_control + control_map[bins[j]]
            x = odds[i] * odds[j] * bin_odds[a] * bin_odds[b]
            if use_cells:
                c = at_levels + by_level[groups[0, j]]
                d = at_degrees + by_degree[groups[1, j]]
                x *= bin_odds[c] * bin_odds[d]
            q = 1 / (1 + x)
            p = x * q
            variance = p * q
            expected[i] += p
            here[a] += p
            here[b] += p
            in_row[a] += variance
            in_row[b] += variance
            curved[a, b] += variance
            if use_cells:
                here[c] += p
                here[d] += p
                in_row[c] += variance
                in_row[d] += variance
                curved[a, c] += variance
                curved[a, d] += variance
                curved[b, c] += variance
                curved[b, d] += variance
                curved[c, d] += variance
        expected_bins += here / 2
