"""Which code decodes Zarr chunks: zarr's own, and another only where a checksum guards the bytes.

A codec pipeline other than zarr's (``ZARR_CODEC_PIPELINE__PATH=zarrs.ZarrsCodecPipeline``) does
not run the checks of :mod:`octoscope.atlas.blosc`: of a truncated Blosc chunk it returns what lies
behind it in memory. So it decodes only what CRC32C covers, and whatever it refuses, zarr's own
pipeline reads again and names.
"""

from __future__ import annotations

from typing import Any

import zarr
from zarr.storage import LocalStore

from octoscope.errors import InputError

_SETTING = "codec_pipeline.path"
_OWN = "zarr.core.codec_pipeline.BatchedCodecPipeline"
_chosen = _OWN


def register() -> None:
    """Have this process open arrays through zarr's own pipeline; remember the one asked for."""
    global _chosen
    _chosen = zarr.config.get(_SETTING)
    zarr.config.set({_SETTING: _OWN})


def quick(array: Any) -> Any | None:
    """Return the array opened through the pipeline asked for, or None where it may not be used.

    Raises
    ------
    InputError
        If that pipeline is not installed.
    """
    if _chosen == _OWN or not isinstance(array, zarr.Array) or not is_guarded(array):
        return None
    try:
        with zarr.config.set({_SETTING: _chosen}):
            # that pipeline knows zarr's own store and no class made from it
            plain = LocalStore(array.store.root, read_only=True)
            return zarr.open_array(plain, path=array.path, mode="r")
    except ValueError as error:  # zarr's BadConfigError
        why = str(error).strip().splitlines()[0][:120]
        raise InputError(
            _SETTING, f"{_chosen}: {why}", "install it, or unset the variable"
        ) from None


def is_guarded(array: zarr.Array) -> bool:
    """Tell whether CRC32C is the last codec of every chunk, and of its shard's index."""
    if array.metadata.zarr_format == 2 or not isinstance(array.store, LocalStore):
        return False
    chains = [array.metadata.to_dict()["codecs"]]
    last = chains[0][-1]
    if last["name"] == "sharding_indexed":
        inside = last["configuration"]
        chains = [inside["codecs"], inside["index_codecs"]]
    return all(chain[-1]["name"] == "crc32c" for chain in chains)
