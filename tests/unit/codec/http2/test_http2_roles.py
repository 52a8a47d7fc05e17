"""What is a mistake in one role and not in the other, and what is none because it was on its way."""

from __future__ import annotations

import pytest
from tests.unit.codec.http2.endpoint import (
    GET,
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

from portico.codec.http2.errors import CANCEL, NO_ERROR, PROTOCOL_ERROR, STREAM_CLOSED, Http2Error
from portico.codec.http2.frames import (
    CONNECTION,
    ENABLE_PUSH,
    END_STREAM,
    GOAWAY,
    HEADER_TABLE_SIZE,
    PADDED,
    PING,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    four_bytes,
    frame,
    settings_frame,
)
from portico.codec.http2.hpack import encoded_field

pytestmark = not_compiled

OK = encoded_field(b":status", b"200")


def client(window: int = 65535) -> Endpoint:
    """A client's end with a request on its way, stream 1."""
    one = Endpoint(False, window)
    one.receive(settings_frame([]))
    stream = one.wire.open_stream()
    one.streams[1] = stream
    one.wire.send_headers(stream, GET, True)
    one.take()
    return one


def code_of(one: Endpoint, received: bytes) -> int:
    with pytest.raises(Http2Error) as raised:
        one.receive(received)
    kind, _, number, payload = one.frames()[-1]
    assert (kind, number, payload[4:]) == (GOAWAY, 0, four_bytes(raised.value.code))
    return raised.value.code


# -- a client ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("received", "code"),
    [
        pytest.param(frame(PUSH_PROMISE, 4, four_bytes(1), four_bytes(2) + GET), PROTOCOL_ERROR, id="a push"),
        pytest.param(settings_frame([(ENABLE_PUSH, 1)]), PROTOCOL_ERROR, id="a server that enables push"),
        pytest.param(headers(2, WHOLE, OK), PROTOCOL_ERROR, id="a response on a stream of the server's"),
        pytest.param(headers(3, WHOLE, OK), PROTOCOL_ERROR, id="a response without a request"),
        pytest.param(data(3, b"x"), PROTOCOL_ERROR, id="content without a request"),
        pytest.param(window_update(3, 1), PROTOCOL_ERROR, id="a window of a stream that has not begun"),
        pytest.param(rst_stream(3, CANCEL), PROTOCOL_ERROR, id="the end of a stream that has not begun"),
        pytest.param(frame(PRIORITY_UPDATE, 0, CONNECTION, four_bytes(1) + b"u=1"), PROTOCOL_ERROR, id="a wish"),
        pytest.param(headers(1, WHOLE, OK) + headers(1, WHOLE, OK), STREAM_CLOSED, id="two responses"),
        pytest.param(headers(1, WHOLE, OK) + data(1, b"x"), STREAM_CLOSED, id="content behind the end"),
    ],
)
def test_mistakes_of_a_server(received: bytes, code: int) -> None:
    assert code_of(client(), received) == code


def test_a_client_may_be_told_what_a_server_may_not() -> None:
    one = client()
    one.receive(settings_frame([(ENABLE_PUSH, 0)]) + headers(1, OPEN, OK) + headers(1, OPEN, OK) + data(1, b"x", END_STREAM))
    assert [event[0] for event in one.events] == ["headers", "headers", "data"] and one.ended == {1}


def test_a_response_to_a_request_that_was_given_up_is_passed_over() -> None:
    one = client()
    one.wire.release(one.streams[1])
    assert [each[0] for each in one.frames()] == [RST_STREAM]
    one.receive(headers(1, OPEN, OK) + data(1, bytes(30000)) + data(1, bytes(30000)))
    one.receive(headers(1, WHOLE, encoded_field(b"x-sum", b"1")) + frame(PING, 0, CONNECTION, bytes(8)))
    assert one.events == [] and one.wire._held == 0


def test_what_a_server_has_not_looked_at_is_told() -> None:
    one = client()
    one.receive(frame(GOAWAY, 0, CONNECTION, four_bytes(0) + four_bytes(NO_ERROR)))
    assert one.last_goaway == (0, NO_ERROR) and one.wire.goaway_received


# -- a server: frames that were on their way -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(data(3, b"content", END_STREAM), id="content"),
        pytest.param(data(3, b"\3content\0\0\0", PADDED), id="padded content"),
        pytest.param(headers(3), id="trailers"),
        pytest.param(window_update(3, 1000), id="a window"),
        pytest.param(rst_stream(3, CANCEL), id="a reset"),
        pytest.param(headers(5) + data(3, b"x") + rst_stream(5, CANCEL), id="another request"),
    ],
)
def test_a_request_that_crosses_our_goaway_leaves_the_others_alone(later: bytes) -> None:
    """RFC 9113 section 6.8: it is passed over, and the requests before it are served to their end."""
    one = server()
    one.receive(headers(1, OPEN))
    one.wire.goaway()
    assert one.frames() == [(GOAWAY, 0, 0, four_bytes(1) + four_bytes(NO_ERROR))]
    one.receive(headers(3, OPEN) + later + data(1, b"x", END_STREAM))
    assert one.events == [("headers", 1), ("data", 1, 1)] and 3 not in one.wire.open
    assert one.frames() == []


def test_content_that_crosses_our_goaway_counts_for_the_connection() -> None:
    one = server()
    one.receive(headers(1, OPEN))
    one.wire.goaway()
    one.receive(headers(3, OPEN))
    one.take()
    for _ in range(40):
        one.receive(data(3, bytes(16384)))
    assert [each[:3] for each in one.frames()] == [(WINDOW_UPDATE, 0, 0)]


def test_a_stream_that_was_reset_long_ago_may_still_have_frames_on_their_way() -> None:
    """Its owner works on, and 300 others were reset since."""
    one = server()
    one.receive(headers(1, OPEN))
    one.wire.reset(one.streams[1], CANCEL)
    for number in range(3, 603, 2):
        one.receive(headers(number, OPEN), float(number))
        one.wire.reset(one.streams[number], CANCEL)
        one.wire.release(one.streams[number])
    one.receive(data(1, b"late") + headers(1), 1000.0)
    assert one.events[-1] == ("headers", 601)


# -- settings and windows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[0], [0, 4096], [100, 65536]])
def test_a_table_that_was_smaller_for_a_while_is_not_used(sizes: list[int]) -> None:
    """RFC 7541 section 4.2: the least of the sizes is to be acknowledged, also when a larger one follows before the next block."""
    one = server()
    one.receive(b"".join([settings_frame([(HEADER_TABLE_SIZE, size)]) for size in sizes]) + headers(1) + headers(3))
    one.take()
    for number in (1, 3):
        one.wire.send_headers(one.streams[number], OK, True)
    assert [payload for _, _, _, payload in one.frames()] == [b"\x20" + OK, OK]


def test_a_stream_without_a_window_is_given_none_by_the_end_of_its_content() -> None:
    """`http2_body_preread_size 0`: a step of 0 would be a mistake of ours."""
    one = server(window=0)
    one.receive(headers(1, OPEN) + data(1, b""))
    one.wire.consume(one.streams[1], 0)
    assert one.frames() == []
    one.wire.enlarge(one.streams[1], 5)
    one.receive(data(1, b"hello", END_STREAM))
    assert one.content[1] == b"hello"
    assert [each[0] for each in one.frames()] == [WINDOW_UPDATE]


def test_windows_that_become_negative_open_again() -> None:
    """RFC 9113 section 6.9.2."""
    one = server()
    one.receive(headers(1))
    stream = one.streams[1]
    one.wire.send_headers(stream, OK, False)
    one.wire.send_data(stream, bytes(60000), 8192, False)
    one.receive(settings_frame([(4, 10000)]))
    assert (stream.window, one.wire.room(stream)) == (-50000, 0)
    one.receive(window_update(1, 49999))
    assert one.wire.room(stream) == 0
    one.receive(settings_frame([(4, 10011)]))
    assert one.wire.room(stream) == 10


def test_settings_are_acknowledged_in_order() -> None:
    one = server()
    one.receive(settings_frame([(4, 1)]) + frame(PING, 0, CONNECTION, b"a" * 8) + settings_frame([]))
    assert [each[0] for each in one.frames()] == [SETTINGS, PING, SETTINGS]
