"""Request bodies on their way to the upstream, and what the upstream is told of the request."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.processes import wait_until
from tests.system.proxied import End, Proxied, answer, chunked, pattern, running

LARGE = 12_000_000
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"

LOCATIONS = {
    "whole": "",
    "tofile": "client_body_buffer_size 8k;",
    "chunkedfile": "client_body_buffer_size 8k;",
    "streamed": "proxy_request_buffering off;",
    "chunkstream": "proxy_request_buffering off;",
    "old": "proxy_request_buffering off; proxy_http_version 1.0;",
    "early": "",
    "earlykeep": "",
    "earlystream": "proxy_request_buffering off;",
    "earlyidle": "proxy_request_buffering off;",
    "interim": "",
    "interimstream": "proxy_request_buffering off;",
    "reused": "",
    "reusedsplice": "",
    "once": "proxy_pass http://@once@;",
    "leave": "",
    "leavestream": "proxy_request_buffering off;",
    "sendslow": "proxy_send_timeout 300ms;",
    "bodyslow": "proxy_request_buffering off; client_body_timeout 300ms;",
    "expect": "",
    "expectstream": "proxy_request_buffering off;",
    "limited": "client_max_body_size 10;",
    "set": 'proxy_set_body "made:$arg_x";',
    "nobody": 'proxy_pass_request_body off; proxy_set_header Content-Length "";',
    "hop": "",
    "hop10": "proxy_http_version 1.0;",
}


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxied]:
    with running(Proxied(LOCATIONS, http="client_max_body_size 0;")) as made:
        yield made


def _post(proxy: Proxied, target: str, body: bytes) -> End:
    """A client that sends a POST in the background."""
    head = f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    client = proxy.client()
    threading.Thread(target=_send, args=(client, head + body), daemon=True).start()
    return client


def _send(end: End, data: bytes) -> None:
    try:
        end.send(data)
    except OSError:
        pass


@pytest.mark.parametrize("name", ["whole", "tofile", "streamed", "old"])
@pytest.mark.parametrize("size", [1, 5000, 200_000, 3_000_000])
def test_fixed_body(proxy: Proxied, name: str, size: int) -> None:
    with _post(proxy, f"/{name}/", pattern(size)) as client, proxy.accept(name) as upstream:
        got = upstream.request()
        assert got.body == pattern(size)
        assert got.get(b"transfer-encoding") is None
        upstream.send(answer(b"thanks"))
        assert client.response().body == b"thanks"


@pytest.mark.parametrize("name", ["whole", "chunkedfile", "chunkstream", "old"])
@pytest.mark.parametrize("size", [0, 1, 5000, 300_000])
def test_chunked_body(proxy: Proxied, name: str, size: int) -> None:
    """Read whole it gets a length; passed on as it comes it stays chunked, if the upstream speaks HTTP/1.1."""
    body = pattern(size)
    coded = chunked(*[body[at : at + 7001] for at in range(0, size, 7001)])
    client = proxy.client()
    threading.Thread(
        target=_send,
        args=(
            client,
            f"POST /{name}/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + coded,
        ),
        daemon=True,
    ).start()
    with client, proxy.accept(name) as upstream:
        got = upstream.request()
        assert got.body == body
        stays = name == "chunkstream" and size > 16384  # what came with the header section is held, as in nginx
        assert (got.get(b"transfer-encoding") is not None) is stays
        assert got.get(b"content-length") == (None if stays else b"%d" % size)
        upstream.send(answer(b"thanks"))
        assert client.response().body == b"thanks"


def test_request_body_goes_to_a_file(proxy: Proxied) -> None:
    with _post(proxy, "/tofile/mark", pattern(100_000)) as client, proxy.accept("tofile") as upstream:
        assert upstream.request().body == pattern(100_000)
        upstream.send(answer())
        assert client.response().status == 200
    assert "a client request body is buffered to a temporary file" in proxy.await_log("/tofile/mark")


def test_streamed_body_arrives_in_pieces(proxy: Proxied) -> None:
    head = b"POST /streamed/ HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n"
    with proxy.client().send(head) as client, proxy.accept("streamed") as upstream:
        upstream.head()
        for piece in (b"ab", b"cd", b"ef"):
            client.send(piece)
            assert upstream.exactly(2) == piece
        upstream.send(answer(b"thanks"))
        assert client.response().body == b"thanks"


@pytest.mark.parametrize("name", ["early", "earlystream"])
def test_answer_before_the_body_was_read(proxy: Proxied, name: str) -> None:
    """413 at once, then the end: the client gets the answer, not a 502."""
    with _post(proxy, f"/{name}/", pattern(LARGE)) as client, proxy.accept(name) as upstream:
        upstream.head()
        upstream.send(answer(b"too large", status="413 Too Large"))
        upstream.half_close()
        got = client.response()
        assert (got.status, got.body) == (413, b"too large")
        assert upstream.ended()


def test_answer_in_the_middle_of_a_streamed_body(proxy: Proxied) -> None:
    """Whatever the proxy is at just then; several times, for that is chance."""
    for _ in range(12):
        with _post(proxy, "/earlystream/", pattern(LARGE)) as client, proxy.accept("earlystream") as upstream:
            upstream.head()
            upstream.exactly(1_000_000)
            upstream.send(answer(b"too large", status="413 Too Large"))
            assert client.response().body == b"too large"


def test_early_answer_ends_the_connection_to_the_upstream(proxy: Proxied) -> None:
    """It did not read the request, so nothing else can be sent on it."""
    with _post(proxy, "/earlykeep/", pattern(LARGE)) as client, proxy.accept("earlykeep") as upstream:
        upstream.head()
        upstream.send(answer(b"too large", status="413 Too Large"))
        assert client.response().status == 413
        assert upstream.ended()


def test_early_answer_while_the_client_pauses(proxy: Proxied) -> None:
    head = b"POST /earlyidle/ HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nab"
    with proxy.client().send(head) as client, proxy.accept("earlyidle") as upstream:
        upstream.head()
        assert upstream.exactly(2) == b"ab"
        upstream.send(answer(b"enough", status="403 Forbidden"))
        got = client.response()
        assert (got.status, got.body) == (403, b"enough")


@pytest.mark.parametrize("name", ["interim", "interimstream"])
def test_interim_answers_while_the_body_is_sent(proxy: Proxied, name: str) -> None:
    """100 and 103 are no answer: the rest of the body is sent all the same."""
    body = pattern(LARGE)
    with _post(proxy, f"/{name}/", body) as client, proxy.accept(name) as upstream:
        upstream.wire.until(b"\r\n\r\n")
        upstream.send(INTERIM[:7])
        upstream.send(INTERIM[7:] + EARLY)
        assert upstream.exactly(LARGE) == body
        upstream.send(EARLY + answer(b"thanks"))
        got = client.response()
        assert (got.status, got.body) == (200, b"thanks")


@pytest.mark.parametrize("name", ["reused", "reusedsplice"])
def test_large_body_on_a_reused_connection(proxy: Proxied, name: str) -> None:
    """What the connection was used for before must not look like an early answer."""
    size = 8192 - len(answer(length=8000)) if name == "reused" else 1_000_000
    with proxy.get(f"/{name}/") as client, proxy.accept(name) as upstream:
        upstream.request()
        upstream.send(answer(pattern(size)))
        assert client.response().body == pattern(size)
        with _post(proxy, f"/{name}/", pattern(LARGE)) as second:
            assert upstream.head().start.startswith(b"POST")
            assert upstream.exactly(LARGE) == pattern(LARGE)
            upstream.send(answer(b"thanks"))
            assert second.response().body == b"thanks"


def test_a_connection_to_a_bare_address_serves_one_request(proxy: Proxied) -> None:
    """As in nginx, where only an `upstream` block keeps connections: the server behind may be one that serves one at a time."""
    with proxy.get("/once/") as client, proxy.accept("once") as upstream:
        assert upstream.request().get(b"connection") is None
        upstream.send(answer(b"thanks"))
        assert client.response().body == b"thanks"
        assert upstream.ended()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has CAP_NET_RAW to keep")
def test_workers_of_another_user_may_bind_transparently() -> None:
    """They keep that one capability of root's, and none where nothing is transparent."""
    for transparent, kept in (("transparent", 1 << 13), ("", 0)):
        made = Proxied({"bound": f"proxy_bind 127.0.0.9 {transparent};"}, user="nobody")
        with running(made), made.get("/bound/") as client, made.accept("bound") as upstream:
            assert upstream.sock.getpeername()[0] == "127.0.0.9"
            upstream.send(answer(b"bound"))
            assert client.response().body == b"bound"
            (worker,) = made.workers()
            status = Path(f"/proc/{worker}/status").read_text()
            assert "Uid:\t0" not in status
            assert re.findall("^Cap(?:Prm|Eff):\t([0-9a-f]+)$", status, re.MULTILINE) == [f"{kept:016x}"] * 2


def test_client_leaves_in_its_body(proxy: Proxied) -> None:
    head = b"POST /leave/body HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nab"
    proxy.client().send(head).close()
    assert proxy.upstream("leave").untouched()
    proxy.await_access("/leave/body 400")
    with proxy.client().send(head.replace(b"leave", b"leavestream")) as client:
        upstream = proxy.accept("leavestream")
        upstream.head()
        client.close()
        assert upstream.rest() == b"ab"


def test_upstream_that_does_not_read(proxy: Proxied) -> None:
    client = _post(proxy, "/sendslow/", pattern(LARGE))
    with proxy.accept("sendslow", 4096):
        assert client.response().status == 504
    proxy.await_log("upstream timed out (110: Connection timed out) while sending request to upstream")


def test_client_that_stops_in_a_streamed_body(proxy: Proxied) -> None:
    head = b"POST /bodyslow/ HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nab"
    with proxy.client().send(head) as client, proxy.accept("bodyslow") as upstream:
        upstream.head()
        assert client.response().status == 408
        assert upstream.rest() == b"ab"


@pytest.mark.parametrize("name", ["expect", "expectstream"])
def test_expect_continue(proxy: Proxied, name: str) -> None:
    head = f"POST /{name}/ HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    with proxy.client().send(head.encode()) as client:
        assert client.response().status == 100
        client.send(b"data")
        with proxy.accept(name) as upstream:
            got = upstream.request()
            assert got.body == b"data"
            assert got.get(b"expect") is None
            upstream.send(answer(b"thanks"))
            assert client.response().body == b"thanks"


def test_expect_of_a_body_that_is_too_large(proxy: Proxied) -> None:
    head = b"POST /limited/ HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\nExpect: 100-continue\r\n\r\n"
    with proxy.client().send(head) as client:
        assert client.response().status == 413
    assert proxy.upstream("limited").untouched()


def test_body_made_or_withheld(proxy: Proxied) -> None:
    with proxy.ask("POST", "/set/?x=y", body=b"data") as client, proxy.accept("set") as upstream:
        assert upstream.request().body == b"made:y"
        upstream.send(answer())
        assert client.response().status == 200
    with proxy.ask("POST", "/nobody/", body=b"data") as client, proxy.accept("nobody") as upstream:
        got = upstream.request()
        assert got.body == b"" and got.get(b"content-length") is None
        upstream.send(answer())
        assert client.response().status == 200
        upstream.half_close()
        assert upstream.rest() == b""


HOP_FIELDS = (
    "Connection: close, X-Secret, keep-alive", "X-Secret: 1", "Keep-Alive: timeout=5", "TE: trailers", "Trailer: X-T",
    "Upgrade: websocket", "Proxy-Connection: keep-alive", "X-Stays: yes",
)  # fmt: skip


@pytest.mark.parametrize("name", ["hop", "hop10"])
def test_hop_by_hop_fields(proxy: Proxied, name: str) -> None:
    """RFC 9110 section 7.6.1, in both directions."""
    with proxy.get(f"/{name}/", *HOP_FIELDS) as client, proxy.accept(name) as upstream:
        got = upstream.request()
        names = {key.lower() for key, _ in got.headers}
        assert names == ({b"host", b"x-stays"} if name == "hop" else {b"host", b"x-stays", b"connection"})
        assert got.get(b"connection") == (None if name == "hop" else b"close")
        upstream.send(answer(b"x", *HOP_FIELDS, "Proxy-Authenticate: Basic"))
        back = client.response()
        names = {key.lower() for key, _ in back.headers}
        allowed = {
            b"server",
            b"date",
            b"content-type",
            b"content-length",
            b"connection",
            b"x-stays",
            b"proxy-authenticate",
        }
        assert names <= allowed
        assert back.get(b"connection") == b"close"
        assert back.get(b"x-stays") == b"yes"


def test_no_temporary_file_is_left(proxy: Proxied) -> None:
    wait_until(lambda: not any((proxy.folder / "body").iterdir()), what="an empty client_body_temp_path")
