"""Paths and URLs as users give them."""

from __future__ import annotations


def holds_credentials(url: str) -> bool:
    """Tell whether a URL has a key or password in it (``s3://key:secret@bucket/...``).

    What is given as a place is written into runs, where others read it. Azure writes
    ``abfs://container@account``, which is none.
    """
    protocol, sep, rest = url.partition("://")
    place = rest.split("/", 1)[0]
    azure = protocol in ("abfs", "abfss", "az") and ":" not in place
    return bool(sep) and "@" in place and not azure
