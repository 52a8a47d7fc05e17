"""What every resource of the soak contains: bytes that follow from its path, so that any client can judge any response."""

from __future__ import annotations

import random
import zlib
from functools import lru_cache

_NOISE = random.Random(1).randbytes(1 << 22)


@lru_cache(maxsize=256)
def content(path: str) -> bytes:
    """The body of `/place/FRAMING-SIZE-NUMBER`; half of its bytes can be compressed."""
    name = path.rpartition("/")[2]
    size = int(name.split("-")[1])
    start = zlib.crc32(name.encode()) % (len(_NOISE) - size)
    noise = _NOISE[start : start + size]
    return b"".join(noise[at : at + 64] + b"portico " * 8 for at in range(0, size, 128))[:size]


def receipt(body: bytes) -> bytes:
    """What the origin answers to a request with a body."""
    return b"%d bytes, checksum %08x\n" % (len(body), zlib.crc32(body))
