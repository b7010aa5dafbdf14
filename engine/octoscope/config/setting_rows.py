"""Settings in words: type, default, bounds, meaning."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from octoscope.config.declared import Setting


def setting_row(setting: Setting) -> dict[str, Any]:
    """Return what a setting is, in words: name, type, default, bounds, meaning."""
    field = setting.field
    annotation: Any = field.annotation
    if field.is_required():
        default = "(must be given)"
    else:
        default = json.dumps(_json(field.get_default(call_default_factory=True)))
    return {
        "setting": setting.name,
        "type": _kind(TypeAdapter(annotation).json_schema()),
        "default": default,
        "bounds": ", ".join(_bound(m) for m in field.metadata if _bound(m)),
        "decides_results": "yes" if setting.decides_results else "no",
        "meaning": field.description or "",
    }


def _kind(schema: dict[str, Any]) -> str:
    """Return the type of a value in words, of its JSON schema."""
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "$ref" in schema:
        return "mapping"
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("type", "anything"))


def _json(value: Any) -> Any:
    """Return a default as JSON; sections in it by their fields."""
    if isinstance(value, list):
        return [_json(v) for v in value]
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def _bound(constraint: Any) -> str:
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below",
             "min_length": "length at least", "max_length": "length at most"}  # fmt: skip
    for name, phrase in signs.items():
        value = getattr(constraint, name, None)
        if value is not None:
            return f"{phrase} {value}"
    return ""
