"""Parts of the pairs of vertices: every pair belongs to one class, a class to any number of parts.

Most pairs have no edge and are of one class, so a number per pair and a short list per class hold
what a mask per part would.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from octoscope.octopus.network import Network
from octoscope.octopus.network_schema import ROLES, relation_name
from octoscope.octopus.pair_triangle import pair_index

ALL = ("all", "all pairs")
WITH, WITHOUT = ("edge", "with an edge"), ("edge", "without an edge")


@dataclass(frozen=True)
class PairParts:
    """Which parts each pair of a triangle belongs to.

    Attributes
    ----------
    names
        Kind and name of each part.
    code
        [triangle] unsigned class of each pair; class 0 is of no part.
    starts, indices
        int64: the parts of class c are ``indices[starts[c]:starts[c + 1]]``.
    """

    names: tuple[tuple[str, str], ...]
    code: np.ndarray
    starts: np.ndarray
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of_pairs(
        cls, n: int, edges: np.ndarray, parts: dict[tuple[str, str], np.ndarray]
    ) -> PairParts:
        """Make all pairs, those with and without an edge, and further parts.

        Parameters
        ----------
        n
            Number of pairs of the triangle.
        edges
            [edges] distinct places of pairs that an edge joins.
        parts
            By kind and name: [pairs] distinct places in the triangle.
        """
        at = np.unique(np.concatenate([edges, *parts.values()]))
        inside = np.zeros((len(at) + 1, 3 + len(parts)), bool)  # the last row: of all other pairs
        inside[np.searchsorted(at, edges), 1] = True
        inside[:, 0], inside[:, 2] = True, ~inside[:, 1]
        for i, part in enumerate(parts.values(), start=3):
            inside[np.searchsorted(at, part), i] = True
        of_row, starts, indices = _classes(inside)
        code = np.full(n, of_row[-1], np.min_scalar_type(len(starts)))
        code[at] = of_row[:-1]
        return cls((ALL, WITH, WITHOUT, *parts), code, starts, indices)

    def sizes(self, code: np.ndarray) -> np.ndarray:
        """Return [parts] int64 numbers of pairs, of those with these classes."""
        n_classes = len(self.starts) - 1
        count = np.bincount(code, minlength=n_classes)[np.repeat(np.arange(n_classes),
                                                                 np.diff(self.starts))]  # fmt: skip
        return np.bincount(self.indices, count, len(self)).astype(np.int64)

    def members(self, part: int, code: np.ndarray) -> np.ndarray:
        """Return whether pairs of these classes belong to a part, as bool of the same shape."""
        of_class = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        inside = np.zeros(len(self.starts) - 1, bool)
        inside[of_class[self.indices == part]] = True
        return inside[code]


def _classes(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return class of each row of [rows, parts] bool, starts and parts of classes; 0 is empty."""
    packed = np.packbits(inside, axis=1)
    words = np.zeros((len(packed), -(-packed.shape[1] // 8) * 8), np.uint8)
    words[:, : packed.shape[1]] = packed
    words = words.view(np.uint64)
    code = np.zeros(len(words), np.int64)
    for column in words.T:  # the classes so far, by one more word
        _, word = np.unique(column, return_inverse=True)
        _, code = np.unique(code * (word.max(initial=0) + 1) + word, return_inverse=True)
    n = int(code.max(initial=-1)) + 1
    first = np.full(n, len(code))
    np.minimum.at(first, code, np.arange(len(code)))
    of_class = inside[first]
    starts = np.concatenate([[0, 0], np.cumsum(of_class.sum(1))])
    return code + 1, starts, np.nonzero(of_class)[1]


def network_pairs(network: Network, vertices: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
    """Return the places of pairs by each sign and relation that a network asserts of them.

    Signs: ``activation`` and ``inhibition`` (that sign alone), ``both signs``, ``no sign`` (edges
    without one). Relations are the roles of both ends, as a source states them. A pair is in all
    relations that any of its edges has, either way. What no pair has is left out.

    Parameters
    ----------
    vertices
        [V] distinct vertices of the network; places are of the triangle of these.
    """
    position = np.full(len(network.vertices), -1)
    position[vertices] = np.arange(len(vertices))
    edges = network.edges
    src, dst = position[edges.src], position[edges.dst]
    rows = np.flatnonzero((src >= 0) & (dst >= 0) & (src != dst))
    at = pair_index(src[rows], dst[rows], len(vertices))
    sign = edges.sign[rows]
    up, down = np.unique(at[sign > 0]), np.unique(at[sign < 0])
    parts = {
        ("sign", "activation"): np.setdiff1d(up, down, True),
        ("sign", "inhibition"): np.setdiff1d(down, up, True),
        ("sign", "both signs"): np.intersect1d(up, down, True),
        ("sign", "no sign"): np.setdiff1d(np.unique(at), np.union1d(up, down), True),
    }
    relation = edges.role_src[rows].astype(np.int64) * len(ROLES) + edges.role_dst[rows]
    for code in np.unique(relation):
        parts["relation", relation_name(int(code))] = np.unique(at[relation == code])
    return {name: part for name, part in parts.items() if len(part)}
