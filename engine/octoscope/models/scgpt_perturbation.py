"""The embedding of flags that scGPT's perturbation model adds before layer 0 (``pert_encoder``).

h0 = g + v + P[flag]; flag 0: the gene is not perturbed, 1: it is, 2: padding

The atlas holds no flags, so every token has flag 0. The authors' attention tutorial loads such a
checkpoint into the class without flags and computes h0 = g + v.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch

from octoscope.errors import InputError, warn
from octoscope.models.weights import narrowed

PerturbationMode = Literal["unperturbed", "unread"]
_TABLE = "pert_encoder.weight"
_OPTION = "models.*.options.pert_encoder"


def split_flags(
    state: Mapping[str, torch.Tensor], mode: PerturbationMode | None, d: int, *, where: str,
    dtype: torch.dtype, device: torch.device,
) -> tuple[torch.Tensor | None, PerturbationMode | None, dict[str, torch.Tensor]]:  # fmt: skip
    """Return (what is added to each token, [d]; the mode; the other weights).

    A file with the table and without a mode is read as its own class does, with a warning.

    Raises
    ------
    InputError
        If a mode is given for a file without the table, or the table has another width.
    """
    rest = {n: v for n, v in state.items() if n != _TABLE}
    table = state.get(_TABLE)
    if table is None:
        if mode is not None:
            problem = f"{mode!r}, and {where} holds no {_TABLE}"
            raise InputError(_OPTION, problem, "leave it out")
        return None, None, rest
    if table.ndim != 2 or table.shape[1] != d or not table.is_floating_point():
        problem = f"{table.dtype} of shape {tuple(table.shape)}, expected (3, {d})"
        fix = "give a checkpoint of the authors' own class"
        raise InputError(f"{where}: {_TABLE}", problem, fix)
    if mode is None:
        warn(
            f"{where}: {_TABLE}: a perturbation model. What it adds to a token that is not "
            "perturbed is added to every token, as the model itself does. The authors' attention "
            f"tutorial leaves it out: set {_OPTION}: unread for that, or unperturbed to confirm"
        )
    if mode == "unread":
        return None, mode, rest
    if not torch.isfinite(table).all():
        raise InputError(f"{where}: {_TABLE}", "holds NaN or infinity", "download it again")
    return narrowed(f"{where}: {_TABLE}", table[0], dtype).to(device), "unperturbed", rest
