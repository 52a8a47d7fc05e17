"""The request line and its target: what a client says, what is understood, what is refused."""

import pytest

from portico.codec.errors import ProtocolError
from portico.codec.http1_request import find_request_end, parse_request_line, split_target, valid_host


def refused(line: bytes) -> tuple[int, str]:
    with pytest.raises(ProtocolError) as caught:
        parse_request_line(line)
    return caught.value.status, caught.value.reason


@pytest.mark.parametrize(
    ("client_says", "method", "target", "version"),
    [
        (b"GET / HTTP/1.1", b"GET", b"/", 11),
        (b"POST /a?b=c HTTP/1.0", b"POST", b"/a?b=c", 10),
        (b"PROPFIND /dav HTTP/1.1", b"PROPFIND", b"/dav", 11),
        (b"M-SEARCH / HTTP/1.1", b"M-SEARCH", b"/", 11),
        (b"GET http://a.example/x HTTP/1.1", b"GET", b"http://a.example/x", 11),
        (b"GET /caf\xc3\xa9 HTTP/1.1", b"GET", b"/caf\xc3\xa9", 11),
        (b"GET / HTTP/1.7", b"GET", b"/", 11),
        (b"GET   /   HTTP/1.1  ", b"GET", b"/", 11),
    ],
)
def test_line_is_understood(client_says: bytes, method: bytes, target: bytes, version: int) -> None:
    line = parse_request_line(client_says)
    assert (line.method, line.target, line.version, line.line) == (method, target, version, client_says)


@pytest.mark.parametrize(
    ("client_says", "status", "log"),
    [
        (b"", 400, "client sent invalid method"),
        (b" GET / HTTP/1.1", 400, "client sent invalid method"),
        (b"get / HTTP/1.1", 400, "client sent invalid method"),
        (b"GET\t/ HTTP/1.1", 400, "client sent invalid method"),
        (b"G(T / HTTP/1.1", 400, "client sent invalid method"),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400, "client sent invalid method"),
        (b"GET /", 400, "client sent invalid request"),
        (b"GET /a b HTTP/1.1", 400, "client sent invalid request"),
        (b"GET /a\tb HTTP/1.1", 400, "client sent invalid request"),
        (b"GET /a\x00 HTTP/1.1", 400, "client sent invalid request"),
        (b"GET /a\x7f HTTP/1.1", 400, "client sent invalid request"),
        (b"GET / HTTP/1.1\r", 400, "client sent invalid request"),
        (b"GET / HTTP/1.1\nHost: a", 400, "client sent invalid request"),
        (b"GET / HTTP/1", 400, "client sent invalid request"),
        (b"GET / HTTP/1.", 400, "client sent invalid request"),
        (b"GET / HTTP/1.10", 400, "client sent invalid request"),
        (b"GET / HTTP/01.1", 400, "client sent invalid request"),
        (b"GET / HTTP/+1.1", 400, "client sent invalid request"),
        (b"GET / HTTP/0.9", 400, "client sent invalid request"),
        (b"GET / http/1.1", 400, "client sent invalid request"),
        (b"GET / HTTPS/1.1", 400, "client sent invalid request"),
        (b"GET / HTTP/2.0", 505, "client sent invalid version"),
        (b"GET / HTTP/20.1", 505, "client sent invalid version"),
        (b"CONNECT a.example:443 HTTP/1.1", 405, "client sent CONNECT method"),
        (b"CONNECT [::1]:443 HTTP/1.1", 405, "client sent CONNECT method"),
        (b"CONNECT a.example HTTP/1.1", 400, "client sent CONNECT without a host and a port"),
        (b"CONNECT / HTTP/1.1", 400, "client sent CONNECT without a host and a port"),
        (b"CONNECT http://a.example:1/ HTTP/1.1", 400, "client sent CONNECT without a host and a port"),
        (b"TRACE / HTTP/1.1", 405, "client sent TRACE method"),
    ],
)
def test_line_is_refused(client_says: bytes, status: int, log: str) -> None:
    assert refused(client_says) == (status, log)


@pytest.mark.parametrize(
    ("target", "host", "path", "scheme"),
    [
        (b"/", b"", b"/", b""),
        (b"/a?b=http://c/", b"", b"/a?b=http://c/", b""),
        (b"//a/b", b"", b"//a/b", b""),
        (b"http://a.example/b?c", b"a.example", b"/b?c", b"http"),
        (b"HTTP://a.example:8080", b"a.example:8080", b"/", b"http"),
        (b"http://a.example?c", b"a.example", b"/?c", b"http"),
        (b"https://[::1]:8443/x", b"[::1]:8443", b"/x", b"https"),
    ],
)
def test_target_is_split(target: bytes, host: bytes, path: bytes, scheme: bytes) -> None:
    assert split_target(target) == (host, path, scheme)


@pytest.mark.parametrize(
    "target",
    [b"*", b"a", b"a.example:443", b"http:/a", b"http:///a", b"1http://a/", b"http://a#b", b"://a/", b"?a"],
)
def test_target_is_refused(target: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        split_target(target)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [
        (b"a.example", b"a.example", b""),
        (b"A.Example:8080", b"a.example", b"8080"),
        (b"a.example.", b"a.example", b""),
        (b"a.example.:80", b"a.example", b"80"),
        (b"a_b", b"a_b", b""),
        (b"a:", b"a", b""),
        (b"127.0.0.1:80", b"127.0.0.1", b"80"),
        (b"[::1]", b"[::1]", b""),
        (b"[FE80::1]:443", b"[fe80::1]", b"443"),
    ],
)
def test_host_is_understood(host: bytes, name: bytes, port: bytes) -> None:
    assert valid_host(host) == (name, port)


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b".",
        b":80",
        b"a..b",
        b"a/b",
        b"a b",
        b"a\tb",
        b"\ta",
        b"a\\b",
        b"u@a",
        b"a:b",
        b"a:80:80",
        b"a:-1",
        b"a:123456",
        b"[::1",
        b"[]",
        b"[::1]x",
        b"[::1]:x",
        b"a[b",
        b"a]b",
        b"a,b?",
        b"a#b",
        b"a\x7f",
        b"caf\xc3\xa9",
    ],
)
def test_host_is_refused(host: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        valid_host(host)
    assert (caught.value.status, caught.value.reason) == (400, "client sent invalid host header")


def test_end_of_the_head_is_found_as_soon_as_it_has_come() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for length in range(len(head)):
        assert find_request_end(head[:length], 0) == -1
    assert find_request_end(head, 0) == len(head)
    assert find_request_end(head + b"body\r\n\r\n", len(head) - 4) == len(head)


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\nHost: a\n\n", b"GET / HTTP/1.1\nHost: a\n\r\n"])
def test_bare_line_feeds_need_not_wait_for_a_timeout(head: bytes) -> None:
    assert find_request_end(head, 0) == len(head)
