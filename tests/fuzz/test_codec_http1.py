"""Whatever the bytes, the codec gives a result or a ProtocolError, and the same however they were cut."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from portico.codec.chunked import LAST_CHUNK, ChunkedDecoder, encode_chunk
from portico.codec.errors import ProtocolError
from portico.codec.fields import HeaderOptions
from portico.codec.http1_request import (
    find_request_end,
    parse_request_fields,
    parse_request_line,
    split_target,
    valid_host,
)
from portico.codec.http1_response import find_head_end, parse_response_head

SCRAPS = st.sampled_from(
    [
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b"\0",
        b" ",
        b"\t",
        b":",
        b": ",
        b";",
        b",",
        b"0",
        b"5",
        b"5\r\n",
        b"a",
        b"ffff",
        b"0\r\n\r\n",
        b"GET ",
        b"/",
        b"http://",
        b" HTTP/1.1",
        b"HTTP/1.1 200 OK\r\n",
        b"Host: a\r\n",
        b"[::1]",
        b"..",
        b"*",
        b"Content-Length",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close, x\r\n",
        b"X_Y: z\r\n",
        b"Upgrade: w\r\n",
    ]
)
WIRE = st.one_of(
    st.binary(max_size=200), st.lists(st.one_of(SCRAPS, st.binary(max_size=4)), max_size=30).map(b"".join)
)
OPTIONS = st.builds(HeaderOptions, st.booleans(), st.booleans())


@given(WIRE)
def test_request_line(wire: bytes) -> None:
    try:
        line = parse_request_line(wire)
    except ProtocolError:
        return
    assert line.version in (10, 11)
    assert not set(line.target) & set(range(0x21))


@given(WIRE)
def test_target_and_host(wire: bytes) -> None:
    try:
        _, path, _ = split_target(wire)
        assert path.startswith(b"/")
    except ProtocolError:
        pass
    try:
        name, port = valid_host(wire)
        assert name
        assert port == b"" or port.isdigit()
    except ProtocolError:
        pass


@given(WIRE, st.sampled_from([10, 11]), OPTIONS)
def test_request_fields(wire: bytes, version: int, options: HeaderOptions) -> None:
    try:
        fields = parse_request_fields(b"Host: a\r\n" + wire, version, options)
    except ProtocolError as error:
        assert error.status in (400, 501)
        return
    assert len(fields.names) == len(fields.keys) == len(fields.values)
    assert not (fields.chunked and fields.content_length >= 0)
    # What passed can be written down again, line by line, and means the same.
    again = b"".join(
        key + b": " + value + b"\r\n" for key, value in zip(fields.keys, fields.values, strict=True)
    )
    repeated = parse_request_fields(again, version, options)
    assert (repeated.names, repeated.values) == (fields.names, fields.values)
    assert (repeated.content_length, repeated.chunked) == (fields.content_length, fields.chunked)


@given(WIRE)
def test_response_head(wire: bytes) -> None:
    for raw in (wire, b"HTTP/1.1 200 OK\r\n" + wire):
        try:
            head = parse_response_head(raw)
        except ProtocolError as error:
            assert error.status == 502
        else:
            assert 100 <= head.status <= 999
            assert not any(set(value) & {0, 10, 13} for value in [*head.keys, *head.values, head.reason])


@given(WIRE, st.integers(0, 30))
def test_end_of_head(wire: bytes, start: int) -> None:
    ends = [at + len(blank) for blank in (b"\n\n", b"\n\r\n") for at in [wire.find(blank, start)] if at >= 0]
    assert find_head_end(wire, start) == min(ends, default=-1)
    assert (find_request_end(wire, start) >= 0) == bool(ends)


def outcome(strict: bool, pieces: list[bytes]) -> tuple[object, ...]:
    decoder = ChunkedDecoder(strict, max_size=1000, max_trailers=50)
    content = b""
    try:
        for piece in pieces:
            content += b"".join(decoder.feed(piece))
    except ProtocolError as error:
        return error.status, error.reason
    return content, decoder.done, decoder.remainder, decoder.trailers, decoder.received


@given(WIRE, st.lists(st.integers(0, 200), max_size=10), st.booleans())
def test_chunked_decoder_does_not_care_how_the_bytes_come(wire: bytes, cuts: list[int], strict: bool) -> None:
    at_once = outcome(strict, [wire])
    cuts = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    in_pieces = outcome(strict, [wire[start:end] for start, end in pairwise(cuts)])
    assert in_pieces == at_once
    assert outcome(strict, [wire[at : at + 1] for at in range(len(wire))]) == at_once


@given(st.lists(st.binary(min_size=1, max_size=50)), WIRE, st.booleans())
def test_chunked_round_trip(parts: list[bytes], rest: bytes, strict: bool) -> None:
    decoder = ChunkedDecoder(strict)
    wire = b"".join(encode_chunk(part) for part in parts) + LAST_CHUNK + rest
    assert b"".join(decoder.feed(wire)) == b"".join(parts)
    assert (decoder.done, decoder.remainder) == (True, rest)
