"""`early_hints`: 103 of an upstream on its way to the client, or not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.system.proxied import Proxied, answer, running

LOCATIONS = {
    "on": "early_hints $http_x_hints; proxy_hide_header X-Secret;",
    "off": "",
    "kept": "early_hints 1; proxy_cache one; proxy_cache_valid 1h;",
}
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-Secret: s\r\nConnection: x-own\r\nX-Own: o\r\n\r\n"


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxied]:
    with running(Proxied(LOCATIONS, http="proxy_cache_path @folder@/cache keys_zone=one:64k;")) as made:
        yield made


def test_hints_come_before_the_answer(proxy: Proxied) -> None:
    with proxy.get("/on/a", "X-Hints: 1") as client:
        upstream = proxy.accept("on")
        upstream.request()
        upstream.send(HINTS)
        hints = client.head()
        assert hints.start == b"HTTP/1.1 103 Early Hints"
        assert hints.headers == [(b"Link", b"</a.css>; rel=preload")]
        upstream.send(HINTS + answer(b"body"))
        assert client.head().status == 103
        assert client.response().body == b"body"
        upstream.close()


@pytest.mark.parametrize(
    ("target", "field", "version"), [("/on/a", "X-Hints: 0", "1.1"), ("/on/a", "X-Other: 1", "1.1"), ("/off/a", "X-Hints: 1", "1.1"),
                                     ("/on/a", "X-Hints: 1", "1.0")],
)  # fmt: skip
def test_no_hints_for_who_does_not_want_them(proxy: Proxied, target: str, field: str, version: str) -> None:
    with proxy.client() as client:
        client.send(f"GET {target} HTTP/{version}\r\nHost: a\r\n{field}\r\n\r\n".encode())
        upstream = proxy.accept(target.split("/")[1])
        upstream.request()
        upstream.send(HINTS + answer(b"body", "Connection: close"))
        message = client.response()
        assert message.status == 200 and message.body == b"body"
        upstream.close()


def test_a_client_that_leaves_while_it_gets_hints(proxy: Proxied) -> None:
    with proxy.get("/on/gone", "X-Hints: 1") as client:
        upstream = proxy.accept("on")
        upstream.request()
        client.reset()
    upstream.send(HINTS)
    assert upstream.ended()


def test_hints_are_not_kept(proxy: Proxied) -> None:
    with proxy.get("/kept/a") as client:
        upstream = proxy.accept("kept")
        upstream.request()
        upstream.send(HINTS + answer(b"body"))
        assert client.head().status == 103
        assert client.response().body == b"body"
    assert proxy.fetch("/kept/a").body == b"body"
