"""Sizes as users write them: ``8GB``."""

from __future__ import annotations

import math

from octoscope.errors import InputError

_UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3), ("B", 1))


def parse_bytes(text: str, field: str = "execution.memory") -> float:
    """Read sizes such as ``8GB`` or ``512MB``; returns bytes.

    Raises
    ------
    InputError
        If it is not a finite number with one of the units; ``field`` is the setting.
    """
    for unit, factor in _UNITS:
        if text.upper().endswith(unit):
            try:
                value = float(text[: -len(unit)]) * factor
            except ValueError:
                break
            if math.isfinite(value):
                return value
    raise InputError(field, f"{text!r} is not a size", "write it like 8GB")


def size_text(n: int) -> str:
    """Return the shortest text for a number of bytes that :func:`parse_bytes` reads exactly."""
    unit, factor = next((u, f) for u, f in _UNITS if n % f == 0)
    return f"{n // factor}{unit}"
