"""Names of settings in the previous version, read as the present ones."""

from __future__ import annotations

from typing import Any

# section path -> old name -> new name
_FIELDS = {
    (): {"more_draws": "max_permutation_factor"},
    ("atlas",): {"absent_chunks": "missing_chunks"},
    ("compare",): {"kinship": "model_groups"},
    ("execution",): {"hold": "cache"},
}
# field -> old value -> new value
_VALUES = {
    ("projection",): {"faithful": "full", "bare": "weights_only"},
    ("atlas", "missing_chunks"): {"zeros": "fill"},
}


def with_current_names(tree: Any) -> tuple[Any, list[tuple[str, str]]]:
    """Return a configuration with present names, and the (old, new) pairs that were renamed.

    A value given under both names stays under both, so that validation refuses the old one.
    """
    if not isinstance(tree, dict):
        return tree, []
    tree = {k: dict(v) if isinstance(v, dict) else v for k, v in tree.items()}
    renamed: list[tuple[str, str]] = []
    for path, names in _FIELDS.items():
        section = tree.get(path[0]) if path else tree
        if not isinstance(section, dict):
            continue
        for old, new in names.items():
            if old in section and new not in section:
                section[new] = section.pop(old)
                renamed.append((".".join([*path, old]), ".".join([*path, new])))
    for (*parents, field), values in _VALUES.items():
        section = tree.get(parents[0]) if parents else tree
        if not isinstance(section, dict) or field not in section:
            continue
        given = section[field]
        for old in given if isinstance(given, list) else [given]:
            if isinstance(old, str) and old in values:
                name = ".".join([*parents, field])
                renamed.append((f"{name}: {old}", f"{name}: {values[old]}"))
        if isinstance(given, list):
            section[field] = [values.get(v, v) if isinstance(v, str) else v for v in given]
        elif isinstance(given, str):
            section[field] = values.get(given, given)
    return tree, renamed
