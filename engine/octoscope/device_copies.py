"""Copies to a device that the host does not wait for, and masks of which the host keeps a copy.

Asking a GPU for a number ends the queue of its work: the host waits until all of it is done, and
the device idles until the host asks for more. What the host knows already is therefore kept here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch.utils.weak import WeakTensorKeyDictionary


def sent(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return an array on a device; a GPU takes it from page-locked memory, beside the host.

    On a CPU the tensor shares the array's memory.
    """
    host = torch.from_numpy(array)
    if device.type == "cuda":
        host = host.pin_memory()
    return host.to(device, non_blocking=True)


@dataclass(frozen=True)
class HostMask:
    """What the host knows of a mask [cells, tokens] bool."""

    array: np.ndarray

    @cached_property
    def whole(self) -> bool:
        """Whether every token is attended to."""
        return bool(self.array.all())

    @cached_property
    def counts(self) -> np.ndarray:
        """[cells] int64: tokens that are attended to."""
        return self.array.sum(1)


_MASKS = WeakTensorKeyDictionary()


def sent_mask(mask: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return a mask [cells, tokens] bool on a device, which nobody may change afterwards."""
    on_device = sent(mask, device)
    _MASKS[on_device] = HostMask(mask)
    return on_device


def mask_of_cells(mask: torch.Tensor, cells: slice) -> torch.Tensor:
    """Return some cells of a mask; of these the host knows what it knew of all."""
    part, known = mask[cells], _MASKS.get(mask)
    if known is not None:
        _MASKS[part] = HostMask(known.array[cells])
    return part


def known_mask(mask: torch.Tensor) -> HostMask | None:
    """Return what the host knows of a mask that :func:`sent_mask` made; None of another."""
    known: HostMask | None = _MASKS.get(mask)
    return known


def attends_to_all(mask: torch.Tensor) -> bool:
    """Tell whether every token is attended to; the device is asked of unknown masks alone."""
    known = known_mask(mask)
    return bool(mask.all()) if known is None else known.whole


def attended_tokens(masks: list[torch.Tensor]) -> np.ndarray:
    """Return [cells] int64 of all masks: tokens that are attended to, with one wait at most."""
    known = [known_mask(mask) for mask in masks]
    if all(k is not None for k in known):
        return np.concatenate([k.counts for k in known if k is not None])
    return torch.cat([mask.sum(1) for mask in masks]).cpu().numpy()
