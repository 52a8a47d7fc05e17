"""Damage to byte streams, drawn from a random generator: the same seed damages in the same way."""

from __future__ import annotations

import random
from collections.abc import Sequence

BYTES = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b",", b"\xff", b"-1", b"0", b"99999999999999999999", b"a" * 9000,
]  # fmt: skip
HTTP = [
    *BYTES, b"%", b"%00", b"%0d%0a", b"/../", b"?", b"#", b"0\r\n\r\n", b"\r\n\r\n", b"Content-Length: 3\r\n", b"HTTP/1.1",
    b"HTTP/1.0", b"Transfer-Encoding: chunked\r\n", b"Host: z\r\n", b"Connection: close\r\n", b"Connection: keep-alive\r\n",
    b"GET ", b"[::1]", b"\x16\x03\x01", b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n", b"Range: bytes=0-\r\n",
    b"X: " + b"y" * 2000 + b"\r\n", b"\r\n" * 40,
]  # fmt: skip


def damaged(stream: bytes, rng: random.Random, tokens: Sequence[bytes] = HTTP, most: int = 4) -> bytes:
    """Returns the stream with one to `most` places changed: bytes removed, inserted, replaced, doubled, or cut off."""
    data = bytearray(stream)
    for _ in range(rng.randint(1, most)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.randint(1, 12))
        kind = rng.randrange(11)
        if kind < 2:
            data[at:end] = b""
        elif kind < 4:
            data[at:at] = rng.choice(tokens)
        elif kind < 6:
            data[at:end] = rng.choice(tokens)
        elif kind < 8:
            data[at:at] = data[at:end]
        elif kind < 10 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind == 10:
            del data[at:]
    return bytes(data)


def pieces(data: bytes, rng: random.Random) -> list[bytes]:
    """Returns the data cut at random places: mostly few, sometimes byte by byte."""
    if len(data) < 300 and rng.random() < 0.05:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice((0, 0, 1, 1, 2, 5))))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if start < end]
