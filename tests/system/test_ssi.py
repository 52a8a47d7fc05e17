"""`ssi` between a real client and real upstreams: what is asked for at once, what waits, and what is given up."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from tests.processes import wait_until
from tests.system.proxied import Proxied, chunked, pattern, running
from tests.system.proxied import answer as kept_answer

LOCATIONS = {
    "page": "ssi on; proxy_buffering off;",
    "one": "ssi on;",
    "two": "",
    "three": "proxy_max_temp_file_size 0; proxy_buffers 4 8k;",
}
HTML = "Content-Type: text/html"
LARGE = 12_000_000


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxied]:
    server = "location = /closes { return 444; }"
    with running(Proxied(LOCATIONS, server=server)) as made:
        yield made


def answer(body: bytes, *fields: str, length: int = -1) -> bytes:
    """A response behind which the connection is not used again."""
    return kept_answer(body, "Connection: close", *fields, length=length)


def _include(target: str, more: str = "") -> bytes:
    return f'<!--#include virtual="{target}"{more} -->'.encode()


def test_what_a_page_includes_is_asked_for_at_once_and_sent_in_its_order(proxy: Proxied) -> None:
    client = proxy.get("/page/")
    page = proxy.accept("page")
    page.request()
    page.send(answer(b"[" + _include("/one/") + b"|" + _include("/two/") + b"]", HTML))
    one, two = proxy.accept("one"), proxy.accept("two")  # before either has answered
    one.request()
    assert two.request().start.startswith(b"GET /two/ ")
    two.send(answer(b"second"))
    one.send(answer(b"first"))
    assert client.response().body == b"[first|second]"


def test_a_page_is_read_on_while_what_it_includes_is_slow(proxy: Proxied) -> None:
    client = proxy.get("/page/")
    page = proxy.accept("page")
    page.request()
    page.send(answer(b"[" + _include("/one/") + b"]" + b"." * 1000, HTML))
    one = proxy.accept("one")
    one.request()
    assert page.ended()  # Portico has all of it, and closes
    one.send(answer(b"first"))
    assert client.response().body == b"[first]" + b"." * 1000


def test_what_stands_before_an_inclusion_does_not_wait_for_it(proxy: Proxied) -> None:
    client = proxy.get("/page/")
    page = proxy.accept("page")
    page.request()
    page.send(answer(b"before" + _include("/one/"), HTML))
    one = proxy.accept("one")
    one.request()
    wait_until(lambda: client.wire.fill() and b"before" in client.wire.buffer, what="the text comes")
    one.send(answer(b"first"))
    assert b"first" in client.response().body


def test_wait_holds_the_page(proxy: Proxied) -> None:
    client = proxy.get("/page/")
    page = proxy.accept("page")
    page.request()
    page.send(answer(_include("/one/", ' wait="yes"') + _include("/two/") + b'<!--#echo var="x" -->', HTML))
    one = proxy.accept("one")
    one.request()
    assert proxy.upstream("two").untouched()
    one.send(answer(b'<!--#set var="x" value="X" -->1', HTML))
    two = proxy.accept("two")
    two.request()
    two.send(answer(b"2"))
    assert client.response().body == b"12X"


def test_a_command_that_comes_byte_by_byte(proxy: Proxied) -> None:
    client = proxy.get("/page/")
    page = proxy.accept("page")
    page.request()
    page.send(f"HTTP/1.1 200 OK\r\n{HTML}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    for byte in b'a<!--#set var="x" value="y" -->b<!--#echo var="x" -->c':
        page.send(chunked(bytes((byte,)), last=False))
        assert page.taken()
    page.send(b"0\r\n\r\n")
    assert client.response().body == b"abyc"


def test_a_client_that_leaves_ends_everything_that_the_page_asked_for(proxy: Proxied) -> None:
    client = proxy.get("/page/")
    page = proxy.accept("page")
    page.request()
    page.send(answer(_include("/one/") + _include("/two/"), HTML))
    one, two = proxy.accept("one"), proxy.accept("two")
    one.request()
    two.request()
    one.send(answer(_include("/three/") + b"x" * 100, HTML, length=100_000))  # a page inside, which is not whole
    three = proxy.accept("three")
    three.request()
    client.close()
    assert one.ended() and two.ended() and three.ended()


def test_a_truncated_part_truncates_the_whole(proxy: Proxied) -> None:
    client = proxy.get("/page/")
    page = proxy.accept("page")
    page.request()
    page.send(answer(b"a" + _include("/two/") + b"b", HTML))
    two = proxy.accept("two")
    two.request()
    two.send(answer(b"half", length=10))
    two.close()
    assert client.response().truncated


def test_return_444_inside_closes_the_connection(proxy: Proxied) -> None:
    client = proxy.get("/page/")
    page = proxy.accept("page")
    page.request()
    page.send(answer(b"a" + _include("/closes") + b"b", HTML))
    assert client.response().truncated


def test_a_part_whose_turn_has_not_come_is_read_only_so_far(proxy: Proxied) -> None:
    """What waits behind another part is held back by its upstream's connection, not in memory."""
    client = proxy.get("/page/")
    page = proxy.accept("page")
    page.request()
    page.send(answer(_include("/one/") + _include("/three/"), HTML))
    one, three = proxy.accept("one"), proxy.accept("three")
    one.request()
    three.request()
    body = pattern(LARGE)
    three.send(answer(b"", HTML, length=LARGE))
    three.sock.setblocking(False)
    sent = 0
    full = 0
    while full < 3 and sent < LARGE:  # the kernel's buffers are full when nothing more goes for a while
        try:
            sent += three.sock.send(body[sent : sent + 65536])
            full = 0
        except BlockingIOError:
            full += 1
            three.silent(0.1)
            three.sock.setblocking(False)
    assert sent < LARGE
    three.sock.settimeout(8)
    one.send(answer(b"1"))

    thread = threading.Thread(target=three.send, args=(body[sent:],))
    thread.start()
    got = client.response().body
    thread.join()
    assert got == b"1" + body


def test_a_part_sees_the_body_of_the_request(proxy: Proxied) -> None:
    client = proxy.ask("POST", "/one/", "Content-Length: 5", body=b"")
    client.send(b"12345")
    one = proxy.accept("one")
    assert one.request().body == b"12345"
    one.send(answer(b"[" + _include("/two/") + b"]", HTML))
    two = proxy.accept("two")
    request = two.request()
    assert (request.start[:10], request.body) == (b"GET /two/ ", b"12345")
    two.send(answer(b"2"))
    assert client.response().body == b"[2]"
