"""What has come of a frame that is not whole, and before the first frame."""

from __future__ import annotations

from typing import Final, final

from portico.codec.http2.errors import PROTOCOL_ERROR, Http2Error
from portico.codec.http2.frames import HEADER, HEADERS, LARGEST_WINDOW, PREFACE

_MOST_PIECES: Final = 64  # each costs more memory than its bytes
_NOTHING: Final = -1


@final
class Incoming:
    """The beginning of a frame. `expects_preface`: a client's (RFC 9113 section 3.4) comes before all frames."""

    def __init__(self, expects_preface: bool) -> None:
        self._expected: bytes = PREFACE if expects_preface else b""  # what is left of the preface
        self._pieces: list[bytes] = []
        self._size = 0  # bytes of them
        self._needed = 0  # bytes until more can be told

    def join(self, data: bytes) -> bytes:
        """Return what came before with `data` behind it; b"" when that cannot be a whole frame. Raises Http2Error."""
        if self._expected:
            data = self._without_preface(data)
        if not self._size:
            return data
        self._pieces.append(data)
        self._size += len(data)
        if self._size < self._needed:
            if len(self._pieces) >= _MOST_PIECES:
                self._pieces = [b"".join(self._pieces)]
            return b""
        data = b"".join(self._pieces)
        self._pieces = []
        self._size = 0
        return data

    def _without_preface(self, data: bytes) -> bytes:
        expected = self._expected
        if not expected.startswith(data[: len(expected)]):
            raise Http2Error(PROTOCOL_ERROR, "no HTTP/2 preface")
        self._expected = expected[len(data) :]
        return data[len(expected) :]

    def keep(self, data: bytes) -> int:
        """Keep the beginning of a frame; return its type, -1 when that has not come."""
        self._pieces = [data]
        self._size = len(data)
        self._needed = HEADER
        if self._size < HEADER:
            return _NOTHING
        self._needed += data[0] << 16 | data[1] << 8 | data[2]
        return data[3]

    def headers_of(self) -> int:
        """Return the stream of a HEADERS frame that has begun to come; 0: none has."""
        head = b"".join(self._pieces)[:HEADER] if self._size else b""
        if len(head) < HEADER or head[3] != HEADERS:
            return 0
        return int.from_bytes(head[5:9], "big") & LARGEST_WINDOW
