"""Copies to a device go on beside the host, and the host knows what its own masks say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from octoscope import device_copies
from octoscope.device_copies import (
    attended_tokens,
    attends_to_all,
    known_mask,
    mask_of_cells,
    sent,
    sent_mask,
)

from tests.device_waits import DeviceWaits

CPU = torch.device("cpu")


def test_a_gpu_takes_a_copy_from_pinned_memory_without_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[Any] = []

    class Host:
        def pin_memory(self) -> Host:
            calls.append("pinned")
            return self

        def to(self, device: Any, **options: Any) -> Host:
            calls.append((device, options))
            return self

    monkeypatch.setattr(device_copies, "torch", SimpleNamespace(from_numpy=lambda array: Host()))
    gpu: Any = SimpleNamespace(type="cuda")
    sent(np.zeros(3), gpu)
    assert calls == ["pinned", (gpu, {"non_blocking": True})]


def test_a_cpu_shares_the_memory() -> None:
    array = np.zeros(3)
    sent(array, CPU)[0] = 1
    assert array[0] == 1


def test_masks_of_the_host_and_of_its_cells_are_known() -> None:
    mask = np.ones((3, 4), bool)
    mask[1, 2:] = False
    with torch.inference_mode():
        known = sent_mask(mask, CPU)
        parts = [mask_of_cells(known, cells) for cells in (slice(0, 1), slice(1, 3))]
        with DeviceWaits() as counted:
            assert attended_tokens([known, *parts]).tolist() == [4, 2, 4, 4, 2, 4]
            assert [attends_to_all(x) for x in (known, *parts)] == [False, True, False]
        assert not counted.waits
    unknown = torch.from_numpy(mask)
    assert known_mask(unknown) is None
    assert known_mask(mask_of_cells(unknown, slice(0, 1))) is None
    with DeviceWaits() as counted:
        assert attended_tokens([known, unknown]).tolist() == [4, 2, 4, 4, 2, 4]
        assert not attends_to_all(unknown)
    assert counted.waits == {"attended_tokens": 2, "attends_to_all": 1}  # .cpu().numpy(), bool()


def test_what_the_host_knows_goes_with_the_mask() -> None:
    kept = len(device_copies._MASKS)
    mask = sent_mask(np.ones((1, 2), bool), CPU)
    assert len(device_copies._MASKS) == kept + 1
    del mask
    assert len(device_copies._MASKS) == kept
