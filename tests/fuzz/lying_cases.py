"""What an upstream may answer: valid responses, damaged ones, and lies about lengths, chunks, interim responses and connections."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.fuzz.damage import BYTES, damaged, pieces
from tests.fuzz.lying_backend import Step
from tests.system.proxied import chunked, pattern

LOCATIONS = (
    "buffered", "direct", "temp", "cached", "locked", "gzip", "gunzip", "store", "retry", "stream", "old", "errors", "sub", "slice",
    "tls", "tlsdirect", "guarded", "mirrored", "upgrade", "fresh",
)  # fmt: skip
RESPONSE = [
    *BYTES, b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"\r\n\r\n",
    b"Content-Length: 3\r\n", b"Content-Length: 99999999999\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\n", b"Content-Encoding: gzip\r\n",
    b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"X-Accel-Redirect: /nowhere\r\n", b"X-Accel-Buffering: no\r\n",
    b"X-Accel-Limit-Rate: 9\r\n", b"X-Accel-Expires: @9\r\n", b"Vary: *\r\n", b"Vary: A, B\r\n", b"Set-Cookie: a=b\r\n",
    b"Location: //\r\n", b"Refresh: 0; url=\r\n", b"Date: x\r\n", b"Content-Range: bytes 0-0/1\r\n",
    b"Content-Range: bytes 5-2/*\r\n", b"ETag: \"\r\n", b"X: " + b"y" * 3000 + b"\r\n", b" folded\r\n", b"Last-Modified: x\r\n",
    b"Cache-Control: max-age=99999999999999999999, s-maxage=, \"\r\n", b"Expires: -1\r\n", b"Age: -\r\n",
    b"Content-Type: text/html; charset=\r\n", b"Trailer: x\r\n", b"Keep-Alive: timeout=0\r\n", b"Upgrade: x\r\n",
]  # fmt: skip
KINDS = ["GET", "GET", "GET", "HEAD", "POST", "POST chunked", "POST large", "range", "gzip", "old", "conditional", "upgrade"]
LEAVING = ["", "", "", "", "", "", "reset", "read then reset", "half", "stop"]


@dataclass(frozen=True)
class LyingCase:
    """One request and how the upstream answers it. `expects`: "whole" (200 and `body`), "truncated" (no valid end), or nothing."""

    seed: int
    location: str
    kind: str  # of the request
    leaving: str  # what the client does instead of reading to the end
    expects: str
    body: bytes
    parts: tuple[Step, ...]

    @property
    def name(self) -> bytes:
        """How the request names its script."""
        return b"c%012d" % self.seed

    def __repr__(self) -> str:
        return (
            f"LyingCase({self.seed}, /{self.location}/, {self.kind}, leaving={self.leaving!r}, expects={self.expects!r}, "
            f"parts={[(kind, data if len(data) < 400 else data[:300] + b'...') for kind, data in self.parts]})"
        )


def smaller(case: LyingCase, parts: list[object]) -> LyingCase:
    """The same with fewer steps; nothing is expected of the response any more."""
    return replace(case, parts=tuple(parts), expects=case.expects if list(case.parts) == parts else "")  # type: ignore[arg-type]


def make_case(seed: int) -> LyingCase:
    """Draws a case."""
    rng = random.Random(f"lying {seed}")
    location, kind, leaving = rng.choice(LOCATIONS), rng.choice(KINDS), rng.choice(LEAVING)
    make = rng.choice(MAKERS)
    family = "strict" if make in STRICT and rng.random() < 0.8 else "loose"
    expects, body, steps = make(rng, b"c%012d" % seed)
    if rng.random() < 0.85:
        steps = [("body", b""), *steps]
    if leaving or kind != "GET" or family == "loose" or location in ("errors", "sub", "slice", "guarded", "mirrored", "old"):
        expects = ""
    return LyingCase(seed, f"{family}/{location}", kind, leaving, expects, body, tuple(steps))


Made = tuple[str, bytes, list[Step]]
INTERIM = (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
STATUSES = (
    b"204 No Content", b"304 Not Modified", b"302 Found", b"404 Not Found", b"500 Oops", b"503 Busy", b"206 Partial",
    b"101 Switching", b"416 Range", b"401 Who", b"999 What", b"199 Interim", b"226 IM", b"421 Misdirected",
)  # fmt: skip
EXTRA = (
    b"", b"Location: http://localhost/x\r\n", b"Content-Range: bytes 0-4/5\r\n", b"Upgrade: websocket\r\nConnection: upgrade\r\n",
)  # fmt: skip


def _fields(rng: random.Random, name: bytes) -> bytes:
    more = [b"Cache-Control: max-age=1", b'ETag: "a"', b"Vary: X", b"Content-Type: text/html", b"Server: s", b"X: y"]
    return b"X-Case: %b\r\n" % name + b"".join(line + b"\r\n" for line in rng.sample(more, rng.randrange(3)))


def _size(rng: random.Random) -> int:
    return rng.choice((0, 1, 20, 3000, 5000, 70_000, 70_000, 300_000))


def _sized(rng: random.Random, name: bytes, size: int, length: int = -1) -> bytes:
    told = size if length < 0 else length
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n" % (told, _fields(rng, name)) + pattern(size)


def _spread(data: bytes, rng: random.Random) -> list[Step]:
    """In pieces, with pauses; slowly now and then."""
    if len(data) < 400 and rng.random() < 0.1:
        return [("drip", data)]
    steps: list[Step] = []
    for piece in pieces(data, rng):
        steps.append(("send", piece))
        if rng.random() < 0.2:
            steps.append(("pause", b"%d" % rng.choice((1, 5, 30))))
    return steps


def _end(rng: random.Random) -> list[Step]:
    return [(kind, b"") for kind in rng.choice(([], ["close"], ["reset"], ["half"], ["half", "close"]))]


def _honest(rng: random.Random, name: bytes) -> Made:
    size = _size(rng)
    body = pattern(size)
    kind = rng.randrange(4)
    if kind == 0:
        return "whole", body, _spread(_sized(rng, name, size), rng)
    if kind == 1:
        data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%b\r\n" % _fields(rng, name) + chunked(*pieces(body, rng))
        return "whole", body, _spread(data, rng)
    if kind == 2:
        data = b"HTTP/1.0 200 OK\r\n%b\r\n" % _fields(rng, name) + body
        return "whole", body, [*_spread(data, rng), ("close", b"")]
    interim = rng.choice(INTERIM) * rng.choice((1, 2, 9))
    return "whole", body, _spread(interim + _sized(rng, name, size), rng)


def _damaged(rng: random.Random, name: bytes) -> Made:
    _, _, steps = rng.choice((_honest, _honest, _other))(rng, name)
    data = b"".join(data for kind, data in steps if kind in ("send", "drip"))
    if rng.random() < 0.6:  # in its head, where it matters most
        head, blank, body = data.partition(b"\r\n\r\n")
        return "", b"", [*_spread(damaged(head + blank, rng, RESPONSE) + body, rng), *_end(rng)]
    return "", b"", [*_spread(damaged(data, rng, RESPONSE), rng), *_end(rng)]


def _other(rng: random.Random, name: bytes) -> Made:
    """Other statuses, and bodies where none may be."""
    status = rng.choice(STATUSES)
    extra = rng.choice(EXTRA)
    length = rng.choice((b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""))
    body = rng.choice((b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n"))
    data = b"HTTP/1.1 %b\r\n%b%b%b\r\n%b" % (status, _fields(rng, name), extra, length, body)
    return "", b"", [*_spread(data, rng), *_end(rng)]


def _short(rng: random.Random, name: bytes) -> Made:
    """A body that ends before its announced end."""
    size = rng.choice((20, 5000, 70_000, 300_000))
    sent = rng.choice((0, 1, size // 2, size - 1))
    ending: Step = (rng.choice(("close", "close", "reset", "half")), b"")
    if rng.random() < 0.5:
        return "truncated", b"", [*_spread(_sized(rng, name, sent, size), rng), ending]
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%b\r\n" % _fields(rng, name)
    data += chunked(pattern(size), last=False) + rng.choice((b"", b"0", b"5\r\nab", b"zz\r\n", b"0\r\n"))
    return "truncated", b"", [*_spread(data, rng), ending]


def _stalling(rng: random.Random, name: bytes) -> Made:
    """Stops somewhere and stays silent, longer than proxy_read_timeout."""
    data = _sized(rng, name, rng.choice((20, 5000, 70_000)))
    return "truncated", b"", [*_spread(data[: rng.randrange(len(data))], rng), ("pause", b"700")]


def _interim(rng: random.Random, name: bytes) -> Made:
    """Interim responses without end, or a head without end."""
    if rng.random() < 0.5:
        one = rng.choice((*INTERIM, b"HTTP/1.1 102 Processing\r\n\r\n"))
        return "", b"", [*([("send", one * rng.choice((1, 50)))] * rng.choice((1, 20, 100))), *_end(rng)]
    line = rng.choice((b"X: y\r\n", b"Set-Cookie: " + b"z" * 900 + b"\r\n", b"\r\n", b" \r\n", b"x"))
    return "", b"", [("send", b"HTTP/1.1 200 OK\r\n"), *([("send", line * 50)] * rng.choice((1, 20, 100))), *_end(rng)]


def _unsolicited(rng: random.Random, name: bytes) -> Made:
    """A whole response, and then more, at once or when the connection is idle."""
    size = _size(rng)
    again = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Case: u%b\r\n\r\nagain" % name
    more = rng.choice((again, b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"\r\n", b"u" + name))
    whole = _sized(rng, name, size)
    if rng.random() < 0.3:
        return "whole", pattern(size), [("send", whole + more)]
    return "whole", pattern(size), [("send", whole), ("pause", b"%d" % rng.choice((1, 10, 40))), ("unsolicited", more)]


def _compressed(rng: random.Random, name: bytes) -> Made:
    """gzip, whole, damaged or truncated within."""
    body = gzip.compress(pattern(_size(rng)) + bytes(rng.choice((0, 1_000_000))))
    if rng.random() < 0.6:
        body = damaged(body, rng, BYTES)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n%b\r\n" % (len(body), _fields(rng, name))
    return "", b"", [*_spread(head + body, rng), *_end(rng)]


def _noise(rng: random.Random, name: bytes) -> Made:
    kind = rng.randrange(4)
    if kind == 0:
        return "", b"", _end(rng) or [("close", b"")]
    if kind == 1:
        return "", b"", [("raw", rng.randbytes(rng.choice((1, 5, 500)))), *_end(rng)]
    return "", b"", [("send", rng.randbytes(rng.choice((1, 5, 500, 20_000)))), *_end(rng)]


MAKERS: list[Callable[[random.Random, bytes], Made]] = [
    _honest, _damaged, _damaged, _damaged, _other, _short, _short, _stalling, _interim, _unsolicited, _unsolicited, _compressed,
    _noise,
]  # fmt: skip
# After these a connection is in a state that both ends know. After the others bytes may come late and meet the next request on it,
# which HTTP/1.1 cannot tell; so they have connection pools of their own (family "loose"), where only probes that come when all is
# quiet are judged.
STRICT = (_honest, _short, _stalling)
