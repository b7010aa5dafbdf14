"""Sizes as users write them: ``8GB``."""

from __future__ import annotations

import math

from octoscope.errors import InputError


def parse_bytes(text: str, field: str = "execution.memory") -> float:
    """Read sizes such as ``8GB`` or ``512MB``.

    Raises
    ------
    InputError
        If it is not a finite number with one of the units; ``field`` is the setting.
    """
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if text.upper().endswith(unit):
            try:
                value = float(text[: -len(unit)]) * factor
            except ValueError:
                break
            if math.isfinite(value):
                return value
    raise InputError(field, f"{text!r} is not a size", "write it like 8GB")
