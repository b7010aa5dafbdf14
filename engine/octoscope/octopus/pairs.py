"""Answers about millions of ordered vertex pairs at once, from one sorted table of keys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from octoscope.octopus.network_schema import ACTORS, MIRRORED, ROLES, relation_name

POSITIVE, NEGATIVE = 1, 2
STATED, UNORDERED = 1, 2  # an assertion in this order; an assertion of the pair in no order
_R = len(ROLES)


@dataclass(frozen=True)
class Edges:
    """Source assertions as arrays, one entry each.

    Attributes
    ----------
    src, dst
        int32 vertices.
    role_src, role_dst
        uint8 positions in :data:`octoscope.octopus.network_schema.ROLES`.
    directed
        bool; False: the pair is stated in no order.
    sign
        int8: 1, -1, 0 unknown.
    source
        uint8 position in the network's list of sources.
    score
        float32 in 0..1, NaN where the source gives none.
    refs, reaction, evidence
        int32, see :data:`octoscope.octopus.network_schema.EDGES`.
    """

    src: np.ndarray
    dst: np.ndarray
    role_src: np.ndarray
    role_dst: np.ndarray
    directed: np.ndarray
    sign: np.ndarray
    source: np.ndarray
    score: np.ndarray
    refs: np.ndarray
    reaction: np.ndarray
    evidence: np.ndarray

    def __len__(self) -> int:
        return len(self.src)

    @property
    def both_ways(self) -> np.ndarray:
        """[assertions] bool: stated in no order; what acts on a reaction leads one way only."""
        return ~self.directed & ~np.isin(self.role_src, ACTORS)

    def select(self, keep: np.ndarray) -> Edges:
        """Return the assertions of a mask or index array."""
        return Edges(**{k: v[keep] for k, v in vars(self).items()})


@dataclass(frozen=True)
class PairIndex:
    """Distinct ordered pairs with an edge, sorted, and what is asserted of each.

    Attributes
    ----------
    keys
        [pairs] int64 ``a * vertices + b``, ascending; self pairs included.
    sources, relations
        [pairs] uint64 bit sets: positions in the list of sources, in ``relation_names``.
    sign
        [pairs] uint8 bits POSITIVE, NEGATIVE.
    order
        [pairs] uint8 bits STATED, UNORDERED.
    score
        [pairs] float32, the largest of the assertions, NaN where none has one.
    """

    vertices: int
    keys: np.ndarray
    sources: np.ndarray
    relations: np.ndarray
    sign: np.ndarray
    order: np.ndarray
    score: np.ndarray
    relation_names: list[str]

    def find(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return [pairs] int64 positions of ordered vertex pairs, -1 where there is no edge.

        Vertices below 0 or beyond the network have no edges.
        """
        a, b = np.asarray(a, np.int64), np.asarray(b, np.int64)
        n = self.vertices
        inside = (a >= 0) & (b >= 0) & (a < n) & (b < n)
        query = np.where(inside, a * n + b, -1)
        return find_keys(self.keys, query)


def find_keys(keys: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Return [queries] int64 positions in ascending keys, -1 where absent."""
    if not len(keys):
        return np.full(len(query), -1)
    order = np.argsort(query)  # sorted queries walk the table once: 6x faster when many
    sorted_query = query[order]
    insertion = np.searchsorted(keys, sorted_query)
    insertion[insertion == len(keys)] = 0
    at = np.empty(len(query), np.int64)
    at[order] = np.where(keys[insertion] == sorted_query, insertion, -1)
    return at


class Groups:
    """Rows grouped by key: distinct keys in ascending order, and reductions of other columns.

    Parameters
    ----------
    key
        [rows] int64 in 0..bound-1.
    bound
        Above the largest key. Key and row number fit one integer for any network of ours, and
        sorting values is four times faster than sorting positions.
    """

    def __init__(self, key: np.ndarray, bound: int) -> None:
        bits = max(len(key) - 1, 1).bit_length()
        if int(bound).bit_length() + bits > 63:
            self._order = np.argsort(key, kind="stable")
            ascending = key[self._order]
        else:
            packed = np.sort((key.astype(np.int64) << bits) | np.arange(len(key)))
            self._order, ascending = packed & ((1 << bits) - 1), packed >> bits
        self._starts = np.flatnonzero(np.diff(ascending, prepend=-1))
        self.keys = ascending[self._starts]

    def reduce(self, values: np.ndarray, how: np.ufunc) -> np.ndarray:
        """Return [keys] one value per key, e.g. with ``np.bitwise_or``."""
        if not len(self._starts):
            return values[:0]
        return np.asarray(how.reduceat(values[self._order], self._starts))


def source_bits(source: np.ndarray) -> np.ndarray:
    """Return uint64 bit sets of one source each."""
    return np.uint64(1) << source.astype(np.uint64)


def index_pairs(edges: Edges, vertices: int) -> PairIndex:
    """Collapse assertions to ordered pairs; assertions in no order count both ways.

    Raises
    ------
    ValueError
        If more than 64 kinds of relation or sources occur: they do not fit the bit sets.
    """
    mirror = np.flatnonzero(edges.both_ways & (edges.src != edges.dst))
    key = np.concatenate(
        [_key(edges.src, edges.dst, vertices), _key(edges.dst[mirror], edges.src[mirror], vertices)]
    )
    kind = np.concatenate(
        [
            edges.role_src.astype(np.int16) * _R + edges.role_dst,
            MIRRORED[edges.role_dst[mirror]].astype(np.int16) * _R
            + MIRRORED[edges.role_src[mirror]],
        ]
    )
    present = np.flatnonzero(np.bincount(kind, minlength=_R * _R))
    if len(present) > 64 or (len(edges) and edges.source.max() >= 64):
        raise ValueError("more than 64 relations or sources")
    bit = np.zeros(_R * _R, np.uint64)
    bit[present] = np.uint64(1) << np.arange(len(present), dtype=np.uint64)

    def both(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, values[mirror]])

    groups = Groups(key, vertices * vertices)
    sign = np.where(edges.sign > 0, POSITIVE, np.where(edges.sign < 0, NEGATIVE, 0))
    stated = np.where(edges.directed, STATED, UNORDERED)
    return PairIndex(
        vertices,
        groups.keys,
        groups.reduce(both(source_bits(edges.source)), np.bitwise_or),
        groups.reduce(bit[kind], np.bitwise_or),
        groups.reduce(both(sign.astype(np.uint8)), np.bitwise_or),
        groups.reduce(both(stated.astype(np.uint8)), np.bitwise_or),
        groups.reduce(both(edges.score), np.fmax),
        [relation_name(int(k)) for k in present],
    )


def _key(a: np.ndarray, b: np.ndarray, vertices: int) -> np.ndarray:
    return a.astype(np.int64) * vertices + b


def pair_codes(u: np.ndarray, v: np.ndarray, n: int) -> np.ndarray:
    """Return [pairs] int64 codes ``low * n + high`` of unordered pairs."""
    return np.minimum(u, v).astype(np.int64) * n + np.maximum(u, v)


def unordered_keys(edges: Edges, vertices: int) -> np.ndarray:
    """Return sorted distinct int64 keys low * vertices + high, without self pairs."""
    keys = np.sort(pair_codes(edges.src, edges.dst, vertices)[edges.src != edges.dst])
    return keys[np.diff(keys, prepend=-1) != 0]
