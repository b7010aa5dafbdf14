"""Scores of vertex pairs from embeddings: raw score, probability, relation, cosine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch.nn import functional

from octoscope.errors import InputError
from octoscope.gnn.heads import Head
from octoscope.gnn.pair_loops import dots, on_large_pages

Mode = Literal["corrected", "peer"]
CHUNK = 1 << 14  # pairs at once: gathered rows of both ends fit the cache


@dataclass(frozen=True)
class Scores:
    """Scores of pairs, [pairs] each.

    Attributes
    ----------
    raw
        float32 output of the head; the higher, the more likely an edge.
    probability
        float32 in 0..1. It is not calibrated.
    relation
        int64 relation that was scored, -1 for heads without.
    cosine
        float32 cosine of the two embeddings.
    """

    raw: np.ndarray
    probability: np.ndarray
    relation: np.ndarray
    cosine: np.ndarray


@torch.inference_mode()
def score_pairs(
    head: Head,
    z: torch.Tensor,
    src: np.ndarray,
    dst: np.ndarray,
    relation: np.ndarray | None = None,
    mode: Mode = "corrected",
    chunk: int = CHUNK,
) -> Scores:
    """Score pairs of vertices.

    Parameters
    ----------
    z
        [vertices, width] float32 embeddings.
    src, dst
        [pairs] int64 vertices.
    relation
        [pairs] int64 relations. None: of a head with relations, the one with the highest
        probability, of equal ones the highest raw score; neither is calibrated across relations.
    mode
        ``peer``: probability as napistu-torch gives it. ``corrected``: its defects repaired, see
        ``Head.corrections``.
    chunk
        Pairs at once; it bounds memory and changes no result beyond rounding.

    Raises
    ------
    InputError
        If a score is not finite.
    """
    corrected = mode == "corrected"
    head = head.for_mode(corrected)
    of = {k: on_large_pages(v) for k, v in head.vertices(z).items()}
    unit = on_large_pages(functional.normalize(z, dim=1))
    out = Scores(
        np.empty(len(src), np.float32), np.empty(len(src), np.float32),
        np.full(len(src), -1, np.int64), np.empty(len(src), np.float32),
    )  # fmt: skip
    for lo in range(0, len(src), chunk):
        part = slice(lo, lo + chunk)
        a, b = (torch.from_numpy(np.asarray(e[part], np.int64)).to(z.device) for e in (src, dst))
        out.cosine[part] = dots(unit, unit, a, b).clamp(-1, 1).cpu().numpy()
        given = relation is not None or not head.n_relations
        for r in [-1] if given else range(head.n_relations):
            if relation is not None and head.n_relations:
                relations = torch.from_numpy(np.asarray(relation[part], np.int64)).to(z.device)
            else:
                relations = torch.full_like(a, max(r, 0))
            raw = head.raw(of, a, b, relations)
            chance = head.probability(raw, relations, corrected).cpu().numpy()
            values = raw.cpu().numpy()
            number = relations.cpu().numpy() if head.n_relations else np.full(len(values), -1)
            better = np.ones(len(values), bool)
            if r > 0:
                before, same = out.probability[part], chance == out.probability[part]
                better = (chance > before) | (same & (values > out.raw[part]))
            for target, new in (
                (out.raw, values),
                (out.probability, chance),
                (out.relation, number),
            ):
                target[part] = np.where(better, new, target[part])
    if not np.isfinite(out.raw).all():
        raise InputError(f"head {head.kind}", "gives scores that are not finite",
                         "check the weights of the checkpoint")  # fmt: skip
    return out
