"""Running a layer over a planned batch in as many steps as memory allows. No Ray in here."""

from __future__ import annotations

from dataclasses import replace

import torch

from octoscope.device_copies import mask_of_cells
from octoscope.errors import MemoryShortError
from octoscope.extract.accelerator import Accelerator
from octoscope.models.protocol import FoundationModel, LayerAttention
from octoscope.store.fault_injection import crash_point


class OomRetry:
    """Halves the cells that pass a layer at once, when memory runs out, and remembers it.

    Padding and the order of every sum stay those of the plan, so the bytes stay too, as long as
    a cell's rows of a matrix product do not depend on the rows beside them. Tests hold this for
    all families on CPUs; GPUs choose their kernels by size, and it was not measured there.

    Attributes
    ----------
    at_once
        Cells in one step, at most; None while memory has sufficed.
    """

    def __init__(self, model: FoundationModel, device: Accelerator) -> None:
        self._model, self._device = model, device
        self.at_once: int | None = None

    def start_from(self, cells: int, halvings: int) -> None:
        """Begin with fewer cells: attempts before this one were killed for their memory."""
        if halvings:
            self.at_once = max(1, min(self.at_once or cells, cells >> halvings))

    def layer(
        self, i: int, residual: torch.Tensor, mask: torch.Tensor, where: str
    ) -> tuple[LayerAttention, torch.Tensor]:
        """Run layer ``i`` over a batch.

        Raises
        ------
        MemoryShortError
            If one cell is too many.
        """
        while True:
            step = min(self.at_once or len(residual), len(residual))
            try:
                crash_point("mid-layer", where)
                if step == len(residual):
                    return self._model.layer(i, residual, mask)
                masks, parts = [], []
                for at in range(0, len(residual), step):
                    cells = slice(at, at + step)
                    masks.append(mask_of_cells(mask, cells))
                    parts.append(self._model.layer(i, residual[cells], masks[-1]))
                attentions = [a for a, _ in parts]
                joined = _joined(attentions)
                # the batch's own mask, of which the host knows what it says
                if all(a.mask is m for a, m in zip(attentions, masks, strict=True)):
                    joined = replace(joined, mask=mask)
                return joined, torch.cat([r for _, r in parts])
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                problem = str(error).splitlines()[0] if str(error) else type(error).__name__
            # outside the handler: the traceback keeps what the step had allocated
            self._device.release()
            if step == 1:
                tokens, d = residual.shape[1:]
                free = self._device.free_bytes() / 1e9
                raise MemoryShortError(
                    f"{where}, layer {i}: out of memory with one cell of {tokens} tokens x {d} "
                    f"({free:.1f} GB free): {problem}. Use tokens: panel or a shorter "
                    "context, fewer actors, or a machine with more memory"
                )
            self.at_once = step // 2


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that host or device memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in text or "out of memory" in text
    )


def _joined(parts: list[LayerAttention]) -> LayerAttention:
    lse = [p.lse for p in parts if p.lse is not None]
    return LayerAttention(
        torch.cat([p.q for p in parts]),
        torch.cat([p.k for p in parts]),
        parts[0].scale,
        torch.cat([p.mask for p in parts]),
        torch.cat(lse) if len(lse) == len(parts) else None,
    )
