"""What a `ResponseHook` sees of a request, and what it may do: passing/hook.py has the rules."""

from __future__ import annotations

import pytest
from tests.unit.passing.conftest import MakeProxy
from tests.unit.passing.prepared_upstream import ProxySite

import portico.passing.hook
from portico.codec.http1_response import ResponseHead
from portico.http.errors import BodyCutShort, HTTPError
from portico.http.request import Request
from portico.http.response import BytesBody, Response
from portico.passing.failure import ERROR, INVALID_HEADER
from portico.passing.handler import ProxyHandler
from portico.passing.hook import ResponseHook, Sink
from portico.passing.protocol import UpstreamRequest

COMPILED = str(portico.passing.hook.__file__).endswith(".so")
pytestmark = pytest.mark.skipif(COMPILED, reason="an interpreted class cannot inherit from a compiled one")

PLAIN = "location / { proxy_pass http://app; }"
OK = "HTTP/1.1 200 OK\nContent-Length: 5\nX-Own: 1\n\nhello"


class NotedSink(Sink):
    """Notes what it gets."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def write(self, data: bytes) -> None:
        self.calls.append(data)

    def finish(self) -> None:
        self.calls.append("finish")

    def abort(self) -> None:
        self.calls.append("abort")

    def is_wanted(self) -> bool:
        return True


class NotedHook(ResponseHook):
    """Notes how it is called, and does what the test says."""

    def __init__(self, site: ProxySite) -> None:
        self.calls: list[str] = []
        self.method = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.seen_method: tuple[bytes, bool] = (b"", False)
        self.substitute: Response | None = None
        self.wants_body = True
        self.failure: Exception | None = None
        self.condition = 0
        self.noted = NotedSink()
        self.sink_method = b""
        self.raw = b""
        handler = site.handler()
        assert isinstance(handler, ProxyHandler)
        handler.attach(self)

    def before_send(self, request: Request, asked: UpstreamRequest) -> None:
        self.calls.append("before_send")
        self.seen_method = (asked.method, asked.method_is_set)
        asked.method = self.method or asked.method
        asked.fields = self.fields

    def on_failure(self, request: Request, condition: int) -> None:
        self.calls.append("on_failure")
        self.condition = condition

    def on_head(self, request: Request, head: ResponseHead) -> Response | None:
        self.calls.append(f"on_head {head.status}")
        return self.substitute

    def on_intercepted(self, request: Request, head: ResponseHead) -> None:
        self.calls.append("on_intercepted")

    def sink(self, request: Request, head: ResponseHead, method: bytes) -> Sink | None:
        self.calls.append("sink")
        self.sink_method = method
        self.raw = head.raw
        return self.noted if self.wants_body else None

    def on_response(self, request: Request, head: ResponseHead, response: Response) -> None:
        self.calls.append("on_response")
        if self.failure is not None:
            raise self.failure
        response.add(b"X-Hook", b"was here")


def test_a_response_that_is_passed_on(make_proxy: MakeProxy) -> None:
    site = make_proxy(PLAIN)
    hook = NotedHook(site)
    answer = site.get(OK)
    assert (answer.status, answer.body, answer.get("X-Own"), answer.get("X-Hook")) == (200, b"hello", "1", "was here")
    assert hook.calls == ["before_send", "on_head 200", "sink", "on_response"]
    assert hook.noted.calls == [b"hello", "finish"]
    assert hook.raw == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Own: 1\r\n\r\n"


def test_without_a_sink_the_response_is_left_alone(make_proxy: MakeProxy) -> None:
    site = make_proxy(PLAIN)
    hook = NotedHook(site)
    hook.wants_body = False
    assert site.get(OK).get("X-Hook") is None
    assert hook.calls == ["before_send", "on_head 200", "sink"] and hook.noted.calls == []


def test_before_send_changes_the_request(make_proxy: MakeProxy) -> None:
    site = make_proxy(PLAIN)
    hook = NotedHook(site)
    hook.method = b"GET"
    hook.fields = [(b"If-None-Match", b'"a"'), (b"If-Range", b'"b"')]
    site.get(OK, fields="X-Client: 1", method="HEAD")
    lines = site.received().split("\n")
    assert lines[0] == "GET / HTTP/1.1" and lines[1:3] == ['If-None-Match: "a"', 'If-Range: "b"'] and "X-Client: 1" in lines
    assert hook.seen_method == (b"HEAD", False) and hook.sink_method == b"GET"


def test_a_method_that_the_configuration_sets(make_proxy: MakeProxy) -> None:
    site = make_proxy("location / { proxy_method PUT; proxy_pass http://app; }")
    hook = NotedHook(site)
    site.get(OK)
    assert hook.seen_method == (b"PUT", True) and site.received().startswith("PUT / HTTP/1.1\n")


@pytest.mark.parametrize(
    ("response", "method", "reused"),
    [
        ("HTTP/1.1 304 Not Modified\n\n", "GET", True),
        ("HTTP/1.1 304 Not Modified\nConnection: close\n\n", "GET", False),
        ("HTTP/1.1 304 Not Modified\nContent-Length: 5\n\n", "GET", False),  # which may come, as the beginning of the next response
        ("HTTP/1.1 304 Not Modified\nTransfer-Encoding: chunked\n\n", "GET", False),
        ("HTTP/1.1 500 Oh\nContent-Length: 0\n\n", "GET", False),  # nobody reads it
        ("HTTP/1.1 500 Oh\nContent-Length: 5\n\n", "HEAD", True),
    ],
)
def test_another_response_in_its_place(make_proxy: MakeProxy, response: str, method: str, reused: bool) -> None:
    site = make_proxy(PLAIN)
    hook = NotedHook(site)
    hook.substitute = Response(203, BytesBody(b"stored"))
    answer = site.get(response, method=method)
    assert (answer.status, answer.body) == (203, b"stored")
    assert len(hook.calls) == 2 and hook.noted.calls == []
    assert site.is_closed() is not reused


def test_no_response(make_proxy: MakeProxy) -> None:
    site = make_proxy(PLAIN)
    hook = NotedHook(site)
    assert site.ask("/").status == 502
    assert hook.calls == ["before_send", "on_failure"] and hook.condition == ERROR
    hook.calls = []
    assert site.get("nonsense\n\n").status == 502
    assert hook.calls == ["before_send", "on_failure"] and hook.condition == INVALID_HEADER


def test_an_error_page_in_its_place(make_proxy: MakeProxy) -> None:
    site = make_proxy(
        "location / { proxy_pass http://app; proxy_intercept_errors on; error_page 404 /page; } location /page { return 200 page; }"
    )
    hook = NotedHook(site)
    answer = site.get("HTTP/1.1 404 No\nContent-Length: 5\n\nhello")
    assert (answer.status, answer.body) == (404, b"page")
    assert hook.calls == ["before_send", "on_head 404", "on_intercepted"] and site.is_closed()


def test_another_location_in_its_place(make_proxy: MakeProxy) -> None:
    site = make_proxy(PLAIN + "location /other { return 200 other; }")
    hook = NotedHook(site)
    answer = site.get("HTTP/1.1 200 OK\nX-Accel-Redirect: /other\nSet-Cookie: a=b\nX-Own: 1\nContent-Length: 5\n\nhello")
    assert (answer.body, answer.get("Set-Cookie"), answer.get("X-Own")) == (b"other", "a=b", None)
    assert hook.calls == ["before_send", "on_head 200"]


@pytest.mark.parametrize(
    ("directive", "field", "stored"),
    [
        ("", "X-Accel-Buffering: no", False), ("proxy_buffering off;", "X: y", False),
        ("proxy_buffering off;", "X-Accel-Buffering: yes", True),
    ],
)  # fmt: skip
def test_only_what_is_buffered_has_a_sink(make_proxy: MakeProxy, directive: str, field: str, stored: bool) -> None:
    site = make_proxy(f"location / {{ {directive} proxy_pass http://app; }}")
    hook = NotedHook(site)
    assert site.get(f"HTTP/1.1 200 OK\nContent-Length: 5\n{field}\n\nhello").body == b"hello"
    assert ("sink" in hook.calls) is stored


def test_a_response_to_head_has_no_body_to_store(make_proxy: MakeProxy) -> None:
    site = make_proxy(PLAIN)
    hook = NotedHook(site)
    answer = site.get("HTTP/1.1 200 OK\nContent-Length: 5\n\n", method="HEAD")
    assert (answer.body, answer.get("Content-Length"), answer.get("X-Hook")) == (b"", "5", None)
    assert hook.noted.calls == ["abort"] and not site.is_closed()


def test_a_204_is_stored_without_a_body(make_proxy: MakeProxy) -> None:
    site = make_proxy(PLAIN)
    hook = NotedHook(site)
    assert site.get("HTTP/1.1 204 No Content\n\n").status == 204
    assert hook.noted.calls == ["finish"] and not site.is_closed()


def test_the_client_asks_with_head_the_upstream_is_asked_with_get(make_proxy: MakeProxy) -> None:
    """The whole body is fetched for the sink, though the client gets none of it."""
    site = make_proxy(PLAIN)
    hook = NotedHook(site)
    hook.method = b"GET"
    site.get(OK, method="HEAD")
    assert hook.noted.calls == [b"hello", "finish"]
    hook.wants_body = False
    site.get(OK, method="HEAD")
    assert site.is_closed()  # nobody wants the body


def test_a_body_in_pieces(make_proxy: MakeProxy) -> None:
    site = make_proxy(PLAIN)
    hook = NotedHook(site)
    site.prepare("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3\nhel\n", "2\nlo\n", "0\n\n")
    assert site.ask("/").body == b"hello"
    assert hook.noted.calls == [b"hel", b"lo", "finish"]
    assert not site.is_closed()


def test_a_truncated_body(make_proxy: MakeProxy) -> None:
    site = make_proxy(PLAIN)
    hook = NotedHook(site)
    site.prepare("HTTP/1.1 200 OK\nContent-Length: 10\n\nhel")
    site.end()
    with pytest.raises(BodyCutShort):
        site.ask("/")
    assert hook.noted.calls == [b"hel", "abort"] and site.is_closed()


def test_a_sink_ends_when_the_response_cannot_be_made(make_proxy: MakeProxy) -> None:
    site = make_proxy(PLAIN)
    hook = NotedHook(site)
    hook.failure = HTTPError(500)
    site.prepare("HTTP/1.1 200 OK\nContent-Length: 10\n\nhel")
    assert site.ask("/").status == 500
    assert hook.noted.calls == ["abort"] and site.is_closed()


def test_there_is_one_at_most(make_proxy: MakeProxy) -> None:
    site = make_proxy(PLAIN)
    NotedHook(site)
    with pytest.raises(AssertionError):
        NotedHook(site)
