"""What happens to connections while the worker is busy, and so is found in one batch of events.

The worker is stopped meanwhile: the events stand in the batch in the order in which they happened.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.processes import stopped, wait_until
from tests.system.proxied import Proxied, answer, running

HTTP = """
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    upstream idle { server @idle@; keepalive 4; }
"""
LOCATIONS = {"old": "", "new": "", "idle": "proxy_pass http://idle;"}
GET = b"GET /%b/ HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def proxy() -> Iterator[Proxied]:
    with running(Proxied(LOCATIONS, http=HTTP)) as made:
        yield made


def test_a_new_client_does_not_get_the_events_of_an_old_one(proxy: Proxied) -> None:
    """The old client has its response and is closed, the new one gets its descriptor, and then comes the old one's reset."""
    for number in range(5):
        old = proxy.get("/old/", "Connection: close")
        with proxy.accept("old") as upstream:
            upstream.request()
            with stopped(proxy.workers()[0]):
                upstream.send(answer(b"old"))
                upstream.taken_by_kernel()
                new = proxy.get("/new/")
                new.taken_by_kernel()
                old.reset()
        with new, proxy.accept("new") as second:
            second.request()
            second.send(answer(b"new"))
            assert new.response().body == b"new"
        wait_until(lambda count=number + 1: proxy.access().count("/new/ 200 ") == count, what="the new one's line")  # type: ignore[misc]
    assert " 499 " not in "\n".join(line for line in proxy.access().splitlines() if line.startswith("/new/"))


@pytest.mark.parametrize("first", ["request", "unasked"])
def test_what_nobody_asked_for_is_no_response(proxy: Proxied, first: str) -> None:
    """Bytes come on an idle connection together with the request that would use it: nginx takes them for the response."""
    with proxy.get("/idle/") as client, proxy.accept("idle") as upstream:
        upstream.request()
        upstream.send(answer(b"good"))
        assert client.response().body == b"good"
        with stopped(proxy.workers()[0]):
            if first == "request":
                client.send(GET % b"idle").taken_by_kernel()
            upstream.send(answer(b"evil")).taken_by_kernel()
            if first == "unasked":
                client.send(GET % b"idle")
        with proxy.accept("idle") as another:
            another.request()
            another.send(answer(b"again"))
            assert client.response().body == b"again"
        assert upstream.ended()


def test_bytes_on_an_idle_connection_close_it(proxy: Proxied) -> None:
    with proxy.get("/idle/") as client, proxy.accept("idle") as upstream:
        upstream.request()
        upstream.send(answer(b"good"))
        assert client.response().body == b"good"
        upstream.send(answer(b"evil"))
        assert upstream.ended()
        client.send(GET % b"idle")
        with proxy.accept("idle") as another:
            another.request()
            another.send(answer(b"again"))
            assert client.response().body == b"again"
