"""The settings of a run: what each of them means."""

from __future__ import annotations

from typing import Any

from octoscope.config import RunConfig
from octoscope.config.declared import settings_of
from octoscope.config.problems import nearest
from octoscope.config.renamed import current_name
from octoscope.config.setting_rows import setting_row
from octoscope.errors import InputError


def settings(name: str | None = None) -> list[dict[str, Any]]:
    """Return what settings mean: one row each.

    Parameters
    ----------
    name
        Dotted name, or its beginning; None: every setting.

    Returns
    -------
    list of dict
        ``setting``, ``type``, ``default``, ``bounds``, ``decides_results`` and ``meaning``, as
        text.

    Raises
    ------
    InputError
        If there is no such setting; it names the nearest one.

    Examples
    --------
    >>> [row["setting"] for row in settings("compare.k")]
    ['compare.k']
    """
    prefix = None if name is None else current_name(name)
    rows = [
        setting_row(setting)
        for setting in settings_of(RunConfig)
        if prefix is None or f"{_plain(setting.name)}.".startswith(f"{_plain(prefix)}.")
    ]
    if not rows:
        near = nearest(RunConfig, _plain(str(prefix)).split("."))
        fix = "`octoscope config explain` lists them all" if near is None else f"try {near}"
        raise InputError(str(name), "is not a setting", fix)
    return rows


def settings_schema() -> dict[str, Any]:
    """Return the JSON schema of run configurations, for editors."""
    return RunConfig.model_json_schema()


def _plain(name: str) -> str:
    """Return a dotted name without the places of list items: ``models.0.path``, ``models.path``."""
    return ".".join(p for p in name.split(".") if p != "*" and not p.isdecimal())
