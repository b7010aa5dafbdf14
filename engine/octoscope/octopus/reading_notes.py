"""What the readers of a network's sources say of their files, in lines for people."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any


def reading_notes(meta: Mapping[str, Any], sources: Collection[str] | None = None) -> list[str]:
    """Return the accounts of the files, a line each: what was read, kept, dropped and noted.

    Parameters
    ----------
    meta
        Content of ``octopus.json``.
    sources
        Sources to tell of; None: all, and those that state nothing (annotations).

    Returns
    -------
    list of str
        Notes of the build or import first. Imported networks have no accounts of files.
    """
    out = [str(note) for note in meta.get("notes") or ()]
    entries = [("annotation", meta.get("annotation") or {})]
    entries += list((meta.get("sources") or {}).items())
    entries += [(e["name"], e) for e in meta.get("without_statements") or ()]
    for name, entry in entries:
        own = name in (meta.get("sources") or {})
        if sources is None or name in sources or not own:
            out += [f"{name}: {line}" for line in _lines(entry)]
    return out


def _lines(entry: Mapping[str, Any]) -> Iterator[str]:
    rows: Mapping[str, Any] = entry.get("rows") or {}
    if "read" in rows:
        dropped = sum(rows.get("dropped", {}).values())
        stated = entry.get("assertions")
        statements = f"; {stated:,} statements" if stated else ""
        yield (
            f"{rows['read']:,} read = {rows.get('kept', 0):,} kept + {rows.get('merged', 0):,} "
            f"merged + {dropped:,} dropped{statements}"
        )
    examples = rows.get("examples") or {}
    for kind in ("dropped", "noted"):
        for what, count in (rows.get(kind) or {}).items():
            such = ", ".join(repr(x) for x in examples.get(what) or ())
            yield f"{count:,} {kind}: {what}{f' (such as {such})' if such else ''}"
    if rows.get("unread"):
        yield f"columns that are not read: {', '.join(rows['unread'])}"
