"""After 101: bytes both ways, the end of one side alone, the read timeout, and what is left when either side goes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from tests.processes import wait_until
from tests.system.proxied import End, Proxied, pattern, running

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n"
UPGRADE = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
LOCATIONS = {
    "both": UPGRADE,
    "brief": UPGRADE + "proxy_read_timeout 400ms;",
    "plain": "",
    "unasked": "",
    "filtered": UPGRADE + "sub_filter a b; sub_filter_types *;",
}


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxied]:
    with running(Proxied(LOCATIONS)) as made:
        yield made


def _tunnel(proxy: Proxied, name: str, first: bytes = b"") -> tuple[End, End]:
    """(client's end, upstream's end) of a connection that has switched protocols."""
    client = proxy.get(f"/{name}/", "Connection: Upgrade", "Upgrade: echo")
    upstream = proxy.accept(name)
    upstream.request()
    upstream.send(SWITCH + first)
    assert client.head().start == b"HTTP/1.1 101 Switching Protocols"
    return client, upstream


def test_bytes_go_both_ways(proxy: Proxied) -> None:
    client, upstream = _tunnel(proxy, "both", b"at once")
    assert client.exactly(7) == b"at once"
    for word in (b"one", b"two"):
        client.send(word)
        assert upstream.exactly(3) == word
        upstream.send(word[::-1])
        assert client.exactly(3) == word[::-1]
    client.close()
    assert upstream.ended()


def test_what_the_client_sent_ahead_arrives(proxy: Proxied) -> None:
    client = proxy.get("/both/", "Connection: Upgrade", "Upgrade: echo").send(b"ahead")
    upstream = proxy.accept("both")
    upstream.request()
    upstream.send(SWITCH)
    assert upstream.exactly(5) == b"ahead"
    client.close()


def test_no_filter_of_bodies_sees_them(proxy: Proxied) -> None:
    client, upstream = _tunnel(proxy, "filtered", b"a")
    assert client.exactly(1) == b"a"
    client.send(b"GET / HTTP/1.1")
    assert upstream.exactly(14) == b"GET / HTTP/1.1"
    client.close()
    assert upstream.ended()


@pytest.mark.parametrize("first", ["client", "upstream"])
def test_one_side_ends_and_the_other_goes_on(proxy: Proxied, first: str) -> None:
    client, upstream = _tunnel(proxy, "both")
    ends, goes_on = (client, upstream) if first == "client" else (upstream, client)
    ends.send(b"last words").half_close()
    assert goes_on.rest() == b"last words"
    goes_on.send(b"the answer to them").half_close()
    assert ends.rest() == b"the answer to them"


def test_a_lot_both_ways_at_once(proxy: Proxied) -> None:
    client, upstream = _tunnel(proxy, "both")
    data = pattern(8_000_000)
    got: dict[str, bytes] = {}

    def send(end: End) -> None:
        end.send(data).half_close()

    def receive(name: str, end: End) -> None:
        got[name] = end.rest()

    work = [threading.Thread(target=send, args=(end,)) for end in (client, upstream)]
    work += [threading.Thread(target=receive, args=pair) for pair in (("client", client), ("upstream", upstream))]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join(30)
    assert got["client"] == data
    assert got["upstream"] == data


def test_silence_ends_it(proxy: Proxied) -> None:
    client, upstream = _tunnel(proxy, "brief")
    assert client.ended()
    assert upstream.ended()
    assert "while proxying upgraded connection" in proxy.await_log("upstream timed out")


@pytest.mark.parametrize("leaves", ["client", "upstream"])
def test_a_reset_ends_it(proxy: Proxied, leaves: str) -> None:
    client, upstream = _tunnel(proxy, "both")
    before = proxy.descriptors()
    (client if leaves == "client" else upstream).reset()
    other = upstream if leaves == "client" else client
    try:
        assert other.ended()
    except ConnectionError:
        pass  # a reset may be passed on as one
    wait_until(lambda: proxy.descriptors() < before, what="both sockets closed")


def test_no_tunnel_without_asking(proxy: Proxied) -> None:
    with proxy.get("/plain/", "Connection: Upgrade", "Upgrade: echo") as client:
        upstream = proxy.accept("plain")
        assert upstream.request().get(b"upgrade") is None
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert client.response().body == b"ok"


def test_101_that_nobody_asked_for(proxy: Proxied) -> None:
    with proxy.get("/unasked/") as client:
        upstream = proxy.accept("unasked")
        upstream.request()
        upstream.send(SWITCH + b"GET /smuggled")
        assert client.response().start.startswith(b"HTTP/1.1 502")
        assert upstream.ended()
