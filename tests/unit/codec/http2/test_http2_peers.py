"""The library `h2` as the other end, in both roles, and as a second opinion on what breaks the protocol."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.codec.http2.endpoint import (
    GET,
    OPEN,
    REQUEST,
    WHOLE,
    Endpoint,
    Field,
    data,
    frames_of,
    headers,
    not_compiled,
    rst_stream,
    window_update,
)

from portico.codec.http2.errors import CANCEL, PROTOCOL_ERROR, Http2Error
from portico.codec.http2.frames import (
    ACK,
    CONNECTION,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    four_bytes,
    frame,
    settings_frame,
)
from portico.codec.http2.hpack import encoded_fields
from portico.codec.http2.states import CLOSED

pytestmark = not_compiled

POST: list[Field] = [(b":method", b"POST"), *REQUEST[1:]]
OK: list[Field] = [(b":status", b"200"), (b"server", b"s")]
INTERIM: list[Field] = [(b":status", b"103"), (b"link", b"</a>")]
TRAILERS: list[Field] = [(b"x-sum", b"1")]


class Other:
    """An `h2` connection, what it was told of each stream, and the way between it and an `Endpoint`."""

    def __init__(self, one: Endpoint, is_client: bool) -> None:
        self.one = one
        config = h2.config.H2Configuration(client_side=is_client, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.lists: dict[int, list[list[Field]]] = {}
        self.content: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.goaway: tuple[int, int] | None = None

    def exchange(self, cut: int = 1 << 20) -> None:
        """Carry what both have sent, in pieces of `cut` bytes, until they have nothing more to say."""
        while True:
            mine, theirs = self.one.take(), self.h2.data_to_send()
            if not mine and not theirs:
                return
            for at in range(0, len(theirs), cut):
                self.one.receive(theirs[at : at + cut])
            for at in range(0, len(mine), cut):
                for event in self.h2.receive_data(mine[at : at + cut]):
                    self.note(event)

    def note(self, event: h2.events.Event) -> None:
        if isinstance(
            event,
            h2.events.RequestReceived
            | h2.events.ResponseReceived
            | h2.events.InformationalResponseReceived
            | h2.events.TrailersReceived,
        ):
            fields = [(bytes(name), bytes(value)) for name, value in event.headers]
            self.lists.setdefault(event.stream_id, []).append(fields)
        elif isinstance(event, h2.events.DataReceived):
            self.content[event.stream_id] = self.content.get(event.stream_id, b"") + event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.resets[event.stream_id] = int(event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = (event.last_stream_id, int(event.error_code))

    def send(self, number: int, content: bytes, padding: int | None, cut: int) -> None:
        """Send content through whatever windows there are."""
        while content:
            room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
            count = min(len(content), room - (0 if padding is None else padding + 1))
            if count <= 0:
                padding = None
                count = min(len(content), room)
            assert count > 0, "the window does not open again"
            self.h2.send_data(number, content[:count], pad_length=padding)
            content = content[count:]
            self.exchange(cut)


CUTS = st.sampled_from([50, 1000, 1 << 20])
CONTENTS = st.one_of(st.binary(max_size=50), st.sampled_from([b"x" * 20000, b"y" * 80000]))
REQUESTS = st.lists(
    st.tuples(CONTENTS, st.sampled_from([None, 0, 10, 255]), st.booleans(), CONTENTS, st.booleans(), st.booleans()), max_size=4
)
THEIR_SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: st.sampled_from([1000, 65535, 1 << 20]),
        h2.settings.SettingCodes.MAX_FRAME_SIZE: st.sampled_from([16384, 100000]),
        h2.settings.SettingCodes.HEADER_TABLE_SIZE: st.sampled_from([0, 100, 8192]),
    },
)


def send_all(one: Endpoint, other: Other, number: int, content: bytes, ended: bool, cut: int) -> None:
    """Send content of ours through whatever windows there are."""
    stream = one.streams[number]
    left = content
    while True:
        count = min(one.wire.room(stream), len(left), 100000)
        if count or not left:
            one.wire.send_data(stream, left[:count], 8192, ended and count == len(left))
        left = left[count:]
        other.exchange(cut)
        if not left:
            return


@settings(max_examples=60)
@given(REQUESTS, THEIR_SETTINGS, st.sampled_from([100, 65535, 1 << 20]), CUTS)
def test_a_client_of_the_other_library(
    requests: list[tuple[bytes, int | None, bool, bytes, bool, bool]], theirs: dict[int, int], window: int, cut: int
) -> None:
    one = Endpoint(True, window)
    other = Other(one, True)
    other.exchange(cut)
    for question, padding, asks_trailers, content, interim, trailers in requests:
        other.h2.update_settings(theirs)
        number = other.h2.get_next_available_stream_id()
        other.h2.send_headers(number, POST)
        other.exchange(cut)
        other.send(number, question, padding, cut)
        if asks_trailers:
            other.h2.send_headers(number, TRAILERS, end_stream=True)
        else:
            other.h2.end_stream(number)
        other.exchange(cut)
        assert (one.lists[number], bytes(one.content.get(number, b""))) == ([POST, TRAILERS] if asks_trailers else [POST], question)
        assert number in one.ended
        stream = one.streams[number]
        if interim:
            one.wire.send_headers(stream, encoded_fields(INTERIM), False)
        one.wire.send_headers(stream, encoded_fields(OK), False)
        other.exchange(cut)
        send_all(one, other, number, content, not trailers, cut)
        if trailers:
            one.wire.send_headers(stream, encoded_fields(TRAILERS), True)
        one.wire.release(stream)
        other.exchange(cut)
        expected = [*([INTERIM] if interim else []), OK, *([TRAILERS] if trailers else [])]
        assert (other.lists[number], other.content.get(number, b"")) == (expected, content)
        assert number in other.ended and other.resets == {}
    one.wire.goaway()
    other.exchange(cut)
    assert other.goaway == (max(one.streams, default=0), 0)


@settings(max_examples=60)
@given(REQUESTS, THEIR_SETTINGS, st.sampled_from([100, 65535, 1 << 20]), CUTS)
def test_a_server_of_the_other_library(
    requests: list[tuple[bytes, int | None, bool, bytes, bool, bool]], theirs: dict[int, int], window: int, cut: int
) -> None:
    one = Endpoint(False, window)
    other = Other(one, False)
    other.exchange(cut)
    for question, padding, asks_trailers, content, interim, trailers in requests:
        other.h2.update_settings(theirs)
        other.exchange(cut)
        stream = one.wire.open_stream()
        number = stream.number
        one.streams[number] = stream
        one.wire.send_headers(stream, encoded_fields(POST), False)
        other.exchange(cut)
        send_all(one, other, number, question, not asks_trailers, cut)
        if asks_trailers:
            one.wire.send_headers(stream, encoded_fields(TRAILERS), True)
        other.exchange(cut)
        assert (other.lists[number], other.content.get(number, b"")) == ([POST, TRAILERS] if asks_trailers else [POST], question)
        if interim:
            other.h2.send_headers(number, INTERIM)
        other.h2.send_headers(number, OK)
        other.send(number, content, padding, cut)
        if trailers:
            other.h2.send_headers(number, TRAILERS, end_stream=True)
        else:
            other.h2.end_stream(number)
        other.exchange(cut)
        expected = [*([INTERIM] if interim else []), OK, *([TRAILERS] if trailers else [])]
        assert (one.lists[number], bytes(one.content.get(number, b""))) == (expected, content)
        assert number in one.ended and stream.state == CLOSED
        one.wire.release(stream)
    other.h2.close_connection()
    other.exchange(cut)
    assert one.last_goaway == (max(one.streams, default=0), 0)


def test_either_may_reset() -> None:
    one = Endpoint(True)
    other = Other(one, True)
    for number in (1, 3):
        other.h2.send_headers(number, POST)
    other.exchange()
    other.h2.reset_stream(1, h2.errors.ErrorCodes.CANCEL)
    one.wire.reset(one.streams[3], CANCEL)
    other.exchange()
    assert (one.resets, other.resets) == ({1: CANCEL}, {3: CANCEL})


# -- a second opinion ----------------------------------------------------------------------------------------------------------------

PRELUDE = PREFACE + settings_frame([]) + frame(SETTINGS, ACK, CONNECTION, b"")
NUMBERS = st.sampled_from([1, 3, 5])
ONE = four_bytes(1)
FRAMES = st.one_of(
    st.builds(headers, NUMBERS, st.sampled_from([OPEN, WHOLE]), st.just(GET)),
    st.builds(data, NUMBERS, st.sampled_from([b"", b"abc"]), st.sampled_from([0, END_STREAM])),
    st.builds(data, NUMBERS, st.sampled_from([b"\1abc\0", b"\0", b"\x09a"]), st.just(PADDED)),
    st.builds(window_update, st.sampled_from([0, 1, 3]), st.sampled_from([0, 1, 1000, (1 << 31) - 1])),
    st.builds(rst_stream, NUMBERS, st.just(CANCEL)),
    st.builds(frame, st.just(PING), st.sampled_from([0, ACK]), st.sampled_from([CONNECTION, ONE]), st.sampled_from([bytes(8), b"x"])),
    st.builds(settings_frame, st.sampled_from([[], [(4, 0)], [(4, 1000), (99, 1)], [(5, 20000)], [(2, 0)], [(1, 0)]])),
    st.builds(frame, st.just(PRIORITY), st.just(0), st.just(four_bytes(3)), st.sampled_from([b"\0\0\0\1\0", b"\0\0\0\3\0", b"x"])),
    st.just(frame(HEADERS, END_STREAM, four_bytes(1), GET[:3]) + frame(CONTINUATION, END_HEADERS, four_bytes(1), GET[3:])),
    st.just(frame(CONTINUATION, END_HEADERS, four_bytes(1), GET)),
    st.just(frame(0x99, 0xFF, four_bytes(1), b"whatever")),
)  # fmt: skip


def verdict(received: list[bytes]) -> tuple[str, int]:
    """What our server says of frames: "ok", or the code that a stream or the connection ends with first."""
    one = Endpoint(True)
    one.receive(PRELUDE)
    one.take()
    for each in received:
        try:
            one.receive(each)
        except Http2Error as error:
            return "connection", error.code
        for kind, _, _, payload in frames_of(one.take()):
            if kind == RST_STREAM:
                return "stream", int.from_bytes(payload, "big")
    return "ok", 0


def their_verdict(received: list[bytes]) -> tuple[str, int]:
    theirs = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
    theirs.initiate_connection()
    theirs.receive_data(PRELUDE)
    theirs.data_to_send()
    for each in received:
        try:
            theirs.receive_data(each)
        except h2.exceptions.ProtocolError as error:
            return "connection", int(error.error_code)
        for kind, _, _, payload in frames_of(theirs.data_to_send()):
            if kind == RST_STREAM:
                return "stream", int.from_bytes(payload, "big")
            if kind == GOAWAY:
                return "connection", int.from_bytes(payload[4:8], "big")
    return "ok", 0


@settings(max_examples=400)
@given(st.lists(FRAMES, min_size=1, max_size=6))
def test_frames_are_taken_that_the_other_library_takes(received: list[bytes]) -> None:
    """And no others. The differences: RST_STREAM of a stream that has not begun is a mistake (RFC 9113 section 6.4); what a client
    sends on a stream that it has reset is not looked at; and the fields of trailers are checked by whoever uses them.
    """
    ours, theirs = verdict(received), their_verdict(received)
    kinds = [(each[3], each[5:9]) for each in received]
    sections = [number for kind, number in kinds if kind == HEADERS]
    resets = [number for kind, number in kinds if kind == RST_STREAM]
    if theirs[0] == "ok" and ours[0] != "ok":
        assert ours == ("connection", PROTOCOL_ERROR) and resets
    elif theirs[0] != "ok" and ours[0] == "ok":
        assert set(resets) & set(sections) or len(sections) > len(set(sections))


@pytest.mark.parametrize("size", [1, 2, 5, 8, 9, 10, 23, 24, 25])
def test_input_may_be_split_anywhere(size: int) -> None:
    """All kinds of frames, in pieces of any size: what is told and what is sent is what it is for the whole."""
    received = PRELUDE + headers(1, OPEN) + data(1, b"content") + data(1, b"\3padded\0\0\0", PADDED) + headers(3)
    received += frame(HEADERS, END_STREAM, four_bytes(5), GET[:3]) + frame(CONTINUATION, END_HEADERS, four_bytes(5), GET[3:])
    received += window_update(0, 1000) + window_update(1, 1000) + frame(PING, 0, CONNECTION, b"12345678") + rst_stream(3, CANCEL)
    received += frame(0x99, 0, CONNECTION, b"x" * 300) + frame(PRIORITY, 0, four_bytes(7), bytes(5)) + data(1, b"", END_STREAM)
    received += settings_frame([(4, 1000)]) + headers(7, OPEN, encoded_fields(POST)) + headers(7, WHOLE, encoded_fields(TRAILERS))
    whole = Endpoint(True)
    whole.receive(received)
    pieces = Endpoint(True)
    for at in range(0, len(received), size):
        pieces.receive(received[at : at + size])
    assert (pieces.events, pieces.lists, pieces.content) == (whole.events, whole.lists, whole.content)
    assert pieces.take() == whole.take()
    assert not pieces.wire.lacks_headers()
