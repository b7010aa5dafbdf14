"""Problems of a configuration, each with name, line and suggestion."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import yaml
from pydantic import BaseModel, ValidationError

from octoscope.config.declared import section_of, settings_of
from octoscope.config.renamed import former_names
from octoscope.errors import InputError

Loc = Sequence[int | str]


def input_error(
    kind: type[BaseModel],
    error: ValidationError,
    source: str,
    text: str | None = None,
    overridden: Sequence[str] = (),
) -> InputError:
    """Return the first problem that validation found, with its place and what to change.

    Parameters
    ----------
    text
        The YAML that was read: the problem's line is named.
    overridden
        Dotted names given by ``--set``, whose values are on no line.
    """
    first = error.errors()[0]
    loc = first["loc"]
    field = ".".join(str(p) for p in loc) or "(top level)"
    fix = f"correct {field}"
    if first["type"] == "extra_forbidden":
        near = nearest(kind, loc)
        fix = f"remove {field} or correct its spelling"
        if near is not None:
            fix += f": did you mean {near}?"
    elif first["type"] == "missing":
        fix = f"add {field}"
    location = source
    if text is not None and not any(_within(field, name) for name in overridden):
        line = line_of(text, loc)
        location = source if line is None else f"{source}:{line}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return InputError(f"{location}: {field}", first["msg"] + more, fix)


def nearest(kind: type[BaseModel], loc: Loc) -> str | None:
    """Return the dotted name that an unknown name most likely means; None: no name is similar."""
    section: type[BaseModel] | None = kind
    for part in loc[:-1]:
        if isinstance(part, str):
            field = None if section is None else section.model_fields.get(part)
            section = None if field is None else section_of(field.annotation)
    wrong = str(loc[-1])
    here = [] if section is None else list(section.model_fields)
    every = {s.name.rpartition(".")[2]: s.name for s in settings_of(kind)}
    every |= {name: name for name in kind.model_fields}
    if wrong in every:  # spelt well, in the wrong section
        return every[wrong]
    close = get_close_matches(wrong, here, n=1, cutoff=0.7)
    if close:
        return ".".join(str(p) for p in [*loc[:-1], close[0]])
    close = get_close_matches(wrong, list(every), n=1, cutoff=0.8)
    return every[close[0]] if close else None


def line_of(text: str, loc: Loc) -> int | None:
    """Return the line, from 1, on which a YAML text gives a value; None: it does not.

    A renamed value is found under its former name. A missing value has the line of its section.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    for names in (loc, *(old.split(".") for old in former_names(".".join(map(str, loc))))):
        line, complete = _walk(root, names)
        if complete:
            return line
    return _walk(root, loc)[0]


def _walk(node: yaml.Node | None, names: Loc) -> tuple[int | None, bool]:
    line = None
    for name in names:
        child: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(name):
                    line, child = key.start_mark.line + 1, value
        elif isinstance(node, yaml.SequenceNode) and isinstance(name, int):
            if name < len(node.value):
                child = node.value[name]
                line = child.start_mark.line + 1
        elif node is not None:  # a value; what follows names the way it was read
            return line, True
        if child is None:
            return line, False
        node = child
    return line, True


def _within(field: str, name: str) -> bool:
    return f"{field}.".startswith(f"{name}.") or f"{name}.".startswith(f"{field}.")
