"""Learning the signs of edges: the score as a stimulator against that as an inhibitor."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from octoscope.link_prediction.checkpoint_scores import of_role


def sign_logits(
    head: Any, of: Any, src: torch.Tensor, dst: torch.Tensor, relations: tuple[str, ...]
) -> torch.Tensor:
    """Return [pairs] float32: best score as a stimulator less best score as an inhibitor.

    Parameters
    ----------
    head, of
        A head of :mod:`octoscope.gnn.heads`, and its view of the vertices.
    src, dst
        [pairs] int64 vertices.
    relations
        Names of the relations of the head.
    """
    best = [
        torch.stack([head.raw(of, src, dst, torch.full_like(src, r)) for r in mine]).amax(0)
        for mine in (of_role(relations, "stimulator"), of_role(relations, "inhibitor"))
    ]
    return best[0] - best[1]


def stated_signs(relation: torch.Tensor, relations: tuple[str, ...]) -> tuple[torch.Tensor, ...]:
    """Return [edges] bool: whether the relation of each is of a stimulator, of an inhibitor.

    Parameters
    ----------
    relation
        [edges] int64 positions in ``relations``.
    """
    return tuple(
        torch.isin(relation, torch.tensor(of_role(relations, role), dtype=torch.int64))
        for role in ("stimulator", "inhibitor")
    )


def sign_loss(
    head: Any, of: Any, src: torch.Tensor, dst: torch.Tensor, relation: torch.Tensor,
    relations: tuple[str, ...],
) -> torch.Tensor:  # fmt: skip
    """Return the mean binary cross-entropy of signs, each sign with half of the weight.

    Pairs whose relation states no sign are left out; 0 where one of the two signs is missing.

    Parameters
    ----------
    relation
        [pairs] int64 relation of each edge.
    """
    up, down = stated_signs(relation, relations)
    signed = up | down
    if not up.any() or not down.any():
        return torch.zeros(())
    logits = sign_logits(head, of, src[signed], dst[signed], relations)
    truth = up[signed].to(logits)
    each = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (each[truth > 0].mean() + each[truth == 0].mean()) / 2
