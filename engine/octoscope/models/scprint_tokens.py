"""scPRINT's context: which genes of a cell become tokens.

``some``: a given list, the same for every cell. ``random_expr``, ``most_expr``: expressed genes of
each cell, filled up with unexpressed ones. ``most_expr_overall``, ``most_var_within``,
``most_var_across``: one list chosen over the whole data set.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from octoscope.bounded_reads import read_bounded
from octoscope.models.protocol import GeneMatch, GeneStatistics
from octoscope.models.randomness import cell_generator
from octoscope.zip_parts import read_npz

PER_CELL = ("random_expr", "most_expr")
ORDERS = {
    "depth, cell, classes, genes": ("depth", "cell"),
    "cell, depth, classes, genes": ("cell", "depth"),
}


class ContextOptions(BaseModel):
    """Settings of the context, and of the weights that stay unread.

    ``context``: null stands for ``some`` where a panel is declared, else ``most_var_within``.
    ``context_genes``: Ensembl ids or symbols; a list, comma-separated text, or the path of a text
    file or dump. They are the context (``some``) or join the chosen genes.
    ``max_len``: genes per cell. ``ignored_weights``: beginnings of weights that are heads on the
    encoder's output.
    """

    model_config = ConfigDict(extra="forbid")

    context: (
        Literal["some", "random_expr", "most_expr", "most_expr_overall", "most_var_within",
                "most_var_across"] | None
    ) = None  # fmt: skip
    context_genes: list[str] | None = None
    max_len: int = Field(2200, ge=1)
    context_seed: int | None = None
    ignored_weights: list[str] = []

    @field_validator("context", mode="before")
    @classmethod
    def _spelled_with_spaces(cls, value: Any) -> Any:
        return value.replace(" ", "_") if isinstance(value, str) else value

    @field_validator("context_genes", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        path = Path(value)
        try:
            is_file = path.is_file()
        except OSError:  # a list of genes is too long for a name
            is_file = False
        if is_file and path.suffix == ".npz":
            try:
                dump = read_npz(path)
                names = dump["token_gene"][dump["token_kind"] == "gene"]
            except (OSError, KeyError, ValueError, IndexError) as error:
                raise ValueError(f"{path} is not a dump ({error})") from None
            return [str(n) for n in dict.fromkeys(names.tolist())]
        try:
            text = read_bounded(path).decode() if is_file else value
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is no list of genes ({error})") from None
        return text.replace(",", " ").split()


class ScPRINTOptions(ContextOptions):
    """Settings of scPRINT's input. ``normalization``: null stands for the checkpoint's own."""

    normalization: Literal["sum", "log"] | None = None
    token_order: Literal["depth, cell, classes, genes", "cell, depth, classes, genes"] = (
        "depth, cell, classes, genes"
    )
    depth: Literal["log2(1 + total counts over all genes of the cell)"] = (
        "log2(1 + total counts over all genes of the cell)"
    )


class ScPRINT2Options(ContextOptions):
    """Settings of scPRINT-2's input. ``normalization``: null stands for the checkpoint's own.

    ``neighbours``: other cells whose expression joins a cell's; none are read.
    """

    max_len: int = Field(3200, ge=1)
    normalization: Literal["sum", "log", "raw"] | None = None
    neighbours: Literal["none"] = "none"


def rank_genes(rule: str, statistics: GeneStatistics) -> np.ndarray:
    """Return [atlas genes] scores of a data-set rule; larger comes first.

    ``most_expr_overall``: total counts. ``most_var_within``: variance of ln(1 + 1e4 x / depth)
    within categories, mean weighted by cells. ``most_var_across``: F of a one-way analysis of
    variance between categories (0 with one category).
    """
    if rule == "most_expr_overall":
        return statistics.total
    n = statistics.cells[:, None].astype(float)
    within = (statistics.variance * n).sum(0) / n.sum()
    if rule == "most_var_within":
        return within
    grand = (statistics.mean * n).sum(0) / n.sum()
    between = ((statistics.mean - grand) ** 2 * n).sum(0)
    groups = len(n)
    if groups < 2 or n.sum() <= groups:
        return np.zeros_like(grand)
    spread = within * n.sum() / (n.sum() - groups)
    return np.divide(between / (groups - 1), spread, out=np.zeros_like(grand), where=spread > 0)


def choose_overall(
    rule: str, statistics: GeneStatistics, match: GeneMatch, max_len: int, named: np.ndarray
) -> np.ndarray:
    """Return ascending model genes: ``named`` ones, then the best expressed ones up to max_len.

    Ties are broken by model order.
    """
    score = rank_genes(rule, statistics)
    used = np.flatnonzero((match.model_gene >= 0) & (statistics.total > 0))
    used = used[np.isin(match.model_gene[used], match.allowed)]
    genes = match.model_gene[used]
    best = genes[np.lexsort((genes, -score[used]))]
    chosen = list(dict.fromkeys([*named.tolist(), *best.tolist()]))[: max(max_len, len(named))]
    return np.sort(np.array(chosen, np.int64))


def choose_in_cell(
    rule: str, expressed: np.ndarray, counts: np.ndarray, allowed: np.ndarray, room: int,
    seed: int, cell_id: str,
) -> np.ndarray:  # fmt: skip
    """Return ascending model genes of one cell: expressed ones, filled with unexpressed ones.

    Parameters
    ----------
    expressed, counts
        Model genes with a count above zero, and the counts.
    allowed
        Model genes to fill from.
    room
        Tokens to return, at most ``len(allowed)``.
    """
    rng = cell_generator(seed, "scprint/context", cell_id)
    if len(expressed) > room:
        if rule == "most_expr":
            chosen = expressed[np.lexsort((expressed, -counts))[:room]]
        else:
            chosen = rng.permutation(expressed)[:room]
    else:
        is_unexpressed = np.zeros(int(allowed.max(initial=0)) + 1, bool)
        is_unexpressed[allowed] = True
        is_unexpressed[expressed] = False
        rest = np.flatnonzero(is_unexpressed)  # int64, which numpy permutes fastest
        chosen = np.r_[expressed, rng.permutation(rest)[: room - len(expressed)]]
    return np.sort(chosen)
