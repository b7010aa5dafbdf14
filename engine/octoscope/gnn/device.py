"""Where a graph neural network computes."""

from __future__ import annotations

import torch

from octoscope.errors import InputError


def require_device(device: str) -> None:
    """Refuse a device that this process does not have.

    Raises
    ------
    InputError
        If it is ``cuda`` and torch sees no GPU.
    """
    if device != "cpu" and not torch.cuda.is_available():
        built = "" if torch.version.cuda else "; this torch is built without CUDA"
        raise InputError(
            f"device: {device}", f"torch sees no CUDA device here{built}",
            "use cpu, or start it where a GPU and a torch for CUDA are",
        )  # fmt: skip
