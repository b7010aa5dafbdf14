"""Blosc chunks shorter than they say are refused; the library would read past their end.

c-blosc takes the length of a chunk from the chunk's own header, so what lies behind a truncated
one in memory comes back as data. Blosc is what Zarr v2 stores are compressed with by default.
"""

from __future__ import annotations

from typing import Any

import numcodecs
import numpy as np
import zarr
from zarr.codecs import BloscCodec
from zarr.registry import register_codec

_HEADER = 16  # bytes; the last four are the length of the whole chunk


def require_whole(chunk: Any) -> None:
    """Compare the length of a chunk with its header.

    Raises
    ------
    RuntimeError
        If they differ.
    """
    data = np.frombuffer(chunk, np.uint8)
    declared = int.from_bytes(data[_HEADER - 4 : _HEADER].tobytes(), "little")
    if len(data) < _HEADER or declared != len(data):
        raise RuntimeError(f"{len(data)} bytes, its header says {declared}")


class WholeBlosc(numcodecs.Blosc):
    """Blosc of Zarr v2; a chunk must be as long as it says."""

    codec_id = "blosc"

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Decode a whole chunk."""
        require_whole(buf)
        return super().decode(buf, out)


class WholeBloscCodec(BloscCodec):
    """Blosc of Zarr v3; a chunk must be as long as it says."""

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        require_whole(chunk_bytes.as_numpy_array())
        return await super()._decode_single(chunk_bytes, chunk_spec)


def register() -> None:
    """Have this process read Zarr arrays through these classes."""
    numcodecs.register_codec(WholeBlosc)
    register_codec("blosc", WholeBloscCodec)
    zarr.config.set(
        {"codecs.blosc": f"{WholeBloscCodec.__module__}.{WholeBloscCodec.__qualname__}"}
    )
