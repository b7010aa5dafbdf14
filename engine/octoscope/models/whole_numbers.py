"""Whole numbers in the settings of a checkpoint."""

from __future__ import annotations

import math
from typing import Any

from octoscope.errors import InputError


def as_whole(value: Any, name: str, where: str, fix: str) -> int:
    """Return a setting as a whole number.

    Raises
    ------
    InputError
        Naming the setting, if it is infinite or not a number.
    TypeError, ValueError
        If it is no number at all.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where}: {name}", f"{value} is no whole number", fix)
    return int(value)
