"""A client's header block: what is read from it, what is dropped, what is refused."""

import pytest

from portico.codec.errors import ProtocolError
from portico.codec.fields import HeaderOptions, RequestFields
from portico.codec.http1_request import parse_request_fields

NGINX_DEFAULTS = HeaderOptions(underscores=False, ignore_invalid=True)


def block(*lines: bytes, host: bool = True) -> bytes:
    return b"".join(line + b"\r\n" for line in ((b"Host: a.example", *lines) if host else lines))


def fields(*lines: bytes, version: int = 11, options: HeaderOptions = NGINX_DEFAULTS) -> RequestFields:
    return parse_request_fields(block(*lines), version, options)


def refused(raw: bytes, version: int = 11) -> tuple[int, str]:
    with pytest.raises(ProtocolError) as caught:
        parse_request_fields(raw, version, NGINX_DEFAULTS)
    return caught.value.status, caught.value.reason


def test_block_of_a_browser() -> None:
    raw = block(b"User-Agent: x", b"accept:*/*", b"X-Custom:   spaced   ", b"Empty:", b"Time: 10:30: now")
    got = parse_request_fields(raw, 11, NGINX_DEFAULTS)
    assert got.raw == raw
    assert got.names == [b"host", b"user-agent", b"accept", b"x-custom", b"empty", b"time"]
    assert got.keys == [b"Host", b"User-Agent", b"accept", b"X-Custom", b"Empty", b"Time"]
    assert got.values == [b"a.example", b"x", b"*/*", b"spaced", b"", b"10:30: now"]
    assert (got.host, got.content_length, got.chunked) == (b"a.example", -1, False)
    assert (got.close, got.keep_alive, got.upgrade, got.expect_continue) == (False, False, b"", False)


def test_no_headers_at_all_are_fine_in_http_1_0() -> None:
    got = parse_request_fields(b"", 10, NGINX_DEFAULTS)
    assert (got.names, got.host) == ([], None)


def test_values_are_found_by_name() -> None:
    got = fields(b"Cookie: a=1", b"X-Forwarded-For: 1.1.1.1", b"Cookie: b=2", b"X-Forwarded-For: 2.2.2.2")
    assert got.get(b"cookie") == b"a=1"
    assert got.get(b"absent") is None
    assert got.get_all(b"cookie") == [b"a=1", b"b=2"]
    assert got.get_all(b"absent") == []
    assert got.joined(b"cookie") == b"a=1; b=2"
    assert got.joined(b"x-forwarded-for") == b"1.1.1.1, 2.2.2.2"
    assert got.joined(b"host") == b"a.example"
    assert got.joined(b"absent") is None


def test_body_by_length_and_by_chunks() -> None:
    assert fields(b"Content-Length: 42").content_length == 42
    assert fields(b"Content-Length: 007").content_length == 7
    assert fields(b"Transfer-Encoding: Chunked").chunked


@pytest.mark.parametrize(
    ("value", "close", "keep_alive", "upgrade", "nominated"),
    [
        (b"close", True, False, b"", set()),
        (b"Keep-Alive", False, True, b"", set()),
        (b"keep-alive, CLOSE", True, True, b"", set()),
        (b"Upgrade", False, False, b"websocket", set()),
        (b"keep-alive,\tUpgrade , X-Hop", False, True, b"websocket", {b"x-hop"}),
        (b"closed", False, False, b"", {b"closed"}),
        (b"host, content-length, transfer-encoding, te", False, False, b"", {b"te"}),
        (b", ,", False, False, b"", set()),
    ],
)
def test_connection(
    value: bytes, close: bool, keep_alive: bool, upgrade: bytes, nominated: set[bytes]
) -> None:
    got = fields(b"Connection: " + value, b"Upgrade: websocket")
    assert (got.close, got.keep_alive, got.upgrade, set(got.connection_tokens)) == (
        close,
        keep_alive,
        upgrade,
        nominated,
    )


def test_connection_in_two_lines() -> None:
    got = fields(b"Connection: x-hop", b"Connection: close")
    assert (got.close, set(got.connection_tokens)) == (True, {b"x-hop"})


def test_expect() -> None:
    assert fields(b"Expect: 100-Continue").expect_continue
    assert not fields(b"Expect: something").expect_continue


@pytest.mark.parametrize(
    "name", [b"X_Under", b"Content_Length", b"X.Dot", b'X"Quote', b"Caf\xc3\xa9", b"(x)"]
)
def test_odd_names_are_dropped_as_nginx_drops_them(name: bytes) -> None:
    assert fields(name + b": 5", b"After: 1").names == [b"host", b"after"]


def test_underscores_in_headers() -> None:
    got = fields(b"X_Under: 1", b"X.Dot: 2", options=HeaderOptions(underscores=True, ignore_invalid=True))
    assert got.names == [b"host", b"x_under"]


def test_ignore_invalid_headers_off_keeps_what_is_odd_but_not_what_is_dangerous() -> None:
    lax = HeaderOptions(underscores=False, ignore_invalid=False)
    assert fields(b"X_Under: 1", b"X.Dot: 2", options=lax).names == [b"host", b"x_under", b"x.dot"]
    with pytest.raises(ProtocolError):
        fields(b"X-Space : 1", options=lax)


@pytest.mark.parametrize(
    ("raw", "log"),
    [
        (block(host=False), 'client sent HTTP/1.1 request without "Host" header'),
        (block(b"Accept: x", host=False), 'client sent HTTP/1.1 request without "Host" header'),
        (block(b"host: b"),
         'client sent duplicate host header: "host: b", previous value: "Host: a.example"'),
        (block(b"Host: a.example"),
         'client sent duplicate host header: "Host: a.example", previous value: "Host: a.example"'),
        (block(b"Content-Length: 1", b"Content-Length: 1"),
         'client sent duplicate header line: "Content-Length: 1", previous value: "Content-Length: 1"'),
        (block(b"Authorization: a", b"Authorization: b"),
         'client sent duplicate header line: "Authorization: b", previous value: "Authorization: a"'),
        (block(b"Content-Length: 4", b"Transfer-Encoding: chunked"),
         'client sent "Content-Length" and "Transfer-Encoding" headers at the same time'),
        (block(b"Foo : bar"), 'client sent invalid header line: "Foo : bar"'),
        (block(b"Foo: a\n Bar: b"), 'client sent invalid header line: " Bar: b"'),
    ],
)  # fmt: skip
def test_block_is_refused_in_words_of_nginx(raw: bytes, log: str) -> None:
    assert refused(raw) == (400, log)


@pytest.mark.parametrize(
    "value", [b"gzip", b"gzip, chunked", b"chunked, chunked", b"identity", b"xchunked", b"", b"\x0bchunked"]
)
def test_unknown_transfer_encoding(value: bytes) -> None:
    status, reason = refused(block(b"Transfer-Encoding: " + value))
    assert status == 501
    assert reason.startswith('client sent unknown "Transfer-Encoding": ')


def test_transfer_encoding_in_http_1_0() -> None:
    raw = block(b"Transfer-Encoding: chunked")
    assert refused(raw, 10) == (400, 'client sent HTTP/1.0 request with "Transfer-Encoding" header')


def test_a_long_bad_line_is_cut_in_the_log() -> None:
    _, reason = refused(block(b"A" * 5000))
    assert reason.endswith('A..."')
    assert len(reason) < 400


@pytest.mark.parametrize("raw", [b"Host: a.example\nFoo: 1\n", b"Host: a.example\r\nFoo: 1\n", b"Host: a.example\nFoo: 1\r\n"])
def test_a_bare_lf_ends_a_line(raw: bytes) -> None:
    """RFC 9112 section 2.2. Whoever reads requests has to know, as others may see something else."""
    fields = parse_request_fields(raw, 11, HeaderOptions())
    assert fields.names == [b"host", b"foo"] and fields.values == [b"a.example", b"1"] and fields.has_bare_lf
    assert not parse_request_fields(block(b"Foo: 1"), 11, HeaderOptions()).has_bare_lf


@pytest.mark.parametrize("value", [b"\tx", b" \t x", b"x\t", b"x \t "])
def test_white_space_around_a_value(value: bytes) -> None:
    """SP and HTAB (RFC 9110 section 5.5), in lines that are known and in others."""
    for name in (b"Referer", b"X-Field"):
        fields = parse_request_fields(block(name + b":" + value), 11, HeaderOptions())
        assert fields.get(name.lower()) == b"x"
    assert parse_request_fields(block(b"Content-Length: \t5"), 11, HeaderOptions()).content_length == 5
    assert parse_request_fields(block(b"Transfer-Encoding:\tchunked"), 11, HeaderOptions()).chunked
