"""Building blocks of every configuration: sections, settings, names, paths, lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
)
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function

from octoscope.config.byte_sizes import parse_bytes
from octoscope.errors import InputError

UNSTATED: Any = object()
_LARGEST = 1e18  # bytes: no machine has more
YEARS = 10**9  # seconds, as a limit of times


def setting(
    default: Any = ...,
    description: str = "",
    *,
    decides_results: bool = True,
    absent: Any = UNSTATED,
    factory: Callable[[], Any] | None = None,
    **bounds: Any,
) -> Any:
    """Declare a setting once: default, help, bounds, and what it means for results.

    Parameters
    ----------
    default
        Value where nothing is given; ``...``: it must be given.
    description
        Help text, shown by ``octoscope config explain`` and in the JSON schema. Give units.
    decides_results
        Whether another value may give other bytes in a finished run. Such settings are part of the
        configuration's hash and cannot be changed on resume.
    absent
        For a setting that was added later: the value that a stored configuration without it has, as
        JSON. At this value it is left out of hashes, so older runs keep theirs.
    factory
        Makes the default, instead of ``default``.
    bounds
        As for :func:`pydantic.Field`: ``ge``, ``gt``, ``le``, ``lt``, ``min_length``, ...
    """
    meaning: dict[str, Any] = {"decides_results": decides_results}
    if absent is not UNSTATED:
        meaning["absent"] = absent
    if factory is not None:
        return Field(
            default_factory=factory, description=description, json_schema_extra=meaning, **bounds
        )
    return Field(default, description=description, json_schema_extra=meaning, **bounds)


def holds_credentials(url: str) -> bool:
    """Tell whether a URL has a key or password in it (``s3://key:secret@bucket/...``).

    What is given as a place is written into runs, where others read it. Azure writes
    ``abfs://container@account``, which is none.
    """
    protocol, sep, rest = url.partition("://")
    authority = rest.split("/", 1)[0]
    azure = protocol in ("abfs", "abfss", "az") and ":" not in authority
    return bool(sep) and "@" in authority and not azure


def _safe_name(value: str) -> str:
    # Names become folder names and table keys; anything else could leave the run directory.
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    if not value or value[0] in ".-" or set(value) - allowed or len(value) > 64:
        raise ValueError("use 1 to 64 of the characters A-Z a-z 0-9 . _ - (not first: . -)")
    return value


def _without_credentials(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty; name a file, a folder or a URL, or leave the field out")
    if holds_credentials(value):
        raise ValueError("holds credentials; give them by the environment (AWS_..., ...)")
    return value


def _not_negative(value: str) -> str:
    try:
        size = parse_bytes(value)
    except InputError as error:
        raise ValueError(f"{error.problem}; {error.fix}") from None
    if size < 0:
        raise ValueError(f"{value!r} is negative")
    if size > _LARGEST:
        raise ValueError(f"{value!r} is more than {_LARGEST:g} bytes")
    return value


def _positive(value: str) -> str:
    if parse_bytes(_not_negative(value)) < 1:
        raise ValueError(f"{value!r} is zero; give at least one byte")
    return value


def _takes_truth_values(annotation: Any) -> bool:
    return annotation in (bool, Any) or any(map(_takes_truth_values, get_args(annotation)))


def _unique(values: list[Any]) -> list[Any]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value!r} is listed twice")
    return values


class _OneOrMore:
    """Metadata of a list that may be written as one value; the JSON schema says so too."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return no_info_before_validator_function(
            lambda value: value if isinstance(value, list) else [value], handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        several = handler(schema)
        return {"anyOf": [several, several["items"]]}


Name = Annotated[str, AfterValidator(_safe_name)]
Location = Annotated[str, AfterValidator(_without_credentials)]
Size = Annotated[str, AfterValidator(_positive)]  # such as 8GB
SizeOrNone = Annotated[str, AfterValidator(_not_negative)]  # 0MB too
View = Literal["marginal", "conditional", "lift", "logit"]
Combination = Literal["sum", "max", "absolute-argmax"]
Estimator = Literal["per_cell", "mean_residual"]
Projection = Literal["full", "weights_only"]
Conventions = Literal["corrected", "peer"]
Count = Annotated[int, Field(ge=1, le=10**9)]
ONE_OR_MORE = _OneOrMore()
SOME = Field(min_length=1)  # of a list
UNIQUE = AfterValidator(_unique)


class Section(BaseModel):
    """Fields of a configuration; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false where a number is asked for: pydantic would read 1 and 0."""
        given = value if isinstance(value, list) else [value]
        field = cls.model_fields[str(info.field_name)]
        if any(isinstance(v, bool) for v in given) and not _takes_truth_values(field.annotation):
            raise ValueError(f"{value} is no number and no name")
        return value
