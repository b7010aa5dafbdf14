"""Making a molecular network: from source files, or from what napistu keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from octoscope.errors import InputError
from octoscope.extras import extras_needed
from octoscope.octopus.reading_notes import reading_notes


@extras_needed()
def build_network(
    config: str | Path, target: str | Path, *, say: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Build a network from the files of its sources.

    Parameters
    ----------
    config
        YAML that names the files (docs/octopus.md).
    target
        Octopus directory to make.
    say
        Is called with a line of progress now and then.

    Returns
    -------
    dict
        Content of ``octopus.json``: what was read, kept and dropped of each source.

    Raises
    ------
    InputError
        Naming the file, what was seen and the fix.
    """
    from octoscope.octopus.build import build_octopus
    from octoscope.octopus.build_config import load_octopus_config

    return build_octopus(load_octopus_config(Path(config)), Path(target), say or _nothing)


@extras_needed()
def import_network(
    path: str | Path, target: str | Path, *, mode: str = "corrected", trust: str | None = None
) -> dict[str, Any]:
    """Convert a Napistu bundle, napistu-torch store or Hub data set; nothing in it is executed.

    Parameters
    ----------
    target
        Octopus directory to make.
    mode
        ``corrected``, or ``peer``: with the data defects of the peer.
    trust
        SHA-256 of a pickle that may run what it names.

    Returns
    -------
    dict
        Content of ``octopus.json``.

    Raises
    ------
    InputError
        If it is nothing of the kind, or it is damaged.
    """
    from octoscope.octopus.napistu.import_network import import_napistu

    if mode not in ("peer", "corrected"):
        raise InputError("mode", f"{mode!r} is unknown", "write peer or corrected")
    return import_napistu(Path(path), Path(target), mode, trust)  # type: ignore[arg-type]


def notes_of(summary: Mapping[str, Any]) -> list[str]:
    """Return what the readers of its sources said of their files, a line each.

    ``summary``: what :func:`build_network` or :func:`import_network` returned.
    """
    return reading_notes(summary)


def _nothing(line: str) -> None:
    pass
