"""YAML that somebody wrote or damaged: plain values, each key once, bounded in depth and size."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

_DEPTH = 50  # levels
_VALUES = 10**6  # in all, what aliases repeat counted each time
_CHARACTERS = 1 << 22  # of a text: a second of computing each million
_NODES = 150_000  # values and keys that are written out: 30 microseconds each
_MERGED = 10_000  # keys of a mapping that merges others (<<), before repeated ones are dropped


class _Loader(yaml.SafeLoader):
    """Loads plain values; a key that is there twice is refused, where YAML takes the last.

    So is a text with the character 0, which no name of a file holds.
    """

    _nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._nodes += 1
        if self._nodes > _NODES:
            raise yaml.MarkedYAMLError(problem=f"has more than {_NODES:,} values and keys")
        return super().compose_node(parent, index)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        if isinstance(node.value, str) and "\0" in node.value:
            raise yaml.MarkedYAMLError(
                problem="a text holds the character 0", problem_mark=node.start_mark
            )
        return super().construct_scalar(node)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > _MERGED:  # merges of merges grow tenfold with every line
            raise yaml.MarkedYAMLError(
                problem=f"merges more than {_MERGED:,} keys", problem_mark=node.start_mark
            )

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is not None and name in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {name!r} is there twice", problem_mark=key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text; nothing in it is executed.

    Raises
    ------
    ValueError
        If it is no YAML, names a key twice, has the character 0 in a text, is nested more than 50
        levels deep, has more than 4 million characters or 150,000 values and keys (a million with
        what aliases repeat), merges more than 10,000 keys, or holds a value that cannot be read (a
        number of thousands of digits).
    """
    if len(text) > _CHARACTERS:
        raise ValueError(f"has more than {_CHARACTERS:,} characters")
    try:
        value = yaml.load(text, Loader=_Loader)
        _require_bounded(value)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except (TypeError, AttributeError, LookupError, OverflowError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
    return value


def _require_bounded(value: Any) -> None:
    values, level, counted = [value], 0, 0
    while values:
        counted += len(values)
        level += 1
        if level > _DEPTH or counted > _VALUES:
            what = f"{_DEPTH} levels" if level > _DEPTH else f"{_VALUES:,} values"
            raise ValueError(f"has more than {what}")
        inner: list[Any] = []
        for item in values:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list | tuple | set):
                inner += item
            if len(inner) > _VALUES:
                break
        values = inner
