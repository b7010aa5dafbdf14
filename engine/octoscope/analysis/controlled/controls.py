"""Co-expression as a control: of a category, or pooled over categories, by vertex."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from octoscope.analysis.finished_matrices import GeneMoments
from octoscope.analysis.matrix import PairMatrix
from octoscope.config.view_names import CORRELATION

_ROWS = 512  # vertices with several genes that are yielded at once
MOST_CACHED = 64 << 20  # bytes of a control that is held, and read once instead of a dozen times
# (first row, [half 0, half 1, all cells; rows; genes])
GeneBlocks = Callable[[], Iterator[tuple[int, np.ndarray]]]


def of_category(matrix: PairMatrix, genes: np.ndarray) -> GeneBlocks:
    """Return a reader of a category's correlations.

    Parameters
    ----------
    genes
        Ascending positions on the axis of the co-expression entry.
    """

    def read() -> Iterator[tuple[int, np.ndarray]]:
        halves, every = matrix.halves(genes, CORRELATION), matrix.values(genes, CORRELATION)
        for (first, x, y, _), (_, values, _) in zip(halves, every, strict=True):
            yield first, np.stack([x, y, values])

    return read


def pooled(categories: Sequence[tuple[GeneBlocks, GeneMoments]], genes: np.ndarray) -> GeneBlocks:
    """Return a reader of Pearson's correlation over the cells of all categories together.

    Co-moments of categories add up, and so do those between their means (Chan, Golub, LeVeque
    1983): the models saw every cell type, so co-expression between types is an explanation
    too. A gene that does not vary has the correlation 0.
    """
    cells = np.stack([m.cells for _, m in categories]).astype(np.float64)[:, :, None]
    mean = np.stack([m.mean[:, genes] for _, m in categories])
    deviation = np.sqrt(np.stack([m.variance[:, genes] for _, m in categories]))
    total = np.maximum(cells.sum(0), 1)
    gap = mean - (cells * mean).sum(0) / total  # [categories, parts, genes]
    variance = (cells * (deviation**2 + gap**2)).sum(0) / total
    scale = np.sqrt(variance)

    def read() -> Iterator[tuple[int, np.ndarray]]:
        for parts in zip(*(blocks() for blocks, _ in categories), strict=True):
            first, shape = parts[0][0], parts[0][1].shape
            here = slice(first, first + shape[1])
            joint = np.zeros(shape)
            for c, (_, r) in enumerate(parts):
                weight = cells[c, :, :, None]
                joint += weight * r * deviation[c][:, here, None] * deviation[c][:, None, :]
                joint += weight * gap[c][:, here, None] * gap[c][:, None, :]
            by = total[:, :, None] * scale[:, here, None] * scale[:, None, :]
            pearson = np.divide(joint, by, out=np.zeros(shape), where=by > 0)
            yield first, np.clip(pearson, -1, 1).astype(np.float32)

    return read


def by_vertex(
    read: GeneBlocks, vertex: np.ndarray, n: int
) -> Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]:
    """Return a reader of rows of vertices.

    Two vertices with several genes have the value of the pair of genes where it is largest by size,
    so that no strong co-expression of a family is lost.

    Parameters
    ----------
    vertex
        [genes] vertex of each gene of ``read``.
    n
        Number of vertices; each has a gene. Of few vertices the reader holds what it read.
    """
    order = np.argsort(vertex, kind="stable")
    starts = np.flatnonzero(np.diff(vertex[order], prepend=-1))
    single = len(vertex) == n
    several = np.bincount(vertex, minlength=n) > 1

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        waiting: dict[int, np.ndarray] = {}  # rows of vertices with several genes
        for first, block in read():
            values = block[:, :, order]
            if not single:
                high = np.maximum.reduceat(values, starts, axis=2)
                low = np.minimum.reduceat(values, starts, axis=2)
                values = _larger(high, low)
            rows = vertex[first : first + block.shape[1]]
            for i in np.flatnonzero(several[rows]):
                row, at = values[:, i], int(rows[i])
                waiting[at] = _larger(waiting[at], row) if at in waiting else row.copy()
            alone = ~several[rows]
            yield rows[alone], values[:, alone]
        while waiting:
            some = [waiting.popitem() for _ in range(min(len(waiting), _ROWS))]
            yield np.array([at for at, _ in some]), np.stack([row for _, row in some], axis=1)

    cached: list[tuple[np.ndarray, np.ndarray]] = []

    def cached_blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        if not cached:
            cached.extend(blocks())
        return iter(cached)

    return cached_blocks if control_bytes(n) <= MOST_CACHED else blocks


def control_bytes(n: int) -> int:
    """Return the bytes of a control of ``n`` vertices: two halves and all cells."""
    return 3 * 4 * n * n


def _larger(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) >= np.abs(y), x, y)
