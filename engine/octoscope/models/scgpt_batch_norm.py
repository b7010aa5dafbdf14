"""The batch norm that scGPT may hold between its embedding and layer 0, in evaluation mode.

x' = (x - mean_b) / sqrt(var_b + 6.1e-5) * weight + bias, per channel, running statistics

``dsbn.bns.{b}.`` (integration fine-tuning): statistics per batch b, without weight and bias as the
authors make it. ``bn.`` (``domain_spec_batchnorm="batchnorm"``): one set, with both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from octoscope.errors import InputError
from octoscope.models.cell_groups import UNKNOWN, CellGroups
from octoscope.models.weights import take_strict

_EPS = 6.1e-5  # scgpt 0.2.4, model.py
_PLAIN, _PER_BATCH = "bn", "dsbn"
OPTION = "models.*.options.batch"


@dataclass(frozen=True)
class BatchNorm:
    """Statistics and affine parts, each [batches, d] float32; the batch of every cell, or one."""

    mean: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor
    batch: int | None

    def __call__(self, x: torch.Tensor, group: np.ndarray | None) -> torch.Tensor:
        """Return [cells, tokens, d] in the dtype of ``x``, computed in float32.

        Raises
        ------
        InputError
            If batches differ between cells and the number of a cell is not known.
        """
        at = np.zeros(len(x), np.int64) if self.batch is None else np.full(len(x), self.batch)
        if self.batch is None and len(self.mean) > 1:
            if group is None or (group == UNKNOWN).any():
                raise InputError(
                    OPTION, "the batch of a cell is not known here",
                    f"give one number, or every value of the column in {OPTION}.values",
                )  # fmt: skip
            at = group.astype(np.int64)
        norm_index = torch.from_numpy(at).to(x.device)
        mean, scale, bias = (t[norm_index][:, None] for t in (self.mean, self.scale, self.bias))
        # separate roundings: the same for every size of a batch of cells
        return ((x.float() - mean) * scale + bias).to(x.dtype)


def split_batch_norm(
    state: Mapping[str, torch.Tensor], batch: int | CellGroups | None, d: int, *, where: str,
    device: torch.device,
) -> tuple[BatchNorm | None, dict[str, torch.Tensor]]:  # fmt: skip
    """Return (the batch norms, of which ``batch`` says the cells' own; the other weights).

    Raises
    ------
    InputError
        If the file holds batches and none of them is named, or the option names one that is not
        there; if statistics are missing, of the wrong shape, or a variance is below 0.
    """
    mine = {n: v for n, v in state.items() if n.split(".", 1)[0] in (_PLAIN, _PER_BATCH)}
    rest = {n: v for n, v in state.items() if n not in mine}
    names = [_PLAIN] if any(n.startswith(f"{_PLAIN}.") for n in mine) else []
    n_batches = _count(mine)
    if names and n_batches:
        problem = "both bn. and dsbn. weights"
        raise InputError(where, problem, "give a checkpoint of the authors' own class")
    _check_option(batch, n_batches, where)
    names += [f"{_PER_BATCH}.bns.{b}" for b in range(n_batches)]
    if not names:
        return None, rest
    shapes = {f"{p}.{part}": (d,) for p in names for part in ("running_mean", "running_var")}
    affine = [p for p in names if p == _PLAIN or f"{p}.weight" in mine or f"{p}.bias" in mine]
    shapes |= {f"{p}.{part}": (d,) for p in affine for part in ("weight", "bias")}
    # the count of training steps does not enter in evaluation mode
    counters = {f"{p}.num_batches_tracked" for p in names}
    weights = take_strict(
        {n: v for n, v in mine.items() if n not in counters},
        shapes, (), where=where, dtype=torch.float32, device=device,
    )  # fmt: skip
    bad = [p for p in names if (weights[f"{p}.running_var"] < 0).any()]
    if bad:
        raise InputError(f"{where}: {bad[0]}.running_var", "below 0", "download it again")
    parts = [_applied(weights, name) for name in names]
    mean, scale, bias = (torch.stack(list(p)) for p in zip(*parts, strict=True))
    return BatchNorm(mean, scale, bias, batch if isinstance(batch, int) else None), rest


def _applied(weights: Mapping[str, torch.Tensor], name: str) -> tuple[torch.Tensor, ...]:
    """Return what is subtracted, multiplied with and added, each [d] float32."""
    mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
    scale = (variance.double() + _EPS).rsqrt().float()
    if f"{name}.weight" not in weights:
        return mean, scale, torch.zeros_like(mean)
    return mean, scale * weights[f"{name}.weight"], weights[f"{name}.bias"]


def _count(state: Mapping[str, torch.Tensor]) -> int:
    """Return the number of batches: one more than the highest number in a name."""
    hits = (re.match(rf"{_PER_BATCH}\.bns\.(\d+)\.", name) for name in state)
    return max((int(hit[1]) + 1 for hit in hits if hit), default=0)


def _check_option(batch: int | CellGroups | None, n_batches: int, where: str) -> None:
    if n_batches and batch is None:
        raise InputError(
            f"{where}: dsbn",
            f"a batch norm for each of {n_batches} batches stands before layer 0, and no batch is "
            "named",
            f"set {OPTION} to 0..{n_batches - 1} (octoscope models and attention: "
            "--option batch=0), numbered as in training, or to a column of obs "
            "({column: donor, values: {d1: 0, d2: 1}})",
        )
    numbers = list(batch.values.values()) if isinstance(batch, CellGroups) else []
    numbers += [batch] if isinstance(batch, int) else []
    if batch is not None and not n_batches:
        problem = f"{_shown(batch)}, and {where} holds no batch norm per batch (dsbn)"
        raise InputError(OPTION, problem, "leave it out")
    if numbers and max(numbers) >= n_batches:
        problem = f"{max(numbers)}, and {where} holds {n_batches} batches"
        raise InputError(OPTION, problem, f"use 0..{n_batches - 1}")


def _shown(batch: int | CellGroups) -> str:
    return str(batch) if isinstance(batch, int) else f"column {batch.column!r}"
