"""Kernels of the reduction on GPUs. A program owns what it writes: nothing is added atomically.

Scores are recomputed from q and k wherever they are used, never stored. The power exp(x) is 2 to
that of x / log 2, and the shift of a row is the same rounded number in every kernel, so that it
cancels.
What is multiplied and added in one rounding says so (fma): compilers differ in what they fuse.
NaN and infinity spread to the row's sums. Tensors: ``q`` [queries, heads, D], ``k`` [keys, heads,
D], row values [heads, queries]. ``factor`` is scale / log 2.

Numbers that change from batch to batch do not specialise a kernel: it would be compiled anew.
Nothing here knows of batches or settings; :mod:`.triton_reduce` launches.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def tokens_of(x, at, inside, h, heads, first, D: tl.constexpr, DC: tl.constexpr):
    """Return [len(at), DC] of head ``h`` from dimension ``first`` on; 0 where not ``inside``."""
    d = first + tl.arange(0, DC)
    where = at.to(tl.int64)[:, None] * (heads * D) + h * D + d[None, :]
    return tl.load(x + where, mask=inside[:, None] & (d < D)[None, :], other=0.0)


@triton.jit
def add_scores(
    score, q, k, rows, in_rows, keys, in_keys, h, heads, D: tl.constexpr, DC: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Return ``score`` + q.k of head ``h``: DC dimensions at a time, which registers must hold."""
    for first in tl.static_range(0, D, DC):
        mine = tokens_of(q, rows, in_rows, h, heads, first, D, DC)
        theirs = tokens_of(k, keys, in_keys, h, heads, first, D, DC)
        score = tl.dot(mine, tl.trans(theirs), score, input_precision=PRECISION)
    return score


@triton.jit(do_not_specialize=["queries", "columns"])
def sum_rows(
    q, k, block_cell, block_row, first_query, first_key, ends, top, total, queries, heads, columns,
    factor, D: tl.constexpr, DC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Store of a block of queries: the largest score of each mass column's keys, and the sum.

    ``top``, ``total`` [columns, heads, queries]: max x factor, sum of 2^(score x factor - top).
    Grid (blocks, heads, columns). A column without a key leaves -infinity and 0.
    """
    block, h, s = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    cell, row = tl.load(block_cell + block), tl.load(block_row + block)
    rows = row + tl.arange(0, BM)
    inside = rows < tl.load(first_query + cell + 1)
    first = tl.load(first_key + cell)
    start = first + tl.load(ends + cell * columns + s - 1, mask=s > 0, other=0)
    stop = first + tl.load(ends + cell * columns + s)
    high = tl.full((BM,), float("-inf"), tl.float32)
    added = tl.zeros((BM,), tl.float32)
    for at in range(start, stop, BN):
        keys = at + tl.arange(0, BN)
        score = tl.zeros((BM, BN), tl.float32)
        score = add_scores(score, q, k, rows, inside, keys, keys < stop, h, heads, D, DC, PRECISION)
        score = tl.where((keys < stop)[None, :], score, float("-inf"))
        now = tl.maximum(high, tl.max(score, 1) * factor, propagate_nan=tl.PropagateNan.ALL)
        shifted = tl.exp2(tl.fma(score, factor, -now[:, None]))
        added = added * tl.exp2(high - now) + tl.sum(shifted, 1)
        high = now
    into = (s * heads + h).to(tl.int64) * queries + rows
    tl.store(top + into, high, mask=inside)
    tl.store(total + into, added, mask=inside)


@triton.jit(do_not_specialize=["queries", "columns"])
def peak_rows(
    q, k, block_cell, block_row, first_query, first_key, ends, shift, inverse, mass, queries, heads,
    columns, factor, D: tl.constexpr, DC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Store the sum over a column's keys of the largest probability over heads.

    ``mass`` [columns - 1, queries], of all columns but the first. Grid (blocks, columns - 1).
    """
    block, s = tl.program_id(0), tl.program_id(1) + 1
    cell, row = tl.load(block_cell + block), tl.load(block_row + block)
    rows = row + tl.arange(0, BM)
    inside = rows < tl.load(first_query + cell + 1)
    first = tl.load(first_key + cell)
    start = first + tl.load(ends + cell * columns + s - 1)
    stop = first + tl.load(ends + cell * columns + s)
    added = tl.zeros((BM,), tl.float32)
    for at in range(start, stop, BN):
        keys = at + tl.arange(0, BN)
        peak = tl.zeros((BM, BN), tl.float32)
        for h in range(heads):
            score = tl.zeros((BM, BN), tl.float32)
            score = add_scores(
                score, q, k, rows, inside, keys, keys < stop, h, heads, D, DC, PRECISION
            )
            high = tl.load(shift + h * queries + rows, mask=inside, other=0.0)
            part = tl.load(inverse + h * queries + rows, mask=inside, other=0.0)
            share = tl.exp2(tl.fma(score, factor, -high[:, None])) * part[:, None]
            peak = tl.maximum(peak, share, propagate_nan=tl.PropagateNan.ALL)
        added += tl.sum(tl.where((keys < stop)[None, :], peak, 0.0), 1)
    tl.store(mass + (s - 1).to(tl.int64) * queries + rows, added, mask=inside)


@triton.jit
def tile_of(tiles, rows_of, GROUP: tl.constexpr):
    """Return the row and column of a tile: neighbours in time share rows and columns in cache."""
    at = tl.program_id(0)
    wide = GROUP * tiles
    first = at // wide * GROUP
    height = tl.minimum(rows_of - first, GROUP)
    return first + at % wide % height, at % wide // height


@triton.jit
def raise_tile(sums, into, inside, values):
    """Add values to float64 sums at offsets."""
    before = tl.load(sums + into, mask=inside, other=0.0)
    tl.store(sums + into, before + values.to(tl.float64), mask=inside)


@triton.jit(
    do_not_specialize=["queries", "tokens", "cells", "head", "stop", "first_gene", "stop_gene"]
)
def add_whole_cells(
    q, k, shift, inverse, probability, lift, logit, spread, n_cells, mass, genes, first_gene,
    stop_gene, queries, tokens, cells, heads, head, stop, factor, per_logit, per_share,
    D: tl.constexpr, DC: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, LARGEST: tl.constexpr,
    MOMENTS: tl.constexpr, SOFTMAX: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add cells that all hold every gene: a program owns a tile of [rows, genes].

    Sums of the micro-batch stay in registers (fp32); each of the accumulators is read and written
    once, whatever the number of cells and heads.

    Parameters
    ----------
    shift, inverse
        [heads, queries]: shift of a row, 1 / sum.
    probability, lift, logit, spread
        [rows, genes] float64. ``spread`` is of MOMENTS only.
    n_cells
        [rows, genes] int32, cells before these; raised by them.
    mass
        [column tiles, genes] float32: a tile's share of the rows' probability.
    first_gene, stop_gene
        Genes of the rows. Tiles lie where they lie among the rows of all genes.
    head, stop
        Heads that are added (averaged), or of which the largest is (LARGEST).
    per_logit, per_share
        Factors of a score's sum and of a probability's: scale and 1 / heads, where averaged.
    SOFTMAX
        False: logits alone, one product of inner dimension cells x heads x D.
    """
    i, j = tile_of(tl.cdiv(genes, BN), tl.cdiv(stop_gene, BM) - first_gene // BM, 8)
    i += first_gene // BM
    rows, columns = i * BM + tl.arange(0, BM), j * BN + tl.arange(0, BN)
    in_rows, in_columns = (rows >= first_gene) & (rows < stop_gene), columns < genes
    p_sum = tl.zeros((BM, BN), tl.float32)
    s_sum = tl.zeros((BM, BN), tl.float32)
    if LARGEST or MOMENTS:
        mean = tl.zeros((BM, BN), tl.float32)
        m2 = tl.zeros((BM, BN), tl.float32)
        for c in range(cells):
            p_cell = tl.zeros((BM, BN), tl.float32)
            s_cell = tl.zeros((BM, BN), tl.float32)
            if LARGEST:
                s_cell = tl.full((BM, BN), float("-inf"), tl.float32)
            for h in range(head, stop):
                score = tl.zeros((BM, BN), tl.float32)
                score = add_scores(
                    score, q, k, c * genes + rows, in_rows, c * tokens + columns, in_columns, h,
                    heads, D, DC, PRECISION,
                )  # fmt: skip
                at = h * queries + c * genes + rows
                high = tl.load(shift + at, mask=in_rows, other=0.0)
                part = tl.load(inverse + at, mask=in_rows, other=0.0)
                share = tl.exp2(tl.fma(score, factor, -high[:, None])) * part[:, None]
                if LARGEST:
                    p_cell = tl.maximum(p_cell, share, propagate_nan=tl.PropagateNan.ALL)
                    s_cell = tl.maximum(s_cell, score, propagate_nan=tl.PropagateNan.ALL)
                else:
                    p_cell += share
                    s_cell += score
            p_cell *= per_share
            p_sum += p_cell
            s_sum += s_cell
            if MOMENTS:  # Welford
                gap = p_cell - mean
                mean += gap / (c + 1)
                m2 += gap * (p_cell - mean)
    else:
        for step in range(cells * (stop - head)):
            c, h = step // (stop - head), head + step % (stop - head)
            if SOFTMAX:
                score = tl.zeros((BM, BN), tl.float32)
                score = add_scores(
                    score, q, k, c * genes + rows, in_rows, c * tokens + columns, in_columns, h,
                    heads, D, DC, PRECISION,
                )  # fmt: skip
                at = h * queries + c * genes + rows
                high = tl.load(shift + at, mask=in_rows, other=0.0)
                part = tl.load(inverse + at, mask=in_rows, other=0.0) * per_share
                share = tl.exp2(tl.fma(score, factor, -high[:, None]))
                p_sum = tl.fma(share, part[:, None], p_sum)
                s_sum += score
            else:
                s_sum = add_scores(
                    s_sum, q, k, c * genes + rows, in_rows, c * tokens + columns, in_columns, h,
                    heads, D, DC, PRECISION,
                )  # fmt: skip
    # one number per tile in 64 bits, and offsets in 32: registers are short here
    first = (i * BM - first_gene).to(tl.int64) * genes + j * BN
    into = tl.arange(0, BM)[:, None] * genes + tl.arange(0, BN)[None, :]
    inside = in_rows[:, None] & in_columns[None, :]
    if SOFTMAX:
        here = tl.sum(tl.where(in_columns[None, :], p_sum, 0.0), 1)
        tl.store(mass + j.to(tl.int64) * genes + rows, here, mask=in_rows)
        if MOMENTS:  # Chan: what earlier micro-batches left, and this one
            a = tl.load(n_cells + first + into, mask=inside, other=0)
            tl.store(n_cells + first + into, a + cells, mask=inside)
            a = a.to(tl.float64)
            before = tl.load(probability + first + into, mask=inside, other=0.0)
            apart = p_sum.to(tl.float64) / cells - before / tl.maximum(a, 1.0)
            between = tl.where(a > 0, apart * apart * (a * cells / (a + cells)), 0.0)
            raise_tile(spread + first, into, inside, m2.to(tl.float64) + between)
        raise_tile(lift + first, into, inside, p_sum * tokens)
        raise_tile(probability + first, into, inside, p_sum)
    raise_tile(logit + first, into, inside, s_sum * per_logit)


@triton.jit(
    do_not_specialize=[
        "queries", "tiles", "head", "stop", "first_gene", "stop_gene", "first_tile",
    ]
)  # fmt: skip
def add_part_cells(
    q, k, shift, inverse, probability, lift, logit, spread, n_cells, mass, gene, edges, cell_at,
    cell_list, first_query, first_key, n_tokens, genes, first_gene, stop_gene, first_tile, queries,
    tiles, heads, head, stop, factor, per_logit, per_share, D: tl.constexpr, DC: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, LARGEST: tl.constexpr, MOMENTS: tl.constexpr,
    SOFTMAX: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add cells that hold some of the genes: a program owns a tile of genes, in memory.

    It walks the cells that hold a gene of its rows, and of each the tokens whose genes lie in the
    tile: work is proportional to the pairs there are, rounded up to blocks. Parameters as of
    :func:`add_whole_cells`, and:

    Parameters
    ----------
    gene
        [queries] int32, ascending in each cell.
    edges
        [cells, tiles + 1] int32: tokens of a cell before each tile of genes.
    cell_at, cell_list
        CSR by tile: cells that hold one of its genes.
    n_tokens
        [cells] int32: keys of a cell.
    mass
        [column tiles, queries] float32, 0 before.
    first_tile
        That holds the first gene of the rows.
    """
    i, j = first_tile + tl.program_id(0), tl.program_id(1)
    for at_cell in range(tl.load(cell_at + i), tl.load(cell_at + i + 1)):
        c = tl.load(cell_list + at_cell)
        q0, k0 = tl.load(first_query + c), tl.load(first_key + c)
        edge = edges + c * (tiles + 1)
        row_stop, column_stop = tl.load(edge + i + 1), tl.load(edge + j + 1)
        weight = tl.load(n_tokens + c)
        for row in range(tl.load(edge + i), row_stop, BM):
            rows = row + tl.arange(0, BM)
            in_rows = rows < row_stop
            row_gene = tl.load(gene + q0 + rows, mask=in_rows, other=0)
            in_rows = in_rows & (row_gene >= first_gene) & (row_gene < stop_gene)
            row_gene = (row_gene - first_gene).to(tl.int64)
            here = tl.zeros((BM,), tl.float32)
            for column in range(tl.load(edge + j), column_stop, BN):
                columns = column + tl.arange(0, BN)
                in_columns = columns < column_stop
                p = tl.zeros((BM, BN), tl.float32)
                s = tl.zeros((BM, BN), tl.float32)
                if LARGEST:
                    s = tl.full((BM, BN), float("-inf"), tl.float32)
                for h in range(head, stop):
                    score = tl.zeros((BM, BN), tl.float32)
                    score = add_scores(
                        score, q, k, q0 + rows, in_rows, k0 + columns, in_columns, h, heads, D, DC,
                        PRECISION,
                    )  # fmt: skip
                    if SOFTMAX:
                        at = h * queries + q0 + rows
                        high = tl.load(shift + at, mask=in_rows, other=0.0)
                        part = tl.load(inverse + at, mask=in_rows, other=0.0)
                        share = tl.exp2(tl.fma(score, factor, -high[:, None])) * part[:, None]
                        if LARGEST:
                            p = tl.maximum(p, share, propagate_nan=tl.PropagateNan.ALL)
                        else:
                            p += share
                    if LARGEST:
                        s = tl.maximum(s, score, propagate_nan=tl.PropagateNan.ALL)
                    else:
                        s += score
                column_gene = tl.load(gene + q0 + columns, mask=in_columns, other=0)
                into = row_gene[:, None] * genes + column_gene[None, :]
                inside = in_rows[:, None] & in_columns[None, :]
                if SOFTMAX:
                    p *= per_share
                    before = tl.load(probability + into, mask=inside, other=0.0)
                    if MOMENTS:  # one more cell, in fp64
                        a = tl.load(n_cells + into, mask=inside, other=0)
                        tl.store(n_cells + into, a + 1, mask=inside)
                        # with the mean before / a: (p - mean)^2 a / (a + 1), in one division
                        a = a.to(tl.float64)
                        apart = p.to(tl.float64) * a - before
                        over = tl.maximum(a * (a + 1.0), 1.0)
                        raise_tile(spread, into, inside, apart * apart / over)
                    tl.store(probability + into, before + p.to(tl.float64), mask=inside)
                    before = tl.load(lift + into, mask=inside, other=0.0)
                    tl.store(lift + into, before + (p * weight).to(tl.float64), mask=inside)
                    here += tl.sum(tl.where(in_columns[None, :], p, 0.0), 1)
                before = tl.load(logit + into, mask=inside, other=0.0)
                tl.store(logit + into, before + (s * per_logit).to(tl.float64), mask=inside)
            if SOFTMAX:
                tl.store(mass + j.to(tl.int64) * queries + q0 + rows, here, mask=in_rows)
        # another thread may own a pair's place in the next cell: what was written must be seen
        tl.debug_barrier()
