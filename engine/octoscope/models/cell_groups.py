"""Numbers that a family gives its cells by a column of obs: the batches of scGPT's batch norm."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from octoscope.errors import InputError
from octoscope.models.protocol import FoundationModel, Tokens

UNKNOWN = -1  # of a value without a number


class CellGroups(BaseModel):
    """A column of obs, and the number of each of its values."""

    model_config = ConfigDict(extra="forbid")
    column: str
    values: dict[str, Annotated[int, Field(ge=0)]] = Field(min_length=1)


@runtime_checkable
class GroupedCells(Protocol):
    """A family that needs a number per cell. ``cell_groups``: None where it needs none.

    ``groups_option`` is the setting that named the column.
    """

    cell_groups: CellGroups | None
    groups_option: str


def group_numbers(
    model: FoundationModel, column: Callable[[str, str], pd.Series]
) -> np.ndarray | None:
    """Return [atlas cells] int32 numbers, ``UNKNOWN`` where there is none; None: not needed.

    Parameters
    ----------
    column
        Reads a column of obs: its name, and the setting that names it.

    Raises
    ------
    InputError
        If the atlas has no such column.
    """
    if not isinstance(model, GroupedCells) or model.cell_groups is None:
        return None
    groups = model.cell_groups
    read = pd.Categorical(column(groups.column, f"{model.groups_option}.column"))
    # missing values have code -1 and take the last entry
    known = [groups.values.get(str(v), UNKNOWN) for v in read.categories]
    return np.array([*known, UNKNOWN], np.int32)[read.codes]


def group_digest(
    model: FoundationModel, column: Callable[[str, str], pd.Series], rows: Sequence[np.ndarray]
) -> dict[str, str]:
    """Return ``obs[column]`` -> SHA-256 of the numbers of selected cells; {} where none are needed.

    Raises
    ------
    InputError
        If a selected cell's value has no number.
    """
    numbers = group_numbers(model, column)
    if numbers is None or not isinstance(model, GroupedCells) or model.cell_groups is None:
        return {}
    at = np.sort(np.concatenate([np.zeros(0, np.int64), *rows]))
    name = model.cell_groups.column
    bad = at[numbers[at] == UNKNOWN]
    if len(bad):
        values = column(name, model.groups_option).iloc[bad].astype(object)
        shown = sorted({"a missing value" if pd.isna(v) else repr(str(v)) for v in values})
        raise InputError(
            f"{model.groups_option}.values",
            f"no number for {len(shown)} values of obs[{name!r}]: {', '.join(shown[:5])} "
            f"({len(bad)} cells)",
            "give every value its number, as in training, or leave these cells out",
        )
    return {f"obs[{name!r}]": hashlib.sha256(numbers[at].tobytes()).hexdigest()}


def with_groups(tokens: Tokens, numbers: np.ndarray | None, rows: np.ndarray) -> Tokens:
    """Return tokens with the numbers of their cells, of which ``rows`` are places in the atlas."""
    if numbers is None:
        return tokens
    return replace(tokens, group=numbers[rows])
