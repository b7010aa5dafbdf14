"""Reading a family's own settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from octoscope.errors import InputError

_KIND = re.compile(r"[A-Z]|.*-|int$")  # how pydantic names one of several kinds of value
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
        errors = error.errors()
        same = [e for e in errors if e["loc"][:1] == errors[0]["loc"][:1]]
        # of the kinds that a value may have, the one that it resembles most
        first = max(same, key=lambda e: len(e["loc"]))
        loc = [str(p) for p in first["loc"]]
        field = ".".join(p for i, p in enumerate(loc) if i != 1 or not _KIND.match(p))
        raise InputError(
            f"models.*.options.{field}",
            f"{first['msg']} (given: {str(first.get('input'))[:80]})",
            f"use one of {', '.join(kind.model_fields)}",
        ) from None
