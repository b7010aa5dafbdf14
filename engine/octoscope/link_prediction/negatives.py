"""Pairs without an edge, against which edges are compared.

``degree``: the ends of the edges that are evaluated, joined at random (configuration model); each
vertex begins and ends as many negatives as positives, so degree alone tells little. Ends that are
new (without a training edge) are joined to what they were joined to, new or not; otherwise two ends
that are not new would tell a negative where vertices are held out. ``stratified``:
the same among edges of one relation between vertices of like types. ``uniform``: any two vertices;
degree alone tells them from edges, so no headline. ``two-hop``: ends of a path of two training
edges; neighbourhood rules fall below 0.5 by construction, so no headline. ``peer``: drawn by
training degree and compared with training edges only, as napistu-torch does; some of them are
edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from octoscope.errors import InputError
from octoscope.link_prediction.adjacency import train_neighbours
from octoscope.link_prediction.links import MOST_SOURCES, Links
from octoscope.link_prediction.splits import Split
from octoscope.octopus.pairs import find_keys, pair_codes

KINDS = ("degree", "stratified", "uniform", "two-hop", "peer")
_ROUNDS = 200  # of drawing again what was an edge


@dataclass(frozen=True)
class Positives:
    """Distinct edges of a part: source vertex, target vertex, relation.

    Attributes
    ----------
    src, dst, relation
        [positives] int64.
    sources
        [positives] uint64 bit sets of sources.
    total
        How many the part has; at most some are taken.
    """

    src: np.ndarray
    dst: np.ndarray
    relation: np.ndarray
    sources: np.ndarray
    total: int

    def select(self, rows: np.ndarray) -> Positives:
        """Return some of them, [rows] int64."""
        return Positives(self.src[rows], self.dst[rows], self.relation[rows], self.sources[rows],
                         self.total)  # fmt: skip


@dataclass(frozen=True)
class Negatives:
    """Pairs that no edge joins.

    Attributes
    ----------
    src, dst
        [negatives] int64 vertices.
    of
        [negatives] int64 positive that each stands against; it has its relation.
    how
        One of :data:`KINDS`.
    drawn
        Number of pairs drawn first.
    real
        Share of these that an edge joins, in either order: they were drawn again.
    peer_real
        Share of the pairs that pass a comparison with training edges in their order only, and that
        an edge joins.
    missing
        Number of positives without a negative: each draw was an edge.
    false
        Share of the negatives that an edge joins; 0 but for ``peer``.
    """

    src: np.ndarray
    dst: np.ndarray
    of: np.ndarray
    how: str
    drawn: int
    real: float
    peer_real: float
    missing: int
    false: float

    def account(self) -> dict[str, Any]:
        """Return the numbers."""
        names = ("how", "drawn", "real", "peer_real", "missing", "false")
        return {"negatives": len(self.src)} | {name: getattr(self, name) for name in names}


def with_negatives(
    positives: Positives, negatives: Negatives
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return source, target and relation of the positives, then of the negatives.

    Each is [positives + negatives] int64; a negative has the relation of its positive.
    """
    return (
        np.concatenate([positives.src, negatives.src]),
        np.concatenate([positives.dst, negatives.dst]),
        np.concatenate([positives.relation, positives.relation[negatives.of]]),
    )


def positives_of(
    links: Links, split: Split, part: str, at_most: int | None = None, seed: int = 0
) -> Positives:
    """Return the distinct edges (source vertex, target vertex, relation) of a part.

    Self pairs are left out.

    Parameters
    ----------
    at_most
        Number to draw without replacement; None: all.
    """
    rows = split.rows(part)
    rows = rows[links.src[rows] != links.dst[rows]]
    relations = max(len(links.graph.relations), 1)
    key = links.ordered[rows] * relations + links.relation[rows]
    distinct, inverse = np.unique(key, return_inverse=True)
    sources = np.zeros(len(distinct), np.uint64)
    if links.source is not None and len(links.sources) <= MOST_SOURCES:
        np.bitwise_or.at(sources, inverse, np.uint64(1) << links.source[rows].astype(np.uint64))
    total = len(distinct)
    if at_most is not None and at_most < total:
        kept = np.sort(np.random.default_rng([seed, 1]).choice(total, at_most, replace=False))
        distinct, sources = distinct[kept], sources[kept]
    pair, relation = np.divmod(distinct, relations)
    return Positives(pair // links.n, pair % links.n, relation, sources, total)


@dataclass(frozen=True)
class Trained:
    """What drawing reads of the training edges of a split, kept where it draws many times.

    Attributes
    ----------
    ordered
        Sorted distinct int64 codes ``src * n + dst``.
    seen
        [vertices] int64: 1 where a vertex has a training edge.
    """

    ordered: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(cls, links: Links, split: Split) -> Trained:
        """Read them once."""
        train = split.rows("train")
        return cls(np.unique(links.ordered[train]), _seen(links, train))


def draw_negatives(
    links: Links, split: Split, positives: Positives, how: str = "degree", seed: int = 0,
    epoch: int = 0, trained: Trained | None = None,
) -> Negatives:  # fmt: skip
    """Draw a negative for each positive.

    No negative is an edge of train, val or test or the mirror of one (but for ``peer``), nor a self
    pair. The same seed and epoch give the same negatives.

    Parameters
    ----------
    trained
        Of this split, read before; None: read now.

    Raises
    ------
    InputError
        If the kind is unknown, or no negative is found.
    """
    if how not in KINDS:
        raise InputError("negatives", f"is {how!r}", f"it is one of {', '.join(KINDS)}")
    rng = np.random.default_rng([seed, epoch, KINDS.index(how)])
    trained = trained or Trained.of(links, split)
    ordered = trained.ordered

    def real(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return find_keys(links.known, pair_codes(a, b, links.n)) >= 0

    def refused(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if how == "peer":
            return (find_keys(ordered, a * links.n + b) >= 0) | (a == b)
        return real(a, b) | (a == b)

    a = positives.src.copy()
    if how in ("degree", "stratified"):
        group = _strata(links, trained.seen, positives, by_kind=how == "stratified")
        b = _shuffled(positives.dst, group, rng)
        first = (a.copy(), b.copy())
        bad = _swapped(a, b, group, refused, rng)
    else:
        draw = _drawer(links, split, positives, how, rng)
        a, b = draw(np.arange(len(a)))
        first = (a.copy(), b.copy())
        bad = refused(a, b)
        for _ in range(_ROUNDS):
            again = np.flatnonzero(bad)
            if not len(again):
                break
            a[again], b[again] = draw(again)
            bad[again] = refused(a[again], b[again])
    kept = np.flatnonzero(~bad)
    if not len(kept):
        raise InputError(f"{how} negatives", f"each of {len(a):,} draws is an edge",
                         "take other negatives or a larger network")  # fmt: skip
    passed = find_keys(ordered, first[0] * links.n + first[1]) < 0
    was = real(*first)
    return Negatives(
        a[kept], b[kept], kept, how, len(a), float(was.mean()),
        float(was[passed].mean()) if passed.any() else 0.0, int(bad.sum()),
        float(real(a[kept], b[kept]).mean()),
    )  # fmt: skip


def new_ends(links: Links, split: Split, src: np.ndarray, dst: np.ndarray) -> np.ndarray:
    """Return [pairs] int64 in 0..3: which ends have a training edge (2: source, 1: target)."""
    seen = _seen(links, split.rows("train"))
    return 2 * seen[src] + seen[dst]


def _seen(links: Links, train: np.ndarray) -> np.ndarray:
    seen = np.zeros(links.n, np.int64)
    seen[links.src[train]] = seen[links.dst[train]] = 1
    return seen


def _strata(links: Links, seen: np.ndarray, positives: Positives, *, by_kind: bool) -> np.ndarray:
    """Return [positives] groups: which ends are new; also the types of both and the relation."""
    group = 2 * seen[positives.src] + seen[positives.dst]
    if by_kind:
        group = group * len(links.kinds) + links.kind[positives.src]
        group = group * len(links.kinds) + links.kind[positives.dst]
        group = group * max(len(links.graph.relations), 1) + positives.relation
    return group


def _shuffled(values: np.ndarray, group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return values permuted within groups."""
    target = np.argsort(group, kind="stable")
    source = np.lexsort((rng.random(len(values)), group))
    out = np.empty_like(values)
    out[target] = values[source]
    return out


def _swapped(a: np.ndarray, b: np.ndarray, group: np.ndarray, refused: Any,
             rng: np.random.Generator) -> np.ndarray:  # fmt: skip
    """Swap target vertices within groups until no pair is refused; return which still are.

    Swaps keep how often each vertex begins and ends a pair; drawing again would thin out hubs.
    ``b`` is changed in place.
    """
    order = np.argsort(group, kind="stable")
    start = np.searchsorted(group[order], group)
    size = np.searchsorted(group[order], group, side="right") - start
    bad = refused(a, b)
    for _ in range(_ROUNDS):
        mine = np.flatnonzero(bad)
        if not len(mine):
            break
        other = order[start[mine] + (rng.random(len(mine)) * size[mine]).astype(np.int64)]
        # each row takes part in at most one swap of a round
        _, first = np.unique(other, return_index=True)
        mine, other = mine[first], other[first]
        free = ~np.isin(other, mine)
        mine, other = mine[free], other[free]
        good = ~(refused(a[mine], b[other]) | refused(a[other], b[mine]))
        mine, other = mine[good], other[good]
        b[mine], b[other] = b[other], b[mine]
        bad[mine] = False
        bad[other] = False
    return bad


def _drawer(links: Links, split: Split, positives: Positives, how: str,
            rng: np.random.Generator) -> Any:  # fmt: skip
    """Return a function from rows to drawn source and target vertices."""
    n, train = links.n, split.rows("train")
    if how == "uniform":
        return lambda rows: (rng.integers(n, size=len(rows)), rng.integers(n, size=len(rows)))
    if how == "peer":  # an end of a training edge is drawn by degree
        return lambda rows: (
            links.src[train[rng.integers(len(train), size=len(rows))]],
            links.dst[train[rng.integers(len(train), size=len(rows))]],
        )
    near = train_neighbours(links, split)
    start, degree = near.indptr[:-1], np.diff(near.indptr)

    def step(at: np.ndarray) -> np.ndarray:
        entry = start[at] + (rng.random(len(at)) * degree[at]).astype(np.int64)
        neighbour = near.indices[np.minimum(entry, len(near.indices) - 1)].astype(np.int64)
        return np.where(
            degree[at] > 0, neighbour, at
        )  # no neighbour: a self pair, which is refused

    def walk(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        begin = positives.src[rows]
        return begin, step(step(begin))

    return walk
