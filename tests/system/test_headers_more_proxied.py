"""`more_…` between a client and an upstream: what each of them gets, with repeated header sections on one connection."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.system.proxied import Proxied, answer, running

LOCATIONS = {
    "out": "more_set_headers 'Server: mine' 'X-From: $upstream_http_x_inner'; more_clear_headers 'X-Inner*' X-Powered-By;"
    "add_header X-Late 1;",
    "gone": "more_clear_headers Server Date;",
    "in": "more_set_input_headers 'X-Asked: $arg_v' 'X-Trusted: yes'; more_clear_input_headers 'X-Evil*' 'C*' 'T*' 'E*';",
    "host": "more_set_input_headers 'Host: inner.example'; proxy_set_header Host $host; proxy_set_header X-Was $http_host;",
}


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxied]:
    with running(Proxied(LOCATIONS)) as ready:
        yield ready


def test_a_response_that_is_repeated_is_changed_each_time(proxy: Proxied) -> None:
    with proxy.client() as client:
        for turn in (b"1", b"2", b"3"):
            client.send(b"GET /out/ HTTP/1.1\r\nHost: a\r\n\r\n")
            with proxy.accept("out") as upstream:
                upstream.request()
                upstream.send(answer(b"x", f"X-Inner: {turn.decode()}", "X-Inner-B: 2", "X-Powered-By: PHP", "Server: inner"))
                got = client.response()
            assert (got.get(b"server"), got.get(b"x-from"), got.get(b"x-late")) == (b"mine", turn, b"1")
            assert got.get(b"x-inner") is None and got.get(b"x-inner-b") is None and got.get(b"x-powered-by") is None
            assert got.get(b"content-length") == b"1" and got.body == b"x"


def test_server_and_date_can_be_left_out(proxy: Proxied) -> None:
    with proxy.get("/gone/") as client, proxy.accept("gone") as upstream:
        upstream.request()
        upstream.send(answer(b"x"))
        got = client.response()
        assert got.get(b"server") is None and got.get(b"date") is None and got.body == b"x"


def test_an_upstream_gets_the_fields_of_each_request_although_its_section_is_repeated(proxy: Proxied) -> None:
    with proxy.client() as client:
        for value in (b"1", b"2", b"3", b""):
            section = b"Host: a\r\nX-Evil-One: 1\r\nConnection: X-Trusted, keep-alive\r\n\r\n"
            client.send(b"GET /in/?v=" + value + b" HTTP/1.1\r\n" + section)
            with proxy.accept("in") as upstream:
                got = upstream.request()
                assert (got.get(b"x-asked"), got.get(b"x-trusted"), got.get(b"x-evil-one")) == (value or None, b"yes", None)
                upstream.send(answer(b"x"))
            assert client.response().body == b"x"


@pytest.mark.parametrize(
    "body",
    [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"],
    ids=["length", "chunked"],
)
def test_no_pattern_takes_the_frame_of_a_request_away(proxy: Proxied, body: bytes) -> None:
    with proxy.client() as client:
        for _ in range(2):
            client.send(b"POST /in/ HTTP/1.1\r\nHost: a\r\nCookie: x\r\n" + body)
            with proxy.accept("in") as upstream:
                got = upstream.request()
                assert (got.body, got.get(b"cookie")) == (b"hello", None)
                upstream.send(answer(b"x"))
            assert client.response().body == b"x"


def test_the_host_of_a_request_is_another_one(proxy: Proxied) -> None:
    with proxy.get("/host/") as client, proxy.accept("host") as upstream:
        got = upstream.request()
        assert (got.get(b"host"), got.get(b"x-was")) == (b"inner.example", b"inner.example")
        upstream.send(answer(b"x"))
        assert client.response().body == b"x"
