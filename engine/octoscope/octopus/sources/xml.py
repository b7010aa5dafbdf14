"""Streaming XML: no entities, no network, bounded memory, errors that name the place."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any

from lxml import etree

from octoscope.errors import InputError


def stream_elements(handle: IO[bytes], where: str, tags: tuple[str, ...]) -> Iterator[Any]:
    """Yield elements of the given names (``{namespace}local``, ``{*}local``) as they end.

    Each is emptied, with all before it, once the caller comes back for the next.

    Raises
    ------
    InputError
        If the text is not well-formed, truncated, or holds a text of more than 10 MB; entities are
        never expanded.
    """
    try:
        events = etree.iterparse(
            handle, events=("end",), tag=tags, resolve_entities=False, no_network=True,
            load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True,
        )  # fmt: skip
        for _, element in events:
            yield element
            element.clear()
            while element.getprevious() is not None and element.getparent() is not None:
                del element.getparent()[0]
    except (etree.XMLSyntaxError, OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(where, str(error)[:300], "download the file again") from None


def local(element: Any) -> str:
    """Return the name of an element without its namespace."""
    return str(etree.QName(element).localname)
