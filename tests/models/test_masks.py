"""What every family gives PyTorch's attention: no mask where all keys are attended to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from octoscope.device_copies import sent_mask
from octoscope.models import blocks, load_model
from octoscope.models.protocol import FoundationModel

from tests.device_waits import DeviceWaits
from tests.models.parity import DATA

CHECKPOINTS = {
    name: DATA / name / "checkpoint"
    for name in ("aidocell", "geneformer", "nicheformer", "scfoundation", "scgpt", "scprint")
} | {"scprint2": DATA / "scprint2" / "tokens" / "checkpoint"}
OPTIONS: dict[str, dict[str, Any]] = {
    "geneformer": {"dictionaries": str(DATA / "geneformer" / "dictionaries")},
    "nicheformer": dict.fromkeys(("species", "assay", "modality"), "none")
    | {"technology_mean": str(DATA / "nicheformer" / "technology_mean.npy")},
}


def masks_given(
    model: FoundationModel, mask: torch.Tensor, monkeypatch: pytest.MonkeyPatch, *, always: bool
) -> tuple[list[torch.Tensor | None], torch.Tensor]:
    """Return the masks that a layer's attention was given, and the residual stream after it.

    ``always``: PyTorch gets a mask of all True where the layer gives none.
    """
    given: list[torch.Tensor | None] = []
    whole = torch.nn.functional.scaled_dot_product_attention

    def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **kw: Any) -> torch.Tensor:
        given.append(kw["attn_mask"])
        if always and kw["attn_mask"] is None:
            kw["attn_mask"] = torch.ones((len(q), 1, 1, k.shape[2]), dtype=torch.bool)
        return whole(q, k, v, **kw)

    residual = torch.randn((*mask.shape, model.d), generator=torch.Generator().manual_seed(0))
    with monkeypatch.context() as patch, torch.inference_mode():
        patch.setattr(blocks.F, "scaled_dot_product_attention", attention)
        after = model.layer(0, residual, mask)[1]
    return given, after


@pytest.mark.parametrize("family", CHECKPOINTS)
def test_cells_of_equal_length_need_no_mask(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red: a mask is always given, which forbids the kernels that hold no scores."""
    path: Path = CHECKPOINTS[family]
    model = load_model(path, options=OPTIONS.get(family))
    mask = torch.ones((3, 12), dtype=torch.bool)
    given, after = masks_given(model, mask, monkeypatch, always=False)
    assert given == [None]
    _, masked = masks_given(model, mask, monkeypatch, always=True)
    torch.testing.assert_close(after, masked, rtol=1e-5, atol=1e-6)
    mask[1, 9:] = False  # a shorter cell
    (keys,), ragged = masks_given(model, mask, monkeypatch, always=False)
    assert keys is not None
    assert torch.equal(keys[:, 0, 0], mask)
    torch.testing.assert_close(ragged[::2], after[::2], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(ragged[1, :9], after[1, :9], rtol=1e-3)


@pytest.mark.parametrize("family", CHECKPOINTS)
@pytest.mark.parametrize("longest", [9, 12])
def test_a_layer_asks_the_device_for_nothing(family: str, longest: int) -> None:
    """Red: the device is asked whether all keys are attended to, in each layer of each batch."""
    model = load_model(CHECKPOINTS[family], options=OPTIONS.get(family))
    mask = np.ones((3, 12), bool)
    mask[1, longest:] = False
    residual = torch.randn((3, 12, model.d))
    with torch.inference_mode():
        known = sent_mask(mask, torch.device("cpu"))
        with DeviceWaits() as counted:
            a, after = model.layer(0, residual, known)
        assert not counted.waits, counted.waits
        assert not counted.copies, counted.copies
        assert a.mask is known  # of which the host knows what it says
        unknown = model.layer(0, residual, torch.from_numpy(mask))[1]
    assert torch.equal(after, unknown)


@pytest.mark.parametrize(("kind", "calls"), [("cpu", 3), ("cuda", 1)])
def test_cells_are_activated_one_by_one_on_cpus_alone(kind: str, calls: int) -> None:
    sizes = []

    class Values(list[torch.Tensor]):
        device = torch.device(kind)

    def activation(x: Any) -> torch.Tensor:
        sizes.append(len(x))
        return torch.zeros(2)

    blocks.by_cell(activation, Values(torch.ones(3, 2)))  # type: ignore[arg-type]
    assert len(sizes) == calls
