"""One HTTP/2 connection without I/O: what is told, what is sent, and what ends a stream or the connection."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.codec.http2 import connection as wires
from portico.codec.http2.budget import BUDGET
from portico.codec.http2.connection import CONNECTION_WINDOW, MOST_HELD, Http2Connection
from portico.codec.http2.errors import (
    CANCEL,
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    Http2Error,
)
from portico.codec.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HAS_PRIORITY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    four_bytes,
    frame,
    settings_frame,
)
from portico.codec.http2.hpack import Block, encoded_fields
from portico.codec.http2.states import EVENTS, NAMES, NEVER, TABLE
from portico.codec.http2.streams import Stream, Streams

COMPILED = not wires.__file__.endswith(".py")
pytestmark = pytest.mark.skipif(COMPILED, reason="an interpreted class cannot inherit from a compiled one")
GET = encoded_fields([(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")])
OPEN, WHOLE = END_HEADERS, END_HEADERS | END_STREAM


class Told(Streams):
    """Notes what the connection tells; consumes content at once unless `keeps`."""

    def __init__(self, keeps: bool = False) -> None:
        self.keeps = keeps
        self.events: list[tuple[object, ...]] = []
        self.streams: dict[int, Stream] = {}
        self.wire: Http2Connection | None = None

    def on_headers(self, stream: Stream, block: Block, ended: bool) -> None:
        self.streams[stream.number] = stream
        self.events.append(("headers", stream.number, block.path, ended))

    def on_trailers(self, stream: Stream, block: Block) -> None:
        self.events.append(("trailers", stream.number, tuple(block.headers.names)))

    def on_data(self, stream: Stream, data: bytes, ended: bool) -> None:
        self.events.append(("data", stream.number, data, ended))
        if not self.keeps and self.wire is not None:
            self.wire.consume(stream, len(data))

    def on_reset(self, stream: Stream, code: int) -> None:
        self.events.append(("reset", stream.number, code))

    def on_room(self, stream: Stream | None) -> None:
        self.events.append(("room", None if stream is None else stream.number))

    def on_goaway(self, last: int, code: int) -> None:
        self.events.append(("goaway", last, code))

    def on_priority(self, number: int, value: bytes) -> None:
        self.events.append(("priority", number, value))


Frame = tuple[int, int, int, bytes]


def frames(data: bytes) -> list[Frame]:
    """Type, flags, stream and payload of each."""
    found: list[Frame] = []
    while data:
        size = int.from_bytes(data[:3], "big")
        found.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + size]))
        data = data[9 + size :]
    return found


def sent(wire: Http2Connection) -> list[Frame]:
    """What has been sent since this was asked last."""
    data = b"".join(wire.out).removeprefix(PREFACE)
    wire.out = []
    return frames(data)


def server(keeps: bool = False, window: int = 65535, most: int = 128) -> tuple[Http2Connection, Told]:
    """The server's end, when both sides have said what they want."""
    told = Told(keeps)
    wire = told.wire = Http2Connection(told, True, 8192, 32768)
    wire.begin([], window, most)
    wire.receive(PREFACE + settings_frame([]) + frame(SETTINGS, ACK, bytes(4), b""), 0.0)
    sent(wire)
    told.events.clear()
    return wire, told


def headers(number: int, flags: int = WHOLE, block: bytes = GET) -> bytes:
    return frame(HEADERS, flags, four_bytes(number), block)


def data(number: int, content: bytes, flags: int = 0) -> bytes:
    return frame(DATA, flags, four_bytes(number), content)


def window_update(number: int, step: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, four_bytes(number), four_bytes(step))


# -- what ends the connection --------------------------------------------------------------------------------------------------------

ZERO = bytes(4)
ONE = four_bytes(1)


@pytest.mark.parametrize(
    ("received", "code"),
    [
        (data(0, b"x"), PROTOCOL_ERROR),
        (data(1, b"x"), PROTOCOL_ERROR),  # of a stream that has not begun
        (headers(1, OPEN) + data(1, b"x", PADDED), PROTOCOL_ERROR),
        (headers(0), PROTOCOL_ERROR),
        (headers(2), PROTOCOL_ERROR),
        (headers(3) + headers(1), PROTOCOL_ERROR),  # backwards
        (headers(1, WHOLE | HAS_PRIORITY, ONE + b"\x10" + GET), PROTOCOL_ERROR),  # it depends on itself
        (headers(1, WHOLE | HAS_PRIORITY, b"\0\0"), FRAME_SIZE_ERROR),
        (headers(1, WHOLE | PADDED, b""), FRAME_SIZE_ERROR),
        (headers(1, WHOLE | PADDED, b"\xff" + GET), PROTOCOL_ERROR),
        (headers(1, WHOLE, b"\x80"), COMPRESSION_ERROR),
        (headers(1, 0) + data(1, b""), PROTOCOL_ERROR),  # another frame inside of a header block
        (headers(1, 0) + frame(CONTINUATION, END_HEADERS, four_bytes(3), b""), PROTOCOL_ERROR),
        (frame(CONTINUATION, END_HEADERS, ONE, GET), PROTOCOL_ERROR),
        (headers(1, 0) + 9 * frame(CONTINUATION, 0, ONE, b""), ENHANCE_YOUR_CALM),
        (headers(1, 0, bytes(40000)) + frame(CONTINUATION, 0, ONE, bytes(40000)), ENHANCE_YOUR_CALM),
        (headers(1, WHOLE, encoded_fields([(b"a", bytes(8193))])), ENHANCE_YOUR_CALM),
        (frame(SETTINGS, 0, ONE, b""), PROTOCOL_ERROR),
        (frame(SETTINGS, 0, ZERO, b"x"), FRAME_SIZE_ERROR),
        (frame(SETTINGS, ACK, ZERO, b"x"), FRAME_SIZE_ERROR),
        (settings_frame([(4, 1 << 31)]), FLOW_CONTROL_ERROR),
        (settings_frame([(5, 16383)]), PROTOCOL_ERROR),
        (settings_frame([(5, 1 << 24)]), PROTOCOL_ERROR),
        (settings_frame([(2, 2)]), PROTOCOL_ERROR),
        (settings_frame([(8, 2)]), PROTOCOL_ERROR),
        (frame(PING, 0, ONE, bytes(8)), PROTOCOL_ERROR),
        (frame(PING, 0, ZERO, bytes(7)), FRAME_SIZE_ERROR),
        (frame(GOAWAY, 0, ONE, bytes(8)), PROTOCOL_ERROR),
        (frame(GOAWAY, 0, ZERO, bytes(7)), FRAME_SIZE_ERROR),
        (frame(RST_STREAM, 0, ZERO, bytes(4)), PROTOCOL_ERROR),
        (frame(RST_STREAM, 0, ONE, bytes(4)), PROTOCOL_ERROR),  # idle
        (headers(1) + frame(RST_STREAM, 0, ONE, bytes(3)), FRAME_SIZE_ERROR),
        (frame(PRIORITY, 0, ZERO, bytes(5)), PROTOCOL_ERROR),
        (frame(PRIORITY, 0, ONE, bytes(4)), FRAME_SIZE_ERROR),
        (frame(PRIORITY, 0, ONE, ONE + b"\0"), PROTOCOL_ERROR),
        (frame(PRIORITY_UPDATE, 0, ONE, ONE), PROTOCOL_ERROR),
        (frame(PRIORITY_UPDATE, 0, ZERO, b"x"), FRAME_SIZE_ERROR),
        (frame(PRIORITY_UPDATE, 0, ZERO, ZERO), PROTOCOL_ERROR),
        (frame(PUSH_PROMISE, 0, ONE, bytes(4)), PROTOCOL_ERROR),
        (window_update(0, 0), PROTOCOL_ERROR),
        (window_update(0, (1 << 31) - 1), FLOW_CONTROL_ERROR),
        (window_update(1, 1), PROTOCOL_ERROR),  # idle
        (frame(WINDOW_UPDATE, 0, ZERO, bytes(3)), FRAME_SIZE_ERROR),
        (b"\xff\xff\xff\x00\x00" + ONE, FRAME_SIZE_ERROR),
    ],
)
def test_what_ends_the_connection(received: bytes, code: int) -> None:
    wire, _ = server()
    with pytest.raises(Http2Error) as raised:
        wire.receive(received, 0.0)
    assert raised.value.code == code
    kind, _, number, payload = sent(wire)[-1]
    assert (kind, number, payload[4:]) == (GOAWAY, 0, four_bytes(code))


@pytest.mark.parametrize("received", [b"GET / HTTP/1.1\r\n\r\n", PREFACE[:20] + b"X", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r"])
def test_another_preface_ends_it(received: bytes) -> None:
    wire = Http2Connection(Told(), True, 8192, 32768)
    with pytest.raises(Http2Error):
        wire.receive(received, 0.0)


# -- what ends a stream --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("received", "code"),
    [
        (headers(1) + data(1, b"x"), STREAM_CLOSED),  # behind its end
        (headers(1) + headers(1), STREAM_CLOSED),
        (headers(1, OPEN) + window_update(1, 0), PROTOCOL_ERROR),
        (headers(1, OPEN) + window_update(1, (1 << 31) - 1), FLOW_CONTROL_ERROR),
        (headers(1, OPEN) + headers(1, OPEN), PROTOCOL_ERROR),  # trailers that do not end it
    ],
)
def test_what_ends_a_stream(received: bytes, code: int) -> None:
    wire, told = server()
    wire.receive(received, 0.0)
    assert sent(wire)[-1] == (RST_STREAM, 0, 1, four_bytes(code))
    assert told.events[-1] == ("reset", 1, code)
    wire.receive(headers(3), 0.0)
    assert told.events[-1] == ("headers", 3, b"/", True)


def test_more_than_the_window_of_a_stream() -> None:
    wire, told = server(keeps=True, window=10)
    wire.receive(headers(1, OPEN) + data(1, b"0123456789") + data(1, b"x"), 0.0)
    assert told.events[-1] == ("reset", 1, FLOW_CONTROL_ERROR)


def test_more_than_the_window_of_the_connection() -> None:
    wire, _ = server(keeps=True, window=1 << 24)
    wire.receive(headers(1, OPEN), 0.0)
    with pytest.raises(Http2Error) as raised:
        for _ in range(2 * (CONNECTION_WINDOW + MOST_HELD) // 60000):
            wire.receive(data(1, bytes(60000)), 0.0)
    assert raised.value.code == FLOW_CONTROL_ERROR
    assert wire._held <= MOST_HELD + CONNECTION_WINDOW


def test_a_stream_that_was_reset_may_have_frames_on_their_way() -> None:
    wire, told = server()
    wire.receive(headers(1, OPEN), 0.0)
    wire.reset(told.streams[1], CANCEL)
    wire.receive(data(1, b"late") + headers(1) + window_update(1, 1) + frame(RST_STREAM, 0, ONE, bytes(4)), 0.0)
    assert [event[0] for event in told.events] == ["headers"]
    wire.release(told.streams[1])
    wire.receive(data(1, b"later") + headers(3), 0.0)
    assert told.events[-1][0] == "headers"


def test_a_stream_that_is_over_is_over() -> None:
    wire, told = server()
    wire.receive(headers(1), 0.0)
    wire.send_headers(told.streams[1], GET, True)
    wire.release(told.streams[1])
    with pytest.raises(Http2Error) as raised:
        wire.receive(data(1, b"x"), 0.0)
    assert raised.value.code == STREAM_CLOSED


# -- streams at a time ---------------------------------------------------------------------------------------------------------------


def test_streams_beyond_the_limit_are_refused() -> None:
    wire, told = server(most=2)
    wire.receive(headers(1) + headers(3) + headers(5) + headers(7, OPEN) + data(7, b"x"), 0.0)
    assert [event[1] for event in told.events] == [1, 3]
    refused = [(number, payload) for kind, _, number, payload in sent(wire) if kind == RST_STREAM]
    assert refused == [(5, four_bytes(REFUSED_STREAM)), (7, four_bytes(REFUSED_STREAM))]


def test_a_stream_that_was_reset_counts_until_it_is_released() -> None:
    wire, told = server(most=1)
    wire.receive(headers(1) + frame(RST_STREAM, 0, ONE, four_bytes(CANCEL)) + headers(3), 0.0)
    assert told.events == [("headers", 1, b"/", True), ("reset", 1, CANCEL)]
    wire.release(told.streams[1])
    wire.receive(headers(5), 0.0)
    assert told.events[-1] == ("headers", 5, b"/", True)


def test_content_before_our_settings_are_known_is_refused_where_they_allow_less() -> None:
    told = Told()
    wire = Http2Connection(told, True, 8192, 32768)
    wire.begin([], 100, 128)
    wire.receive(PREFACE + settings_frame([]) + headers(1) + headers(3, OPEN), 0.0)
    assert [event[1] for event in told.events if event[0] == "headers"] == [1]
    assert (RST_STREAM, 0, 3, four_bytes(REFUSED_STREAM)) in sent(wire)


def test_nothing_begins_after_goaway() -> None:
    wire, told = server()
    wire.receive(headers(1, OPEN), 0.0)
    wire.goaway()
    wire.goaway()
    assert sent(wire) == [(GOAWAY, 0, 0, ONE + four_bytes(NO_ERROR))]
    wire.receive(headers(3) + data(1, b"x", END_STREAM), 0.0)
    assert told.events[-1] == ("data", 1, b"x", True) and 3 not in told.streams


# -- floods --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "one",
    [
        frame(PING, 0, ZERO, bytes(8)),
        settings_frame([]),
        settings_frame([(4, 65535)]),
        frame(PRIORITY, 0, four_bytes(9), bytes(5)),
        frame(PRIORITY_UPDATE, 0, ZERO, four_bytes(9) + b"u=1"),
        frame(GOAWAY, 0, ZERO, bytes(8)),
        frame(0x77, 0, ZERO, b""),
        window_update(0, 1),
        data(1, b""),
        data(1, b"\x03\0\0\0", PADDED),
    ],
)
def test_frames_that_bring_nothing_have_a_budget(one: bytes) -> None:
    wire, _ = server()
    wire.receive(headers(1, OPEN), 0.0)
    with pytest.raises(Http2Error) as raised:
        for _ in range(BUDGET + 2):
            wire.receive(one, 0.0)
    assert raised.value.code == ENHANCE_YOUR_CALM


def test_streams_begun_and_reset_have_one() -> None:
    """CVE-2023-44487."""
    wire, told = server()
    with pytest.raises(Http2Error) as raised:
        for number in range(1, 4 * BUDGET, 2):
            wire.receive(headers(number) + frame(RST_STREAM, 0, four_bytes(number), four_bytes(CANCEL)), 0.0)
            wire.release(told.streams[number])
    assert raised.value.code == ENHANCE_YOUR_CALM


def test_time_and_responses_refill_the_budget() -> None:
    wire, told = server()
    ping = frame(PING, 0, ZERO, bytes(8))
    for _ in range(BUDGET - 1):
        wire.receive(ping, 0.0)
    for second in range(1, 50):
        wire.receive(ping, float(second))
    for number in range(1, 400, 2):
        wire.receive(headers(number) + 4 * ping, 49.0)
        wire.send_headers(told.streams[number], GET, True)
        wire.release(told.streams[number])


# -- windows -------------------------------------------------------------------------------------------------------------------------


def test_room_is_what_both_windows_leave() -> None:
    wire, told = server()
    wire.receive(settings_frame([(4, 100)]) + headers(1), 0.0)
    stream = told.streams[1]
    assert wire.room(stream) == 100
    wire.send_data(stream, bytes(60), 8192, False)
    assert wire.room(stream) == 40
    wire.receive(settings_frame([(4, 50)]), 0.0)
    assert wire.room(stream) == 0 and stream.window == -10
    wire.receive(window_update(1, 30), 0.0)
    assert wire.room(stream) == 20 and told.events[-1] == ("room", 1)
    wire.receive(window_update(1, 1 << 20), 0.0)
    assert wire.room(stream) == 65535 - 60


def test_long_content_goes_in_frames_of_the_size_that_is_allowed() -> None:
    wire, told = server()
    wire.receive(settings_frame([(4, 1 << 20)]) + window_update(0, 1 << 20) + headers(1), 0.0)
    sent(wire)
    wire.send_data(told.streams[1], bytes(20000), 8192, False)
    wire.send_data(told.streams[1], bytes(40000), 1 << 20, True)
    assert [(len(payload), flags) for _, flags, _, payload in sent(wire)] == [
        (8192, 0), (8192, 0), (3616, 0), (16384, 0), (16384, 0), (7232, END_STREAM),
    ]  # fmt: skip


def test_long_header_blocks_are_continued() -> None:
    wire, told = server()
    wire.receive(headers(1), 0.0)
    wire.send_headers(told.streams[1], bytes(40000), True)
    kinds = [(kind, flags, len(payload)) for kind, flags, _, payload in sent(wire)]
    assert kinds == [(HEADERS, END_STREAM, 16384), (CONTINUATION, 0, 16384), (CONTINUATION, END_HEADERS, 7232)]


def test_a_peer_with_a_smaller_table_is_told_that_none_is_used() -> None:
    """RFC 7541 section 4.2."""
    wire, told = server()
    wire.receive(settings_frame([(1, 0)]) + headers(1) + headers(3), 0.0)
    sent(wire)
    wire.send_headers(told.streams[1], b"\x88", True)
    wire.send_headers(told.streams[3], b"\x88", True)
    assert [payload for _, _, _, payload in sent(wire)] == [b"\x20\x88", b"\x88"]


def test_windows_open_as_content_is_used() -> None:
    wire, told = server(keeps=True, window=1000)
    wire.receive(headers(1, OPEN) + data(1, bytes(600)), 0.0)
    assert sent(wire) == []
    wire.consume(told.streams[1], 499)
    assert sent(wire) == []
    wire.consume(told.streams[1], 1)
    assert sent(wire) == [(WINDOW_UPDATE, 0, 1, four_bytes(500))]
    wire.enlarge(told.streams[1], 3000)
    assert sent(wire) == [(WINDOW_UPDATE, 0, 1, four_bytes(2000))]


def test_padding_counts_as_used() -> None:
    wire, told = server(window=1000)
    wire.receive(headers(1, OPEN) + data(1, b"\xffx" + bytes(255), PADDED) + data(1, b"\xffx" + bytes(255), PADDED), 0.0)
    assert sent(wire) == [(WINDOW_UPDATE, 0, 1, four_bytes(513))]
    assert [event[2] for event in told.events if event[0] == "data"] == [b"x", b"x"]


def test_content_that_nobody_takes_any_more_counts_as_used() -> None:
    wire, told = server(keeps=True, window=1 << 20)
    wire.receive(headers(1, OPEN), 0.0)
    for _ in range(15):
        wire.receive(data(1, bytes(60000)), 0.0)
    assert wire._held == 900000
    wire.release(told.streams[1])
    assert wire._held == 0


# -- two of them ---------------------------------------------------------------------------------------------------------------------


def wired(window: int = 65535) -> tuple[Http2Connection, Told, Http2Connection, Told, Callable[[], None]]:
    """A client's and a server's end, and what carries over all that they have to say."""
    theirs, ours = Told(), Told()
    client = theirs.wire = Http2Connection(theirs, False, 8192, 32768)
    host = ours.wire = Http2Connection(ours, True, 8192, 32768)
    client.begin([(2, 0)], window, 100)
    host.begin([], window, 100)

    def carry() -> None:
        while client.out or host.out:
            for one, other in ((client, host), (host, client)):
                said, one.out = b"".join(one.out), []
                other.receive(said, 0.0)

    carry()
    return client, theirs, host, ours, carry


def test_a_request_and_its_response() -> None:
    client, theirs, host, ours, carry = wired()
    stream = client.open_stream()
    client.send_headers(stream, GET, False)
    client.send_data(stream, b"question", 8192, False)
    client.send_headers(stream, encoded_fields([(b"x-sum", b"1")]), True)
    carry()
    assert ours.events[-3:] == [("headers", 1, b"/", False), ("data", 1, b"question", False), ("trailers", 1, (b"x-sum",))]
    host.send_headers(ours.streams[1], encoded_fields([(b":status", b"103")]), False)
    host.send_headers(ours.streams[1], encoded_fields([(b":status", b"200")]), False)
    host.send_data(ours.streams[1], b"answer", 8192, True)
    carry()
    assert [event[0] for event in theirs.events if event[0] != "room"] == ["headers", "headers", "data"]
    assert (stream.state, ours.streams[1].state) == (4, 4)


def test_a_client_ends_a_stream_and_begins_another() -> None:
    client, theirs, host, ours, carry = wired()
    first = client.open_stream()
    client.send_headers(first, GET, True)
    client.reset(first, CANCEL)
    carry()
    assert ours.events[-1] == ("reset", 1, CANCEL)
    second = client.open_stream()
    assert second.number == 3
    client.send_headers(second, GET, True)
    carry()
    host.goaway()
    carry()
    assert theirs.events[-1] == ("goaway", 3, NO_ERROR) and client.goaway_received


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=3000), max_size=8), st.integers(1, 200), st.integers(1, 4000))
def test_content_of_any_pieces_through_any_windows(pieces: list[bytes], cut: int, window: int) -> None:
    """What is received in any pieces comes as it was sent, and both sides agree on what is left of the windows."""
    client, _, host, ours, _ = wired(window)
    stream = client.open_stream()
    client.send_headers(stream, GET, False)
    left = b"".join(pieces)
    while True:
        count = min(client.room(stream), len(left))
        client.send_data(stream, left[:count], 1000, count == len(left))
        left = left[count:]
        said, client.out = b"".join(client.out), []
        for at in range(0, len(said), cut):
            host.receive(said[at : at + cut], 0.0)
        if not left:
            break
        said, host.out = b"".join(host.out), []
        client.receive(said, 0.0)
    assert b"".join(event[2] for event in ours.events if event[0] == "data") == b"".join(pieces)  # type: ignore[misc]
    assert ours.streams[1].held == 0


FLAGS, NUMBERS = st.sampled_from([0, 1, 4, 5, 8, 32, 255]), st.sampled_from([0, 1, 2, 3, 5, 1 << 30])
PAYLOADS = st.sampled_from([b"", GET, bytes(4), bytes(5), bytes(8), b"\xff" * 6])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(range(20)), FLAGS, NUMBERS, PAYLOADS), max_size=12))
def test_any_frames_are_taken_or_refused(given_frames: list[tuple[int, int, int, bytes]]) -> None:
    wire, told = server()
    try:
        for kind, flags, number, payload in given_frames:
            wire.receive(frame(kind, flags, four_bytes(number), payload), 0.0)
            for stream in list(told.streams.values()):
                wire.send_data(stream, b"x" * min(1, wire.room(stream)), 8192, False)
    except Http2Error as error:
        assert sent(wire)[-1][3][4:] == four_bytes(error.code)


# -- states --------------------------------------------------------------------------------------------------------------------------


def test_the_table_of_states_is_that_of_the_rfc() -> None:
    """RFC 9113 section 5.1, drawn: what leads where."""
    drawn = {
        f"{NAMES[state]} -- {EVENTS[event]} --> {NAMES[TABLE[state][event]]}"
        for state in range(len(NAMES)) for event in range(len(EVENTS)) if TABLE[state][event] != NEVER
    }  # fmt: skip
    assert drawn == {
        "idle -- HEADERS --> open",
        "open -- END_STREAM received --> half-closed (remote)",
        "open -- END_STREAM sent --> half-closed (local)",
        "open -- RST_STREAM --> closed",
        "half-closed (local) -- END_STREAM received --> closed",
        "half-closed (local) -- RST_STREAM --> closed",
        "half-closed (remote) -- END_STREAM sent --> closed",
        "half-closed (remote) -- RST_STREAM --> closed",
        "closed -- RST_STREAM --> closed",
    }
