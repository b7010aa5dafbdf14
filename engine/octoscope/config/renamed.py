"""Former names and sections of settings, mapped to the present ones."""

from __future__ import annotations

from typing import Any

_ADVANCED = (
    "tile", "micro_batch", "batch_cells", "working_set", "macro_batches", "cache", "readers",
    "lease", "grace",
)  # fmt: skip
# old dotted name -> new dotted name; the section that holds the old one is there
_MOVED = {
    "more_draws": "max_permutation_factor",
    "atlas.absent_chunks": "atlas.missing_chunks",
    "compare.kinship": "compare.model_groups",
    "execution.hold": "execution.advanced.cache",
    **{f"execution.{name}": f"execution.advanced.{name}" for name in _ADVANCED},
}
# field -> old value -> new value
_VALUES = {
    "projection": {"faithful": "full", "bare": "weights_only"},
    "atlas.missing_chunks": {"zeros": "fill"},
}


def current_name(name: str) -> str:
    """Return the present dotted name of a setting, of ``--set`` for instance."""
    for old, new in _MOVED.items():
        if name == old or name.startswith(old + "."):
            return new + name[len(old) :]
    return name


def former_names(name: str) -> list[str]:
    """Return the dotted names that a setting had in the previous version."""
    return [old for old, new in _MOVED.items() if new == name]


def with_current_names(tree: Any) -> tuple[Any, list[tuple[str, str]]]:
    """Return a configuration with present names, and the (old, new) pairs that were renamed.

    A value given under both names stays under both, so that validation refuses the old one.
    """
    if not isinstance(tree, dict):
        return tree, []
    tree = _copied(tree)
    renamed: list[tuple[str, str]] = []
    for old, new in _MOVED.items():
        (section, field), (target, name) = _section_of(tree, old), _section_of(tree, new, make=True)
        if section is None or target is None or field not in section or name in target:
            continue
        target[name] = section.pop(field)
        renamed.append((old, new))
    for path, values in _VALUES.items():
        section, field = _section_of(tree, path)
        if section is None or field not in section:
            continue
        given = section[field]
        for old in given if isinstance(given, list) else [given]:
            if isinstance(old, str) and old in values:
                renamed.append((f"{path}: {old}", f"{path}: {values[old]}"))
        if isinstance(given, list):
            section[field] = [values.get(v, v) if isinstance(v, str) else v for v in given]
        elif isinstance(given, str):
            section[field] = values.get(given, given)
    return tree, renamed


def _copied(tree: dict[str, Any]) -> dict[str, Any]:
    return {k: _copied(v) if isinstance(v, dict) else v for k, v in tree.items()}


def _section_of(tree: dict[str, Any], name: str, *, make: bool = False) -> tuple[Any, str]:
    """Return the section that holds a setting and the field in it; None: there is no section."""
    *parents, field = name.split(".")
    section: Any = tree
    for depth, part in enumerate(parents):
        if make and depth and isinstance(section, dict):
            section.setdefault(part, {})
        section = section.get(part) if isinstance(section, dict) else None
    return (section if isinstance(section, dict) else None), field
