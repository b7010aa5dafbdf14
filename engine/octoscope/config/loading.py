"""Read, override, validate and write a configuration."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from octoscope.bounded_reads import read_bounded
from octoscope.config.declared import with_absent
from octoscope.config.problems import input_error
from octoscope.config.renamed import current_name, with_current_names
from octoscope.config.run_config import RunConfig
from octoscope.errors import InputError, in_one_line, warn
from octoscope.yaml_values import parse_yaml

Model = TypeVar("Model", bound=BaseModel)
_ONCE = "the old name is read in this version only"


def apply_overrides(tree: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Apply ``a.b=c`` and ``models.0.path=x`` to a nested dict; values are read as YAML.

    Names of the previous version are read as the present ones, with a warning.

    Raises
    ------
    InputError
        If an override has no ``=`` or walks into something that is not a mapping or list.
    """
    for text in overrides:
        given, sep, value = text.partition("=")
        if not sep:
            raise InputError(f"--set {text}", "no '=' in it", "write --set section.field=value")
        key = current_name(given)
        if key != given:
            warn(f"--set {given} is now --set {key}; {_ONCE}")
        node: Any = tree
        parts = key.split(".")
        try:
            for part in parts[:-1]:
                node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
            parsed = parse_yaml(value)
            if isinstance(node, list):
                node[int(parts[-1])] = parsed
            else:
                node[parts[-1]] = parsed
        except (TypeError, ValueError, IndexError, AttributeError) as error:
            problem = in_one_line(str(error))
            raise InputError(f"--set {text}", problem, "check the path to the field") from None
    _anchor_paths(tree, Path.cwd())  # relative paths given on the command line
    return tree


def parse_config(
    tree: Any,
    source: str,
    *,
    stored: bool = False,
    text: str | None = None,
    overridden: Sequence[str] = (),
) -> RunConfig:
    """Validate a nested dict.

    Parameters
    ----------
    stored
        The file of a run directory: names of earlier versions are read without a warning, and
        settings that came later have the value that stands for their absence.
    text
        The YAML that the dict was read from: errors name the line.
    overridden
        Names that were given by ``--set``.

    Raises
    ------
    InputError
        Naming the field, what was found there and what is allowed.
    """
    tree, renamed = with_current_names(tree)
    if not stored:
        for old, new in renamed:
            warn(f"{source}: {old} is now called {new}; {_ONCE}")
    elif isinstance(tree, dict):
        tree = with_absent(RunConfig, tree)
    return validated(
        RunConfig, tree, source, "start from `octoscope demo --config`",
        text=text, overridden=overridden,
    )  # fmt: skip


def validated(
    kind: type[Model],
    tree: Any,
    source: str,
    start: str,
    *,
    text: str | None = None,
    overridden: Sequence[str] = (),
) -> Model:
    """Return a nested dict as a configuration of some kind.

    Raises
    ------
    InputError
        Naming the field, what was found there and what is allowed; with ``text``, its line.
    """
    if not isinstance(tree, dict):
        raise InputError(source, "not a mapping of fields", start)
    _refuse_nul(tree, source)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise input_error(kind, error, source, text, overridden) from None


def _refuse_nul(tree: dict[Any, Any], source: str) -> None:
    """Refuse texts with the character 0: as a path the system takes none, in no common way."""
    remaining: list[tuple[str, Any]] = [("", tree)]
    while remaining:
        name, value = remaining.pop()
        if isinstance(value, str) and "\0" in value:
            where = f"{source}: {name}" if name else source
            raise InputError(where, "holds the character 0, as no name does", "write it again")
        if isinstance(value, dict):
            remaining += [("", key) for key in value]
            remaining += [(f"{name}.{key}".lstrip("."), inner) for key, inner in value.items()]
        elif isinstance(value, list | tuple):
            remaining += [(f"{name}.{nth}".lstrip("."), inner) for nth, inner in enumerate(value)]


def read_yaml(path: Path) -> Any:
    """Read YAML with ``safe_load``.

    Raises
    ------
    InputError
        If the file cannot be read or is not YAML.
    """
    return _yaml(_text(path), str(path))


def load_config(path: str | Path, overrides: list[str] | None = None) -> RunConfig:
    """Read YAML with ``safe_load``, apply overrides, validate; relative paths are the file's.

    Raises
    ------
    InputError
        If it cannot be read, or a field is wrong: with the file, its line and what is allowed.
    """
    path = Path(path)
    text = _text(path)
    tree = _yaml(text, str(path))
    if isinstance(tree, dict):
        tree, renamed = with_current_names(tree)  # before overrides, which have present names
        for old, new in renamed:
            warn(f"{path}: {old} is now called {new}; {_ONCE}")
        _anchor_paths(tree, path.parent)
        apply_overrides(tree, overrides or [])
    given = [current_name(o.partition("=")[0]) for o in overrides or []]
    return parse_config(tree, str(path), text=text, overridden=given)


def config_of_text(text: str, source: str) -> RunConfig:
    """Read and validate the configuration of a run directory; ``source`` names it in errors."""
    return parse_config(_yaml(text, source), source, stored=True, text=text)


def _text(path: Path) -> str:
    try:
        return read_bounded(path).decode()
    except OSError as error:
        raise InputError(str(path), error.strerror or "cannot be read", "check the path") from None
    except UnicodeDecodeError as error:
        raise InputError(str(path), f"not YAML ({error})", "correct the syntax") from None


def _yaml(text: str, source: str) -> Any:
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise InputError(source, f"not YAML ({in_one_line(str(error))})", "correct it") from None


def _anchor_paths(tree: dict[str, Any], base: Path) -> None:
    """Resolve relative paths in a file against that file, so a config can be run from anywhere.

    ``~`` is the home directory of the user who runs it.
    """
    models = tree.get("models")
    listed = models if isinstance(models, list) else []
    sections = [tree.get("atlas"), tree.get("network"), *listed]
    for section in sections:
        for name in ("path", "gene_aliases"):
            value = section.get(name) if isinstance(section, dict) else None
            if isinstance(value, str) and value.strip() and "://" not in value and value != "demo":
                section[name] = str((base / os.path.expanduser(value)).resolve())


def dump_config(config: RunConfig) -> str:
    """Return YAML that ``load_config`` reads back to an equal configuration."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
