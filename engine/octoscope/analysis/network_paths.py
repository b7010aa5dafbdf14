"""Top pairs in the network: how many steps apart they are, and whether they share a pathway."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from octoscope.analysis import statistics
from octoscope.analysis.vertex_pairs import VertexPairs
from octoscope.octopus.network import Network
from octoscope.octopus.shortest_paths import pathway_bits, step_matrix

FARTHEST = 3  # steps that are looked for; pairs farther apart count as one more


@dataclass(frozen=True)
class StepsAndPathways:
    """Where vertices are in the network.

    Attributes
    ----------
    steps
        [vertices, vertices] int8 edges on a shortest path through the whole network, in either
        direction; ``FARTHEST + 1``: more, or no path.
    pathways
        [vertices, words] uint64 bits of the pathways that hold any gene of the vertex.
    """

    steps: np.ndarray
    pathways: np.ndarray

    @classmethod
    def of(cls, network: Network, genes: np.ndarray, pairs: VertexPairs) -> StepsAndPathways:
        """Look up the vertices of ``pairs``.

        Parameters
        ----------
        genes
            [genes] Ensembl ids, of ``pairs.vertex_of``.
        """
        known = np.flatnonzero(pairs.vertex_of >= 0)
        n, position = len(pairs), pairs.vertex_of[known]
        bits = pathway_bits(network, genes[known])
        pathways = np.zeros((n, bits.shape[1]), np.uint64)
        np.bitwise_or.at(pathways, position, bits)
        vertices = np.full(n, -1)
        vertices[position] = network.vertex_of(genes[known])
        return cls(step_matrix(network, vertices, FARTHEST), pathways)


def path_test(
    u: np.ndarray,
    v: np.ndarray,
    pairs: VertexPairs,
    graph: StepsAndPathways,
    *,
    permutations: int,
    seed: int,
) -> dict[str, float | int]:
    """Compare steps and shared pathways of listed pairs with the null of the overlap.

    The null permutes vertices among those of like degree and like number of eligible partners, and
    counts the pairs that are eligible after that. p is two-sided: pairs may be closer than chance,
    or farther apart and across pathways.

    Parameters
    ----------
    u, v
        [pairs] vertices of distinct listed pairs.

    Returns
    -------
    dict
        n_pairs; share_1 to share_3 and share_farther; steps (mean, farther ones counted as
        ``FARTHEST + 1``) with null mean, range and p; n_in_pathways (pairs of two vertices that
        are in any pathway); shared (share of these in a common one) with null mean, range and p.
    """
    annotated = np.asarray(graph.pathways.any(1))

    def measured(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        known = annotated[x] & annotated[y]
        common = (graph.pathways[x[known]] & graph.pathways[y[known]]).any(1)
        return (
            float(graph.steps[x, y].mean()) if len(x) else float("nan"),
            float(common.mean()) if len(common) else float("nan"),
        )

    null = np.full((permutations, 2), np.nan)
    for d, relabel in enumerate(pairs.permutations(permutations, seed)):
        x, y = relabel[u], relabel[v]
        inside = pairs.eligible[x, y]
        null[d] = measured(x[inside], y[inside])
    steps = graph.steps[u, v]
    out: dict[str, float | int] = {"n_pairs": len(u)}
    for at in range(1, FARTHEST + 2):
        name = f"share_{at}" if at <= FARTHEST else "share_farther"
        out[name] = float((steps == at).mean()) if len(u) else float("nan")
    out["n_in_pathways"] = int((annotated[u] & annotated[v]).sum())
    for name, value, drawn in zip(("steps", "shared"), measured(u, v), null.T, strict=True):
        known = drawn[~np.isnan(drawn)]
        mean = float(known.mean()) if len(known) else float("nan")
        low, high = statistics.null_range(drawn)
        out |= {
            name: value, f"{name}_null_mean": mean, f"{name}_null_low": low,
            f"{name}_null_high": high,
            f"{name}_p": statistics.permutation_p(abs(value - mean), np.abs(known - mean)),
        }  # fmt: skip
    return out
