"""What the fields of every configuration are made of: sections, names, places, lists."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict


def holds_credentials(url: str) -> bool:
    """Tell whether a URL has a key or password in it (``s3://key:secret@bucket/...``).

    What is given as a place is written into runs, where others read it. Azure writes
    ``abfs://container@account``, which is none.
    """
    protocol, sep, rest = url.partition("://")
    place = rest.split("/", 1)[0]
    azure = protocol in ("abfs", "abfss", "az") and ":" not in place
    return bool(sep) and "@" in place and not azure


def _safe_name(value: str) -> str:
    # Names become folder names and table keys; anything else could leave the run directory.
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    if not value or value[0] in ".-" or set(value) - allowed or len(value) > 64:
        raise ValueError("use 1 to 64 of the characters A-Z a-z 0-9 . _ - (not first: . -)")
    return value


def _without_credentials(value: str) -> str:
    if holds_credentials(value):
        raise ValueError("holds credentials; give them by the environment (AWS_..., ...)")
    return value


Name = Annotated[str, AfterValidator(_safe_name)]
Place = Annotated[str, AfterValidator(_without_credentials)]
View = Literal["marginal", "conditional", "lift", "logit"]
Combination = Literal["sum", "max", "absolute-argmax"]
Estimator = Literal["per_cell", "mean_residual"]
Projection = Literal["full", "weights_only"]
Conventions = Literal["corrected", "peer"]
ONE_OR_MORE = BeforeValidator(lambda value: value if isinstance(value, list) else [value])


class Section(BaseModel):
    """Fields of a configuration; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", validate_default=True)
