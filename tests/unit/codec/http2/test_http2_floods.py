"""What costs the peer little and us much has a bound in memory and in work, and honest traffic that resembles it has none."""

from __future__ import annotations

import sys
import tracemalloc

import pytest
from tests.unit.codec.http2.endpoint import (
    OPEN,
    WHOLE,
    Endpoint,
    data,
    headers,
    not_compiled,
    rst_stream,
    server,
    window_update,
)

from portico.codec.http2.budget import BUDGET
from portico.codec.http2.connection import MOST_CONTINUATIONS, MOST_HELD, OUR_FRAME_SIZE
from portico.codec.http2.errors import CANCEL, ENHANCE_YOUR_CALM, HeadersTooLarge, Http2Error
from portico.codec.http2.frames import (
    ACK,
    CONNECTION,
    CONTINUATION,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST_WINDOW,
    PING,
    PRIORITY_UPDATE,
    SETTINGS,
    four_bytes,
    frame,
    settings_frame,
)
from portico.codec.http2.hpack import Decoder, encoded_field, encoded_fields
from portico.codec.http2.streams import Stream

pytestmark = not_compiled

OK = encoded_field(b":status", b"200")


def steps_of(one: Endpoint, received: bytes) -> int:
    """Count the lines of Python that a piece of input costs: a measure of work that does not depend on the machine."""
    count = 0

    def trace(frame: object, event: str, argument: object) -> object:
        nonlocal count
        if event == "line":
            count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        one.receive(received)
    finally:
        sys.settrace(before)
    return count


def calmed(one: Endpoint, attack: list[bytes]) -> int:
    """Return how many pieces of an attack were taken before the connection ended with ENHANCE_YOUR_CALM."""
    for count, piece in enumerate(attack):
        try:
            one.receive(piece)
        except Http2Error as error:
            assert error.code == ENHANCE_YOUR_CALM
            return count
        for number in one.resets:
            one.wire.release(one.streams[number])
    raise AssertionError("nothing has ended it")


# -- streams that are reset ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param(lambda number: rst_stream(number, CANCEL), id="reset by the client, CVE-2023-44487"),
        pytest.param(lambda number: window_update(number, 0), id="a step of 0, CVE-2025-8671"),
        pytest.param(lambda number: window_update(number, LARGEST_WINDOW), id="a window beyond its limit"),
        pytest.param(lambda number: data(number, b"x"), id="content behind the end"),
        pytest.param(lambda number: headers(number, WHOLE), id="a header section behind the end"),
    ],
)
def test_streams_that_end_by_a_reset_have_a_budget(mistake: object) -> None:
    """The server's work on a request is begun and thrown away, whoever sends the RST_STREAM."""
    assert callable(mistake)
    attack = [headers(number) + mistake(number) for number in range(1, 8 * BUDGET, 2)]
    assert calmed(server(), attack) <= BUDGET


def test_streams_beyond_the_limit_have_a_budget() -> None:
    one = server(most=1)
    one.receive(headers(1))
    assert calmed(one, [headers(number) for number in range(3, 8 * BUDGET, 2)]) <= BUDGET


def test_streams_after_goaway_have_a_budget() -> None:
    one = server()
    one.receive(headers(1))
    one.wire.goaway()
    assert calmed(one, [headers(number) for number in range(3, 8 * BUDGET, 2)]) <= BUDGET


# -- frames that bring nothing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param(frame(PING, ACK, CONNECTION, bytes(8)), id="acknowledgements of PING that was not sent"),
        pytest.param(frame(SETTINGS, ACK, CONNECTION, b""), id="acknowledgements of SETTINGS"),
        pytest.param(data(1, b""), id="empty content"),
        pytest.param(window_update(3, 1), id="small windows of a stream that is over"),
    ],
)
def test_frames_that_nobody_asked_for_have_a_budget(piece: bytes) -> None:
    one = server()
    one.receive(headers(1, OPEN) + headers(3))
    one.wire.send_headers(one.streams[3], OK, True)
    one.wire.release(one.streams[3])
    assert calmed(one, [piece] * (2 * BUDGET)) <= BUDGET + 8


def test_settings_cost_no_more_than_their_bytes() -> None:
    """One frame has room for 10,922 settings; applied to each of 128 streams in turn they would be 1.4 million steps."""
    one = server()
    one.receive(b"".join([headers(number, OPEN) for number in range(1, 256, 2)]))
    with pytest.raises(Http2Error) as raised:
        steps_of(one, settings_frame([(INITIAL_WINDOW_SIZE, 1000 + index) for index in range(10000)]))
    assert raised.value.code == ENHANCE_YOUR_CALM
    one = server()
    one.receive(b"".join([headers(number, OPEN) for number in range(1, 256, 2)]))
    many = [(INITIAL_WINDOW_SIZE, 1000 + index) for index in range(30)]
    assert steps_of(one, settings_frame(many)) < 3000
    assert {stream.window for stream in one.streams.values()} == {1029}


def test_a_priority_as_long_as_a_frame_is_not_looked_at() -> None:
    one = server()
    one.receive(frame(PRIORITY_UPDATE, 0, CONNECTION, four_bytes(1) + b"," * 60000))
    assert one.events == []
    one.receive(frame(PRIORITY_UPDATE, 0, CONNECTION, four_bytes(1) + b"u=1, i"))
    assert one.events == [("priority", 1, b"u=1, i")]


# -- memory --------------------------------------------------------------------------------------------------------------------------


def memory_after(one: Endpoint, pieces: list[bytes]) -> int:
    """Return how many bytes more are allocated when the pieces, which were there before, have been received."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for piece in pieces:
            one.receive(bytes(bytearray(piece)))
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def test_a_frame_in_tiny_pieces_needs_little_more_memory_than_its_bytes() -> None:
    one = server()
    whole = frame(0x77, 0, CONNECTION, bytes(OUR_FRAME_SIZE))[:-1]
    assert memory_after(one, [whole[at : at + 2] for at in range(0, len(whole), 2)]) < 2 * OUR_FRAME_SIZE
    one.receive(b"\0" + frame(PING, 0, CONNECTION, b"12345678"))
    assert one.frames() == [(PING, ACK, 0, b"12345678")]


def test_a_header_block_that_does_not_end_is_bounded() -> None:
    one = server()
    pieces = [frame(HEADERS, END_STREAM, four_bytes(1), bytes(7000))]
    pieces += [frame(CONTINUATION, 0, four_bytes(1), bytes(7000)) for _ in range(MOST_CONTINUATIONS)]
    assert memory_after(one, pieces) < 80000
    with pytest.raises(Http2Error) as raised:
        one.receive(frame(CONTINUATION, 0, four_bytes(1), b""))
    assert raised.value.code == ENHANCE_YOUR_CALM


def test_content_that_nobody_consumes_is_bounded_by_the_windows() -> None:
    """128 uploads at once, of which none is read: 16 KB each, and no more than two windows of the connection."""
    one = server(window=16384, keeps=True)
    for number in range(1, 256, 2):
        one.receive(headers(number, OPEN) + data(number, bytes(16384)))
    assert one.wire._held == 128 * 16384 <= 2 * MOST_HELD


def test_fields_without_name_and_value_are_bounded() -> None:
    """An entry of the dynamic table that has neither, named by one byte 60,000 times."""
    decoder = Decoder(8192, 32768)
    decoder.decode(b"\x40\x00\x00")
    assert len(decoder.decode(b"\xbe" * 4096).headers.names) == 4096
    with pytest.raises(HeadersTooLarge):
        decoder.decode(b"\xbe" * 60000)


def test_remembered_blocks_are_bounded() -> None:
    one = server()
    decoder = one.wire._decoder
    for index in range(60):
        decoder.decode(encoded_fields([(b"a", b"x" * 500 + b"%d" % index)]))
        decoder.decode(encoded_fields([(b"a", b"x" * 5000 + b"%d" % index)]))
    assert len(decoder._blocks) <= 16 and sum([len(block) for block in decoder._blocks]) <= 16 * 1024


def test_resets_that_are_remembered_are_bounded() -> None:
    one = server()
    for number in range(1, 4000, 2):
        one.receive(headers(number, OPEN), float(number))
        one.wire.reset(one.streams[number], CANCEL)
        one.wire.release(one.streams[number])
    assert len(one.wire._reset) <= 256
    one.receive(data(1, b"late") + data(3999, b"late"), 4000.0)  # neither is a mistake that ends the connection


# -- honest traffic ------------------------------------------------------------------------------------------------------------------


def response_begun() -> tuple[Endpoint, Stream]:
    one = server()
    one.receive(headers(1, OPEN))
    stream = one.streams[1]
    one.wire.send_headers(stream, OK, False)
    return one, stream


def test_a_long_conversation_of_small_messages_is_no_flood() -> None:
    """gRPC: for each message that it gets a client measures the delay (PING), and gives back the bytes, of stream and connection."""
    one, stream = response_begun()
    for _ in range(5 * BUDGET):
        one.wire.send_data(stream, bytes(25), 8192, False)
        one.receive(window_update(0, 25) + window_update(1, 25) + frame(PING, 0, CONNECTION, bytes(8)) + data(1, bytes(25)))


def test_a_response_by_the_byte_is_a_flood() -> None:
    """CVE-2019-9511: a window of one byte for each byte that is sent."""
    one = server()
    one.receive(settings_frame([(INITIAL_WINDOW_SIZE, 0)]) + headers(1))
    stream = one.streams[1]
    one.wire.send_headers(stream, OK, False)
    with pytest.raises(Http2Error) as raised:
        for _ in range(2 * BUDGET):
            one.receive(window_update(1, 1))
            one.wire.send_data(stream, bytes(one.wire.room(stream)), 8192, False)
    assert raised.value.code == ENHANCE_YOUR_CALM


def test_many_downloads_that_are_cancelled_in_the_end_are_no_flood() -> None:
    """A browser that leaves a page: fifty streams at once, every two seconds."""
    one = server()
    number = 1
    for second in range(0, 600, 2):
        for _ in range(20):
            one.receive(headers(number) + rst_stream(number, CANCEL), float(second))
            one.wire.release(one.streams[number])
            number += 2
