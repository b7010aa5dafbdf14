"""Sums of attention over cells, tile by tile: never [cells, heads, tokens, tokens].

One pass gives the log-sum-exp of every query row over all attended keys. Each tile of the
accumulator then loops over cells and chunks of heads: scores, exp(score - lse), mean over heads,
add in fp32; the tile joins the fp64 sums once per logical micro-batch. Memory is the accumulator
plus a few tiles, whatever the number of cells and heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from engine.attention.views import QUANTITIES
from engine.errors import MassError

_TILE_ELEMENTS = 1 << 20  # scores held at once: 4 MB of fp32, near the cache


@dataclass(frozen=True)
class BatchLayout:
    """Where the tokens of a batch belong.

    Attributes
    ----------
    panel
        [cells, tokens] int64: index of the token's gene in the panel, -1 otherwise.
    special
        [cells, tokens] int64: column of ``LayerSums.mass`` for attended tokens outside the panel
        (special kinds, genes outside the panel); -1 for panel genes and padding.
    """

    panel: np.ndarray
    special: np.ndarray


@dataclass(frozen=True)
class QKBatch:
    """What one layer attends with in a batch of cells, and where its tokens belong.

    Attributes
    ----------
    q, k
        [cells, heads, tokens, d_head] tensors.
    scale
        Factor on q.k before the softmax.
    mask
        [cells, tokens] bool tensor, True where a key is attended to.
    """

    q: torch.Tensor
    k: torch.Tensor
    scale: float
    mask: torch.Tensor
    layout: BatchLayout


class LayerSums:
    """Sums of one layer over the cells added so far.

    Attributes
    ----------
    sums
        [quantities, genes, genes] float64 tensor: sum over cells of head-mean probability, of
        tokens x probability (lift), of head-mean logit.
    mass
        [genes, mass columns] float64 tensor: attention of each query gene to kept genes (first
        column) and to each other kind of key.
    cells
        [genes] int64 tensor: cells in which the gene is a query.
    """

    def __init__(
        self, n_genes: int, mass_columns: tuple[str, ...], *, tile: int, device: torch.device
    ) -> None:
        self.n_genes, self.tile, self.mass_columns = n_genes, tile, mass_columns
        size = (len(QUANTITIES), n_genes, n_genes)
        self.sums = torch.zeros(size, dtype=torch.float64, device=device)
        self.mass = torch.zeros((n_genes, len(mass_columns)), dtype=torch.float64, device=device)
        self.cells = torch.zeros(n_genes, dtype=torch.int64, device=device)

    def add(self, parts: list[QKBatch]) -> None:
        """Add one logical micro-batch, given as the physical batches that it ran in."""
        cells = [_Cell.of(part, c, self.tile) for part in parts for c in range(len(part.q))]
        edges = range(0, self.n_genes, self.tile)
        for r in edges:
            for s in edges:
                self._add_tile(cells, r, s)
        for cell in cells:
            self._add_outside(cell)

    def _add_tile(self, cells: list[_Cell], r: int, s: int) -> None:
        height, width = min(self.tile, self.n_genes - r), min(self.tile, self.n_genes - s)
        buffer = torch.zeros((len(QUANTITIES), height, width), device=self.sums.device)
        touched = False
        for cell in cells:
            rows, columns = cell.span(r, r + height), cell.span(s, s + width)
            if rows.start == rows.stop or columns.start == columns.stop:
                continue
            touched = True
            probability, logit = cell.head_means(rows, columns)
            self.mass[cell.genes[rows], 0] += probability.sum(1, dtype=torch.float64)
            block = torch.stack((probability, probability * cell.n_tokens, logit))
            if block.shape == buffer.shape:
                buffer += block
            else:
                # indices are unique within a cell, so the order of additions cannot vary
                wide = torch.zeros((len(block), block.shape[1], width), device=block.device)
                wide.index_copy_(2, cell.genes[columns] - s, block)
                buffer.index_add_(1, cell.genes[rows] - r, wide)
        if touched:
            self.sums[:, r : r + height, s : s + width] += buffer

    def _add_outside(self, cell: _Cell) -> None:
        """Add the attention to everything that is not a kept gene."""
        self.cells[cell.genes] += 1
        for column, keys in cell.outside.items():
            for start in range(0, len(cell.genes), self.tile):
                rows = slice(start, min(start + self.tile, len(cell.genes)))
                for at in range(0, keys.shape[1], self.tile):
                    p = cell.probabilities(rows, keys[:, at : at + self.tile])
                    self.mass[cell.genes[rows], column] += p.sum(1, dtype=torch.float64)

    def check_mass(self, where: str, tolerance: float = 1e-5) -> None:
        """Refuse sums whose attention rows do not total one per cell.

        Raises
        ------
        MassError
            Naming the layer and the worst gene; NaN and infinity land here too.
        """
        used = self.cells > 0
        if not bool(used.any()):
            return
        total = self.mass.sum(1)[used] / self.cells[used]
        gap = (total - 1).abs()
        gap = torch.where(torch.isfinite(gap), gap, torch.inf)
        worst = int(gap.argmax())
        finite = bool(torch.isfinite(self.sums.sum()))
        if float(gap[worst]) > tolerance or not finite:
            gene = int(torch.nonzero(used)[worst])
            raise MassError(
                f"{where}: attention mass of query gene {gene} is {float(total[worst]):.6g} per "
                f"cell, expected 1 +- {tolerance:g}" + ("" if finite else "; sums are not finite")
            )


@dataclass
class _Cell:
    """One cell of a batch: panel tokens in gene order, and the row log-sum-exp."""

    q: torch.Tensor  # [heads, panel tokens, d_head], scaled
    k: torch.Tensor  # [heads, panel tokens, d_head]
    lse: tuple[torch.Tensor, torch.Tensor]  # maximum and log-sum, [heads, panel tokens] each
    genes: torch.Tensor  # [panel tokens] ascending panel indices
    genes_np: np.ndarray
    outside: dict[int, torch.Tensor]  # mass column -> keys [heads, tokens, d_head]
    n_tokens: int

    @classmethod
    def of(cls, batch: QKBatch, c: int, tile: int) -> _Cell:
        q, k, mask = batch.q[c], batch.k[c], batch.mask[c]
        panel, special = batch.layout.panel[c], batch.layout.special[c]
        at = np.flatnonzero(panel >= 0)
        at = at[np.argsort(panel[at], kind="stable")]
        queries = _tokens(q, at).float() * batch.scale
        outside = {
            int(column): _tokens(k, np.flatnonzero(special == column)).float()
            for column in np.unique(special[special >= 0])
        }
        attended = np.flatnonzero(mask.cpu().numpy())
        return cls(
            queries,
            _tokens(k, at).float(),
            _row_lse(queries, _tokens(k, attended).float(), tile),
            torch.from_numpy(panel[at]).to(q.device),
            panel[at],
            outside,
            len(attended),
        )

    def span(self, start: int, stop: int) -> slice:
        """Return the tokens whose genes lie in [start, stop)."""
        lo, hi = np.searchsorted(self.genes_np, (start, stop))
        return slice(int(lo), int(hi))

    def head_means(self, rows: slice, columns: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Return head means [rows, columns] of probability and logit."""
        keys = self.k[:, columns]
        probability = torch.zeros((rows.stop - rows.start, keys.shape[1]), device=keys.device)
        logit = torch.zeros_like(probability)
        for h in _head_chunks(len(self.q), probability.numel()):
            scores = self.q[h, rows] @ keys[h].transpose(1, 2)
            logit += scores.sum(0)
            probability += self._exp(scores, h, rows).sum(0)
        return probability / len(self.q), logit / len(self.q)

    def _exp(self, scores: torch.Tensor, h: slice, rows: slice) -> torch.Tensor:
        top, log_sum = self.lse
        return scores.sub_(top[h, rows, None]).sub_(log_sum[h, rows, None]).exp_()

    def probabilities(self, rows: slice, keys: torch.Tensor) -> torch.Tensor:
        """Return head-mean probabilities [rows, keys] of the given keys [heads, keys, d_head]."""
        out = torch.zeros((rows.stop - rows.start, keys.shape[1]), device=keys.device)
        for h in _head_chunks(len(self.q), out.numel()):
            scores = self.q[h, rows] @ keys[h].transpose(1, 2)
            out += self._exp(scores, h, rows).sum(0)
        return out / len(self.q)


def _tokens(x: torch.Tensor, index: np.ndarray) -> torch.Tensor:
    """Return x[:, index]; a view where the tokens are consecutive, so that no copy is held."""
    if len(index) and index[-1] - index[0] == len(index) - 1 and (np.diff(index) == 1).all():
        return x[:, int(index[0]) : int(index[-1]) + 1]
    return x[:, torch.from_numpy(index).to(x.device)]


def _head_chunks(heads: int, elements: int) -> list[slice]:
    step = max(1, _TILE_ELEMENTS // max(1, elements))
    return [slice(h, min(h + step, heads)) for h in range(0, heads, step)]


def _row_lse(q: torch.Tensor, k: torch.Tensor, tile: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (row maximum, log of the sum of exp(score - maximum)), each [heads, queries].

    Kept apart because their sum, rounded to fp32, loses the digits that large scores need.
    """
    top = torch.full(q.shape[:2], -torch.inf, device=q.device)
    total = torch.zeros(q.shape[:2], device=q.device)
    for start in range(0, q.shape[1], tile):
        rows = slice(start, min(start + tile, q.shape[1]))
        for h in _head_chunks(len(q), (rows.stop - rows.start) * tile):
            for at in range(0, k.shape[1], tile):
                scores = q[h, rows] @ k[h, at : at + tile].transpose(1, 2)
                highest = torch.maximum(top[h, rows], scores.amax(-1))
                here = scores.sub_(highest[..., None]).exp_().sum(-1)
                total[h, rows] = total[h, rows] * (top[h, rows] - highest).exp_() + here
                top[h, rows] = highest
    return top, total.log_()


class PairCounts:
    """n_ij: cells that hold both genes as tokens; shared by all layers of a unit.

    Attributes
    ----------
    counts
        [genes, genes] int32 tensor.
    """

    def __init__(self, n_genes: int, *, tile: int) -> None:
        self.counts = torch.zeros((n_genes, n_genes), dtype=torch.int32)
        self._tile = tile

    def add(self, layout: BatchLayout) -> None:
        """Add the cells of a batch."""
        n = len(self.counts)
        present = np.zeros((len(layout.panel), n), np.float32)
        cell, token = np.nonzero(layout.panel >= 0)
        present[cell, layout.panel[cell, token]] = 1
        held = torch.from_numpy(present)
        for r in range(0, n, self._tile):
            rows = held[:, r : r + self._tile]
            # float32 counts of a batch are exact far below 2**24 cells
            self.counts[r : r + self._tile] += (rows.T @ held).to(torch.int32)
