"""Names of weights under the classes that wrapped a model: ``module.``, ``model.``, ``backbone.``.

Data-parallel training, ``torch.compile``, Lightning and classes with a head of their own put their
prefixes before the family's own names. They are taken off where one well-known weight shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from octoscope.errors import InputError

T = TypeVar("T")


def unwrapped(
    state: Mapping[str, T], anchor: str, *, where: str, inner: tuple[str, ...] = ("",)
) -> dict[str, T]:
    """Return weights under the family's own names; what stands outside the wrapper keeps its name.

    Parameters
    ----------
    anchor
        A weight that every file of the family holds, once.
    inner
        Prefixes that belong to the family's own names (Geneformer: ``bert.``), longest first; they
        stay.

    Raises
    ------
    InputError
        If the file holds the model several times, or two weights would get the same name.
    """
    anchors = sorted(n for n in state if n == anchor or n.endswith(f".{anchor}"))
    if len(anchors) > 1:
        raise InputError(
            where,
            f"holds the model {len(anchors)} times ({', '.join(anchors)})",
            "save the one to be read in a file of its own",
        )
    if not anchors:
        return dict(state)
    before = anchors[0].removesuffix(anchor)
    outer = next(before.removesuffix(p) for p in inner if before.endswith(p))
    return renamed(state, lambda name: name.removeprefix(outer), where=where)


def renamed(state: Mapping[str, T], rule: Callable[[str], str], *, where: str) -> dict[str, T]:
    """Return weights under other names.

    Raises
    ------
    InputError
        If two weights would get the same name.
    """
    out: dict[str, T] = {}
    origin: dict[str, str] = {}
    for name, value in state.items():
        new = rule(name)
        if new in out:
            raise InputError(
                where,
                f"{origin[new]} and {name} are the same weight ({new})",
                "save the model again with one of them",
            )
        out[new], origin[new] = value, name
    return out
