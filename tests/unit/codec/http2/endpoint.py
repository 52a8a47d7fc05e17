"""One end of an HTTP/2 connection for tests: what it was told, and what it has sent, as frames."""

from __future__ import annotations

import pytest

from portico.codec.http2 import connection as connections
from portico.codec.http2.connection import Http2Connection
from portico.codec.http2.frames import (
    ACK,
    CONNECTION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    four_bytes,
    frame,
    settings_frame,
)
from portico.codec.http2.hpack import Block, encoded_fields
from portico.codec.http2.streams import Stream, Streams

not_compiled = pytest.mark.skipif(
    not connections.__file__.endswith(".py"), reason="an interpreted class cannot inherit from a compiled one"
)

Field = tuple[bytes, bytes]
Frame = tuple[int, int, int, bytes]

REQUEST: list[Field] = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a.example")]
GET = encoded_fields(REQUEST)
OPEN, WHOLE = END_HEADERS, END_HEADERS | END_STREAM


def fields_of(block: Block) -> list[Field]:
    """All fields of a block in order, the value of :path among them."""
    headers = block.headers
    return [
        (name, block.path if name == b":path" else value) for name, value in zip(headers.names, headers.values, strict=True)
    ]


class Endpoint(Streams):
    """The owner of one end. Content is consumed at once, unless `keeps`."""

    def __init__(self, is_server: bool = True, window: int = 65535, most: int = 128, keeps: bool = False) -> None:
        self.wire = Http2Connection(self, is_server, 8192, 32768)
        self.wire.begin([] if is_server else [(2, 0)], window, most)
        self.keeps = keeps
        self.events: list[tuple[object, ...]] = []
        self.streams: dict[int, Stream] = {}
        self.content: dict[int, bytearray] = {}
        self.lists: dict[int, list[list[Field]]] = {}
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.last_goaway: tuple[int, int] | None = None

    def on_headers(self, stream: Stream, block: Block, ended: bool) -> None:
        self.streams[stream.number] = stream
        self.lists.setdefault(stream.number, []).append(fields_of(block))
        self.events.append(("headers", stream.number))
        if ended:
            self.ended.add(stream.number)

    def on_trailers(self, stream: Stream, block: Block) -> None:
        self.lists[stream.number].append(fields_of(block))
        self.events.append(("trailers", stream.number))
        self.ended.add(stream.number)

    def on_data(self, stream: Stream, data: bytes, ended: bool) -> None:
        self.content.setdefault(stream.number, bytearray()).extend(data)
        self.events.append(("data", stream.number, len(data)))
        if ended:
            self.ended.add(stream.number)
        if not self.keeps:
            self.wire.consume(stream, len(data))

    def on_reset(self, stream: Stream, code: int) -> None:
        self.resets[stream.number] = code
        self.events.append(("reset", stream.number, code))

    def on_room(self, stream: Stream | None) -> None:
        pass

    def on_goaway(self, last: int, code: int) -> None:
        self.last_goaway = (last, code)

    def on_priority(self, number: int, value: bytes) -> None:
        self.events.append(("priority", number, value))

    def receive(self, data: bytes, now: float = 0.0) -> None:
        self.wire.receive(data, now)

    def take(self) -> bytes:
        """What it has sent since this was asked last."""
        sent, self.wire.out = b"".join(self.wire.out), []
        return sent

    def frames(self) -> list[Frame]:
        """The same as frames: type, flags, stream and payload of each."""
        return frames_of(self.take().removeprefix(PREFACE))


def frames_of(data: bytes) -> list[Frame]:
    found: list[Frame] = []
    while data:
        size = int.from_bytes(data[:3], "big")
        found.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + size]))
        data = data[9 + size :]
    return found


def server(window: int = 65535, most: int = 128, keeps: bool = False) -> Endpoint:
    """A server's end, when both sides have sent their settings and acknowledged the other's."""
    one = Endpoint(True, window, most, keeps)
    one.receive(PREFACE + settings_frame([]) + frame(SETTINGS, ACK, CONNECTION, b""))
    one.take()
    return one


def headers(number: int, flags: int = WHOLE, block: bytes = GET) -> bytes:
    return frame(HEADERS, flags, four_bytes(number), block)


def data(number: int, content: bytes, flags: int = 0) -> bytes:
    return frame(DATA, flags, four_bytes(number), content)


def window_update(number: int, step: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, four_bytes(number), four_bytes(step))


def rst_stream(number: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, four_bytes(number), four_bytes(code))
