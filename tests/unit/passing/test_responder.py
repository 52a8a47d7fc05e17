"""From the header section of an upstream's response on: what the client gets, and what becomes of the connection."""

from __future__ import annotations

import pytest
from tests.unit.passing.conftest import MakeProxy
from tests.unit.passing.prepared_upstream import ProxySite

from portico.codec.http1_response import parse_response_head
from portico.http import phases
from portico.passing.http1.stream import may_send_body

PLAIN = "location / { proxy_pass http://app; }"


@pytest.mark.parametrize(
    ("response", "method", "may"),
    [
        ("200 OK\r\nContent-Length: 5", b"GET", True),
        ("200 OK\r\nContent-Length: 0", b"GET", True),
        ("200 OK\r\nContent-Length: 5", b"HEAD", False),  # RFC 9110 section 8.6: that of the response to GET
        ("200 OK\r\nTransfer-Encoding: chunked", b"HEAD", False),
        ("204 No Content", b"GET", False),
        ("204 No Content\r\nContent-Length: 5", b"GET", True),  # RFC 9110 section 8.6 forbids it, so who knows
        ("304 Not Modified", b"GET", False),
        ("304 Not Modified\r\nContent-Length: 0", b"GET", False),
        ("304 Not Modified\r\nContent-Length: 5", b"GET", True),
        ("304 Not Modified\r\nTransfer-Encoding: chunked", b"GET", True),
    ],
)
def test_what_may_send_a_body(response: str, method: bytes, may: bool) -> None:
    assert may_send_body(parse_response_head(f"HTTP/1.1 {response}\r\n\r\n".encode()), method) is may


# (response, method, (status, body, Content-Length) for the client, whether the connection serves another request)
RESPONSES: list[tuple[str, str, tuple[int, bytes, str | None], bool]] = [
    ("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "GET", (200, b"hello", "5"), True),
    ("HTTP/1.1 200 OK\nContent-Length: 5\nConnection: close\n\nhello", "GET", (200, b"hello", "5"), False),
    ("HTTP/1.0 200 OK\nContent-Length: 5\n\nhello", "GET", (200, b"hello", "5"), False),
    ("HTTP/1.1 200 OK\nContent-Length: 0\n\n", "GET", (200, b"", "0"), True),
    ("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello and more", "GET", (200, b"hello", "5"), False),  # nobody asked for more
    ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n", "GET", (200, b"hello", None), True),
    ("HTTP/1.1 200 OK\nContent-Length: 5\n\n", "HEAD", (200, b"", "5"), True),
    ("HTTP/1.1 204 No Content\n\n", "GET", (204, b"", None), True),
    ("HTTP/1.1 304 Not Modified\nETag: \"a\"\n\n", "GET", (304, b"", None), True),
    ("HTTP/1.1 304 Not Modified\nContent-Length: 5\n\n", "GET", (304, b"", "5"), False),
    ("HTTP/1.1 404 Not Found\nContent-Length: 5\n\nhello", "GET", (404, b"hello", "5"), True),
]


@pytest.mark.parametrize(("response", "method", "expected", "reused"), RESPONSES)
def test_responses(
    make_proxy: MakeProxy, response: str, method: str, expected: tuple[int, bytes, str | None], reused: bool
) -> None:
    site = make_proxy(PLAIN)
    answer = site.get(response, method=method)
    assert (answer.status, answer.body, answer.get("Content-Length")) == expected
    assert site.is_closed() is not reused


def test_a_body_that_ends_with_the_connection(make_proxy: MakeProxy) -> None:
    site = make_proxy(PLAIN)
    site.prepare("HTTP/1.1 200 OK\n\nhel", "lo")
    site.reactor.spawn(_end_later(site))
    assert site.ask("/").body == b"hello" and site.is_closed()


async def _end_later(site: ProxySite) -> None:
    for _ in range(3):
        await site.reactor.turn()
    site.end()


def test_a_repeated_header_section_is_finished_once(make_proxy: MakeProxy) -> None:
    """The second response of a connection with the same header section has the very fields of the first; another one has its own."""
    site = make_proxy(PLAIN)
    same = "HTTP/1.1 200 Fine\nContent-Length: 5\nX-Own: 1\nContent-Type: a/b\n\n"
    first = site.get(same + "hello")
    for body in ("HELLO", "there"):
        site.send_again(0, same + body)
        again = site.ask("/")
        assert again.body == body.encode() and again.fields == first.fields
        finished = again.response.finished
        assert finished is first.response.finished and finished is not None and finished.reason == b"Fine"
    site.send_again(0, "HTTP/1.1 200 OK\nContent-Length: 5\nX-Own: 2\n\nagain")
    assert site.ask("/").get("X-Own") == "2"


def test_101_that_nobody_asked_for(make_proxy: MakeProxy) -> None:
    site = make_proxy(PLAIN)
    assert site.get("HTTP/1.1 101 Switching Protocols\nUpgrade: x\n\n").status == 502
    assert "upstream sent 101 Switching Protocols though no upgrade was asked for" in site.log() and site.is_closed()


def test_101_to_a_request_in_the_background_is_no_failure_of_its_peer(make_proxy: MakeProxy) -> None:
    """A mirror shares the fields of the client's request, so it may ask for an upgrade; nobody uses the tunnel."""
    site = make_proxy(PLAIN)
    site.prepare("HTTP/1.1 101 Switching Protocols\nUpgrade: x\n\n")
    request = site.request("/", "Connection: upgrade\nUpgrade: x")
    request.stream = None
    with pytest.raises(StopIteration) as done:
        phases.respond(request).send(None)
    assert done.value.value.status == 101 and site.is_closed()
    assert [attempt.status for attempt in request.attempts()] == [101] and site.log() == ""


@pytest.mark.parametrize(("directive", "status"), [("", 200), ("proxy_force_ranges on;", 206)])
def test_ranges_of_an_upstream_that_has_none(make_proxy: MakeProxy, directive: str, status: int) -> None:
    site = make_proxy(f"location / {{ {directive} proxy_pass http://app; }}")
    answer = site.get("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", fields="Range: bytes=1-2")
    assert answer.status == status and answer.body == (b"el" if status == 206 else b"hello")


def test_where_x_accel_redirect_leads(make_proxy: MakeProxy) -> None:
    """Another location responds, with GET, and with the four fields that nginx carries over."""
    site = make_proxy(PLAIN + "location /other { return 200 $request_method; } location @named { return 200 $request_method; }")
    fields = "Set-Cookie: a=b\nContent-Disposition: x\nCache-Control: no-cache\nExpires: 0\nX-Own: 1\nContent-Type: a/b"
    answer = site.get(f"HTTP/1.1 200 OK\n{fields}\nX-Accel-Redirect: /other\n\n", method="PUT")
    carried = ("Set-Cookie", "Content-Disposition", "Cache-Control", "Expires")
    assert (answer.body, [answer.get(name) for name in carried]) == (b"GET", ["a=b", "x", "no-cache", "0"])
    assert answer.get("X-Own") is None and site.is_closed()
    assert site.get("HTTP/1.1 200 OK\nX-Accel-Redirect: @named\n\n", method="PUT").body == b"PUT"
    ignoring = make_proxy("location / { proxy_ignore_headers X-Accel-Redirect; proxy_pass http://app; }")
    assert ignoring.get("HTTP/1.1 200 OK\nX-Accel-Redirect: /other\nContent-Length: 5\n\nhello").body == b"hello"
