"""Changes of bytes, of whatever file."""

from __future__ import annotations

from random import Random

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1)


def change_bytes(raw: bytes, rng: Random) -> tuple[bytes, str]:
    """Change, cut, repeat or insert bytes."""
    data, size = bytearray(raw), len(raw)
    kind = rng.randrange(9)
    at = rng.randrange(size) if size else 0
    if rng.random() < 0.3:  # ends hold what files say of themselves
        at = (
            min(size - 1, rng.randrange(64))
            if rng.random() < 0.5
            else max(0, size - 1 - rng.randrange(256))
        )
        at = max(at, 0)
    length = min(rng.choice((1, 2, 8, 64, 1024)), max(size - at, 0))
    if kind == 0 and size:
        for _ in range(rng.choice((1, 1, 4, 32))):
            data[rng.randrange(size)] ^= 1 << rng.randrange(8)
        return bytes(data), "bits changed"
    if kind == 1 and size:
        data[at] ^= 1 << rng.randrange(8)
        return bytes(data), f"bit of byte {at}"
    if kind == 2:
        return bytes(data[:at]), f"cut to {at} bytes"
    if kind == 3:
        del data[at : at + length]
        return bytes(data), f"{length} bytes gone at {at}"
    if kind == 4:
        data[at:at] = data[at : at + length]
        return bytes(data), f"{length} bytes twice at {at}"
    if kind == 5:
        data[at : at + length] = rng.randbytes(length)
        return bytes(data), f"{length} random bytes at {at}"
    if kind == 6:
        data[at : at + length] = bytes(length)
        return bytes(data), f"{length} zeros at {at}"
    if kind == 7:
        width = rng.choice((1, 2, 4, 8))
        number = rng.choice(NUMBERS) & ((1 << (8 * width)) - 1)
        at -= at % width if rng.random() < 0.5 else 0
        data[at : at + width] = number.to_bytes(width, "little")
        return bytes(data), f"{number} in {width} bytes at {at}"
    data += rng.randbytes(length)
    return bytes(data), f"{length} bytes more"
