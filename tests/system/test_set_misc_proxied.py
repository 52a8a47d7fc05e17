"""What `set_unescape_uri` decodes does not become another line of a request or response."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.parity.wire import Message
from tests.system.proxied import End, Proxied, answer, running

LOCATIONS = {
    "line": "set_unescape_uri $x $arg_x; proxy_pass http://@line@/a$x;",
    "fields": "set_unescape_uri $x $arg_x; proxy_set_header X $x; add_header Y $x; proxy_pass http://@fields@;",
    "away": "set_unescape_uri $x $arg_x; return 302 http://a/$x;",
    "rewritten": "set_unescape_uri $x $arg_x; rewrite ^ /a$x break; proxy_pass http://@rewritten@;",
}
EVIL = "%20HTTP/1.1%0d%0aEvil:%201%0d%0a%0d%0a"


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxied]:
    with running(Proxied(LOCATIONS)) as ready:
        yield ready


def test_fields(proxy: Proxied) -> None:
    with proxy.get(f"/fields/?x={EVIL}") as client, proxy.accept("fields") as upstream:
        assert upstream.request().get(b"evil") is None
        upstream.send(answer(b"x"))
        got = client.response()
        assert got.get(b"evil") is None and got.get(b"y") is not None and got.body == b"x"


def test_redirects(proxy: Proxied) -> None:
    got = proxy.fetch(f"/away/?x={EVIL}")
    assert got.status == 302 and got.get(b"evil") is None


@pytest.mark.parametrize("name", ["line", "rewritten"])
def test_request_lines(proxy: Proxied, name: str) -> None:
    """Either the request is refused, or the upstream gets one request line without what was in it."""
    seen: list[Message] = []

    def say(end: End, request: Message) -> None:
        seen.append(request)
        end.send(answer(b"x"))

    proxy.upstream(name).serve(say)
    got = proxy.fetch(f"/{name}/?x={EVIL}")
    assert got.status >= 400 or got.body == b"x"
    assert len(seen) == (0 if got.status >= 400 else 1)
    for request in seen:
        assert request.get(b"evil") is None and request.start.count(b" ") == 2
