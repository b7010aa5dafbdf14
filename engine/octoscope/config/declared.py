"""Reads what configurations declare of their settings: sections, results, later additions."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from octoscope.config.types import UNSTATED


class Setting(NamedTuple):
    """A field of a configuration, under its dotted name; ``*`` stands for an item of a list."""

    name: str
    field: FieldInfo

    @property
    def decides_results(self) -> bool:
        """Whether another value may give other bytes in a finished run."""
        return decides_results(self.field)


def decides_results(field: FieldInfo) -> bool:
    """Tell whether a field decides results; one that says nothing does."""
    return bool(_meaning(field).get("decides_results", True))


def absent_value(field: FieldInfo) -> Any:
    """Return the value of a stored configuration without the field, or ``UNSTATED``."""
    return _meaning(field).get("absent", UNSTATED)


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section that an annotation holds, itself, optional or in a list; None: a value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, Annotated, list):
        for part in get_args(annotation):
            section = None if part is NoneType else section_of(part)
            if section is not None:
                return section
    return None


def settings_of(kind: type[BaseModel], prefix: str = "") -> Iterator[Setting]:
    """Yield every setting of a configuration that is not a section, in order."""
    for name, field in kind.model_fields.items():
        inner = section_of(field.annotation)
        if inner is None:
            yield Setting(prefix + name, field)
        else:
            item = ".*." if get_origin(field.annotation) is list else "."
            yield from settings_of(inner, prefix + name + item)


def result_tree(section: BaseModel) -> dict[str, Any]:
    """Return a section as JSON values, without what does not decide results.

    Later additions are left out at the value that stands for their absence.
    """
    return _results(type(section), section.model_dump(mode="json"))


def with_absent(kind: type[BaseModel], tree: dict[str, Any]) -> dict[str, Any]:
    """Return a stored configuration with what did not exist when it was written filled in."""
    tree = dict(tree)
    for name, field in kind.model_fields.items():
        inner, absent = section_of(field.annotation), absent_value(field)
        if name not in tree and absent is not UNSTATED:
            tree[name] = absent
            continue
        # a section that is not there is filled in where its defaults would be
        is_present = name in tree or (inner is field.annotation and not field.is_required())
        if inner is not None and is_present and isinstance(tree.get(name, {}), dict):
            tree[name] = with_absent(inner, tree.get(name, {}))
    return tree


def _results(kind: type[BaseModel], body: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        absent, value = absent_value(field), body[name]
        if not decides_results(field) or (absent is not UNSTATED and value == absent):
            continue
        inner = section_of(field.annotation)
        if inner is not None and isinstance(value, list):
            value = [_results(inner, item) for item in value]
        elif inner is not None and isinstance(value, dict):
            value = _results(inner, value)
        kept[name] = value
    return kept


def _meaning(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    return extra if isinstance(extra, dict) else {}
