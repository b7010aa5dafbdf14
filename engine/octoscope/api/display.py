"""Display of API objects: one line of text, or a small table in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any


class Shown:
    """Gives an object a short ``repr`` and an HTML one from its ``_entries``."""

    def _entries(self) -> Mapping[str, Any]:
        raise NotImplementedError

    def __repr__(self) -> str:
        entries = ", ".join(f"{name}={value}" for name, value in self._entries().items())
        return f"<{type(self).__name__} {entries}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th scope='row' style='text-align:left'>{escape(str(name))}</th>"
            f"<td style='text-align:left'>{escape(str(value))}</td></tr>"
            for name, value in self._entries().items()
        )
        return f"<table><caption>{type(self).__name__}</caption><tbody>{rows}</tbody></table>"
