"""What a unit's device does beside computing: its name, its memory, copies beside the compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psutil
import torch

from octoscope.errors import InputError
from octoscope.models import Tokens

_TOKEN_ARRAYS = ("gene", "kind", "value", "row", "mask")


class Accelerator:
    """The CPU, which has nothing of the kind; :class:`Gpu` overrides it.

    Attributes
    ----------
    device
        Where tensors lie.
    kind
        What chooses kernels: ``cpu`` or ``cuda``.
    """

    kind = "cpu"

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @property
    def name(self) -> str:
        """``cpu``, or the GPU's name."""
        return self.kind

    def pinned(self, tokens: Tokens) -> Tokens:
        """Return tokens in memory from which they are copied beside the compute."""
        return tokens

    def beside(self, copy: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Return what ``copy`` makes; on a GPU it waits for no queued compute."""
        return copy()

    def release(self) -> None:
        """Give back memory that is free and still held."""

    def free_bytes(self) -> int:
        """Return the memory that is free."""
        return int(psutil.virtual_memory().available)


class Gpu(Accelerator):
    """A GPU of CUDA.

    Parameters
    ----------
    share
        Of its memory, which this process may use; all of it from 1 on.
    """

    kind = "cuda"

    def __init__(self, device: torch.device, share: float = 1) -> None:
        super().__init__(device)
        if 0 < share < 1:
            torch.cuda.set_per_process_memory_fraction(share, device)
        self._copies: torch.cuda.Stream | None = None

    @property
    def name(self) -> str:
        """The GPU's name."""
        return str(torch.cuda.get_device_name(self.device))

    def pinned(self, tokens: Tokens) -> Tokens:
        """Return tokens in page-locked memory; PyTorch copies from it without the CPU."""
        arrays: dict[str, Any] = {
            name: torch.from_numpy(getattr(tokens, name)).pin_memory().numpy()
            for name in _TOKEN_ARRAYS
        }
        return replace(tokens, **arrays)

    def beside(self, copy: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Return what ``copy`` makes, on a stream of copies."""
        main = torch.cuda.current_stream(self.device)
        if self._copies is None:
            self._copies = torch.cuda.Stream(self.device)
            self._copies.wait_stream(main)  # the weights are there before anything is embedded
        with torch.cuda.stream(self._copies):
            copied = copy()
        main.wait_stream(self._copies)
        copied.record_stream(main)  # its memory may not be reused while the layers read it
        return copied

    def release(self) -> None:
        """Give back memory that torch holds."""
        torch.cuda.empty_cache()

    def free_bytes(self) -> int:
        """Return the memory of the GPU that is free."""
        return int(torch.cuda.mem_get_info(self.device)[0])


def accelerator_of(device: str, share: float = 1) -> Accelerator:
    """Return the device of a replica.

    Parameters
    ----------
    device
        ``execution.device``: ``auto``, ``cpu`` or ``cuda``.
    share
        Of a GPU that several replicas share, the part of its memory that this one may use.

    Raises
    ------
    InputError
        If a GPU is asked for and none is visible.
    """
    has_gpu = torch.cuda.is_available()
    if device == "cpu" or (device == "auto" and not has_gpu):
        return Accelerator(torch.device("cpu"))
    if not has_gpu:
        raise InputError("execution.device", "cuda, but no GPU is visible", "use auto or cpu")
    return Gpu(torch.device("cuda"), share)
