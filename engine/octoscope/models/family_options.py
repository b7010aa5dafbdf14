"""Reading a family's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from octoscope.errors import InputError

Options = TypeVar("Options", bound=BaseModel)


def read_options(
    kind: type[Options], given: Mapping[str, Any] | None, defaults: Mapping[str, Any] | None = None
) -> Options:
    """Validate ``models.*.options``; ``defaults`` come from the checkpoint.

    Raises
    ------
    InputError
        Naming the option, what was found there and which options exist.
    """
    try:
        return kind(**{**(defaults or {}), **(given or {})})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(p) for p in first["loc"])
        raise InputError(
            f"models.*.options.{field}",
            f"{first['msg']} (given: {str(first.get('input'))[:80]})",
            f"use one of {', '.join(kind.model_fields)}",
        ) from None
