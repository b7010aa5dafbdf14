"""Read, override, validate and write a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ValidationError,
)

from octoscope.config.renamed import with_current_names
from octoscope.config.run_config import RunConfig
from octoscope.errors import InputError, warn

Model = TypeVar("Model", bound=BaseModel)


def apply_overrides(tree: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Apply ``a.b=c`` and ``models.0.path=x`` to a nested dict; values are read as YAML.

    Raises
    ------
    InputError
        If an override has no ``=`` or walks into something that is not a mapping or list.
    """
    for text in overrides:
        key, sep, value = text.partition("=")
        if not sep:
            raise InputError(f"--set {text}", "no '=' in it", "write --set section.field=value")
        node: Any = tree
        parts = key.split(".")
        try:
            for part in parts[:-1]:
                node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
            parsed = yaml.safe_load(value)
            if isinstance(node, list):
                node[int(parts[-1])] = parsed
            else:
                node[parts[-1]] = parsed
        except (TypeError, ValueError, IndexError, AttributeError, yaml.YAMLError) as error:
            raise InputError(f"--set {text}", str(error), "check the path to the field") from None
    _anchor_paths(tree, Path.cwd())  # relative paths given on the command line
    return tree


def parse_config(tree: Any, source: str, *, stored: bool = False) -> RunConfig:
    """Validate a nested dict.

    Parameters
    ----------
    stored
        The file of a run directory: names of earlier versions are read without a warning.

    Raises
    ------
    InputError
        Naming the field, what was found there and what is allowed.
    """
    tree, renamed = with_current_names(tree)
    if not stored:
        for old, new in renamed:
            warn(f"{source}: {old} is now called {new}; the old name is read in this version only")
    return validated(RunConfig, tree, source, "start from `octoscope demo --config`")


def validated(kind: type[Model], tree: Any, source: str, start: str) -> Model:
    """Return a nested dict as a configuration of some kind.

    Raises
    ------
    InputError
        Naming the field, what was found there and what is allowed.
    """
    if not isinstance(tree, dict):
        raise InputError(source, "not a mapping of fields", start)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(p) for p in first["loc"]) or "(top level)"
        fix = f"correct {field}"
        if first["type"] == "extra_forbidden":
            fix = f"remove {field} or correct its spelling"
        elif first["type"] == "missing":
            fix = f"add {field}"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise InputError(f"{source}: {field}", first["msg"] + more, fix) from None


def read_yaml(path: Path) -> Any:
    """Read YAML with ``safe_load``.

    Raises
    ------
    InputError
        If the file cannot be read or is not YAML.
    """
    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(str(path), error.strerror or "cannot be read", "check the path") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(str(path), f"not YAML ({error})", "correct the syntax") from None


def load_config(path: str | Path, overrides: list[str] | None = None) -> RunConfig:
    """Read YAML with ``safe_load``, apply overrides, validate; relative paths are the file's."""
    path = Path(path)
    tree = read_yaml(path)
    if isinstance(tree, dict):
        _anchor_paths(tree, path.parent)
        apply_overrides(tree, overrides or [])
    return parse_config(tree, str(path))


def config_of_text(text: str, source: str) -> RunConfig:
    """Read and validate the configuration of a run directory; ``source`` names it in errors."""
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(source, f"not YAML ({error})", "correct the syntax") from None
    return parse_config(tree, source, stored=True)


def _anchor_paths(tree: dict[str, Any], base: Path) -> None:
    """Resolve relative paths in a file against that file, so a config can be run from anywhere."""
    models = tree.get("models")
    listed = models if isinstance(models, list) else []
    sections = [tree.get("atlas"), tree.get("network"), *listed]
    for section in sections:
        for name in ("path", "gene_aliases"):
            value = section.get(name) if isinstance(section, dict) else None
            if isinstance(value, str) and "://" not in value and value != "demo":
                section[name] = str((base / value).resolve())


def dump_config(config: RunConfig) -> str:
    """Return YAML that ``load_config`` reads back to an equal configuration."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
