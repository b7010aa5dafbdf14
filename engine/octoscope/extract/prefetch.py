"""Cells to tokens beside the replica: a thread reads for the next unit while this one computes.

A unit's layers are driven over all of its cells, so its tokens are needed at once and the device
would wait for each unit's reading. No Ray in here.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch

from octoscope.atlas import Atlas
from octoscope.atlas.cell_digests import CellDigests
from octoscope.extract.accelerator import Accelerator
from octoscope.models import GeneMatch, Tokens
from octoscope.models.cell_groups import group_numbers, with_groups
from octoscope.models.protocol import GENE, FoundationModel
from octoscope.run_plan.values import Unit

_PATIENCE = 0.5  # seconds until a full reader thread checks whether it is still needed


@dataclass(frozen=True)
class TokenBatch:
    """A micro-batch of tokens.

    Attributes
    ----------
    parts
        Its physical batches: cells that have a gene of the model, as they enter layer 0 together.
    refused
        Ids of the other cells.
    waited
        Seconds that the replica waited for it.
    """

    parts: list[Tokens]
    refused: list[str]
    waited: float = 0.0


@dataclass(frozen=True)
class _End:
    """End mark of a reader thread: its error, or None."""

    error: BaseException | None = None


class _TokenThread:
    """Tokens of one unit, micro-batch by micro-batch, made in a thread of their own."""

    def __init__(self, prefetcher: Prefetcher, rows: np.ndarray, digests: CellDigests) -> None:
        self._prefetcher, self._rows, self.digests = prefetcher, rows, digests
        self._batches: queue.Queue[TokenBatch | _End] = queue.Queue(prefetcher.most)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, name="prefetch", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for batch in self._prefetcher.make(self._rows, self.digests):
                self._put(batch)
                if self._stopped.is_set():
                    return
            self._put(_End())
        except BaseException as error:  # noqa: BLE001  raised where the tokens are asked for
            self._put(_End(error))

    def _put(self, batch: TokenBatch | _End) -> None:
        while not self._stopped.is_set():
            with suppress(queue.Full):
                return self._batches.put(batch, timeout=_PATIENCE)

    def stop(self) -> None:
        """Give up; what was read is not needed."""
        self._stopped.set()
        self._thread.join()

    def batches(self) -> Iterator[TokenBatch]:
        """Yield what was read, in order."""
        while True:
            at = time.monotonic()
            batch = self._batches.get()
            waited = time.monotonic() - at
            if isinstance(batch, _End):
                if batch.error is not None:
                    raise batch.error
                return
            yield replace(batch, waited=waited)


class Prefetcher:
    """Reads and tokenises units; at most one of them ahead of the one that computes.

    Parameters
    ----------
    halves
        Rows of the atlas by category and half.
    micro_batch, batch_cells
        Cells in a micro-batch and in a physical batch, at most.
    device
        A GPU puts tokens into pinned memory, so that they are copied beside the compute.
    most
        Micro-batches that are held before they are asked for, at most; 0: a whole unit.
    digests
        Returns what a unit's reading fills.

    Attributes
    ----------
    read
        Digests of the cells of the unit that was asked for last; whole once its last batch came.
    """

    def __init__(
        self,
        atlas: Atlas,
        halves: list[tuple[np.ndarray, np.ndarray]],
        model: FoundationModel,
        match: GeneMatch,
        micro_batch: int,
        batch_cells: int,
        device: Accelerator,
        most: int = 0,
        digests: Callable[[Unit], CellDigests] = lambda unit: CellDigests(unit.start),
    ) -> None:
        self.most, self._digests = most, digests
        self._atlas, self._halves, self._model, self._match = atlas, halves, model, match
        self._micro_batch, self._batch_cells = micro_batch, batch_cells
        self._device = device
        self._groups = group_numbers(model, atlas.column)
        self._ahead: tuple[Unit, _TokenThread] | None = None
        self.read = CellDigests()

    def make(self, rows: np.ndarray, digests: CellDigests) -> Iterator[TokenBatch]:
        """Read rows, digest their counts and make their tokens, in this thread."""
        for cells in self._atlas.stream(rows, self._micro_batch):
            digests.add(cells.counts)
            tokens = self._model.tokenize(cells.counts, self._match, cells.cell_ids)
            tokens = with_groups(tokens, self._groups, cells.rows)
            usable = (tokens.kind == GENE).any(1)
            keep = np.flatnonzero(usable)
            parts = [
                self._device.pinned(tokens.take(keep[start : start + self._batch_cells]))
                for start in range(0, len(keep), self._batch_cells)
            ]
            yield TokenBatch(parts, [str(c) for c in tokens.cell_ids[~usable]])

    def ahead(self, unit: Unit) -> None:
        """Begin to read a unit that will probably be asked for next."""
        self.drop()
        self._ahead = unit, self._start(unit)

    def drop(self) -> None:
        """Give up what was read ahead."""
        if self._ahead is not None:
            self._ahead[1].stop()
            self._ahead = None

    def batches(self, unit: Unit) -> Generator[TokenBatch, None, None]:
        """Yield a unit's micro-batches in its order.

        Raises
        ------
        InputError
            If a count is not a count, or a chunk is missing or damaged.
        """
        if self._ahead is not None and self._ahead[0] == unit:
            reading, self._ahead = self._ahead[1], None
        else:
            self.drop()
            reading = self._start(unit)
        self.read = reading.digests
        try:
            yield from reading.batches()
        finally:
            reading.stop()

    def embed(self, tokens: Tokens) -> torch.Tensor:
        """Return the model's residual stream; on a GPU the copy waits for no queued compute."""
        return self._device.beside(lambda: self._model.embed(tokens))

    def _start(self, unit: Unit) -> _TokenThread:
        rows = self._halves[unit.category][unit.half][unit.start : unit.stop]
        return _TokenThread(self, rows, self._digests(unit))
