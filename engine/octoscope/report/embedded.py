"""Data inside the page: compressed text that the page's script reads."""

from __future__ import annotations

import base64
import gzip
from importlib.util import find_spec
from pathlib import Path

from markupsafe import Markup

from octoscope.errors import OctoscopeError


def compressed(content: str) -> str:
    """Return text as base64 of gzip; the same text gives the same characters."""
    return base64.b64encode(gzip.compress(content.encode(), 9, mtime=0)).decode("ascii")


def block(content: str, **attributes: str) -> Markup:
    """Return an element that holds compressed text and shows nothing.

    ``attributes``: of the element; ``class_`` is ``class``.
    """
    given = Markup("").join(
        Markup(' {}="{}"').format(name.rstrip("_").replace("_", "-"), value)
        for name, value in attributes.items()
    )
    # base64 holds no character that could end the element
    return Markup('<script type="text/plain"{}>{}</script>').format(
        given, Markup(compressed(content))
    )


def table_library() -> Markup:
    """Return the script of DataTables as itables bundles it, for the page's own script."""
    # Not imported: itables looks for settings in the working directory, which a job may have lost.
    spec = find_spec("itables")
    if spec is None or not spec.submodule_search_locations:
        raise OctoscopeError("the package itables is missing, whose tables the report holds; "
                             "pip install 'octoscope[run]'")  # fmt: skip
    bundle = Path(spec.submodule_search_locations[0]) / "html" / "dt_bundle.js"
    return block(bundle.read_text(encoding="utf-8"), id="library")
