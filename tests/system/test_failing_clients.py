"""A client that fails while its request body is passed on: the upstream learns of it at once, and is not blamed for it.

Every group here has two servers with nginx's default of max_fails=1, so a failure that was counted would show.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest
from tests.processes import free_port, wait_until
from tests.system.proxied import End, Proxied, answer, make_certificate, running

HTTP = """
    upstream pair {{ server @one@; server @two@; }}
    client_body_timeout 400ms;
    client_max_body_size 0;
    proxy_http_version 1.1;
    server {{
        listen 127.0.0.1:{tls} ssl;
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/cert.key;
        location /stream/ {{ proxy_request_buffering off; proxy_pass http://pair; }}
    }}
"""
LOCATIONS = {
    "stream": "proxy_request_buffering off; proxy_pass http://pair;",
    "stays": "proxy_request_buffering off; proxy_ignore_client_abort on; proxy_pass http://pair;",
    "retry": "proxy_request_buffering off; proxy_next_upstream error timeout non_idempotent; proxy_pass http://pair;",
    "whole": "proxy_pass http://pair;",
}
HEAD = b"POST /%b/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
CHUNKED = b"POST /%b/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("pki")
    make_certificate(folder)
    tls = free_port()
    made = Proxied(LOCATIONS, http=HTTP.format(tls=tls, folder=folder))
    made.tls_port = tls  # type: ignore[attr-defined]
    for name in ("one", "two"):
        made.upstream(name)
    with running(made):
        yield made
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def upstreams_are_not_blamed(proxy: Proxied) -> Iterator[None]:
    """Whatever the client has done, both servers of the group are asked next, and no line of level error was written."""
    before = len(proxy.log())
    yield
    asked: set[str] = set()

    def ask() -> bool:
        with proxy.get("/whole/after") as client:
            name, upstream = _accept(proxy)
            with upstream:
                upstream.request()
                upstream.send(answer(b"good"))
                assert client.response().body == b"good"
            asked.add(name)
        return len(asked) == 2

    wait_until(ask, what="a request for each server")
    lines = proxy.log()[before:].splitlines()
    wrong = [line for line in lines if "[error]" in line or "[warn]" in line or "[crit]" in line or "[alert]" in line]
    assert not wrong, "\n".join(wrong)


def _accept(proxy: Proxied) -> tuple[str, End]:
    """The next connection, whichever server of the group it is for."""
    found: list[tuple[str, End]] = []

    def look() -> bool:
        for name in ("one", "two"):
            upstream = proxy.upstream(name)
            upstream.sock.settimeout(0.02)
            try:
                found.append((name, upstream.accept()))
            except TimeoutError:
                continue
            finally:
                upstream.sock.settimeout(8)
            return True
        return False

    wait_until(look, what="a connection to an upstream")
    return found[0]


@pytest.mark.parametrize("name", [b"stream", b"stays", b"retry"])
@pytest.mark.parametrize("head", [HEAD, CHUNKED], ids=["length", "chunked"])
@pytest.mark.parametrize("how", ["reset", "closed", "half-closed"])
def test_client_fails_in_its_body(proxy: Proxied, name: bytes, head: bytes, how: str) -> None:
    before = proxy.access().count(f"/{name.decode()}/ 400 ")
    client = proxy.client().send(head % name + (b"" if head is HEAD else b"3\r\n") + b"abc")
    upstream = _accept(proxy)[1]
    with upstream:
        assert upstream.head().start.startswith(b"POST")
        if how == "reset":
            client.reset()
        elif how == "closed":
            client.close()
        else:
            client.half_close()
        upstream.sock.settimeout(3)  # far less than proxy_read_timeout
        assert upstream.ended()
    client.close()
    wait_until(lambda: proxy.access().count(f"/{name.decode()}/ 400 ") > before, what="status 400")


def test_client_sends_an_invalid_chunk(proxy: Proxied) -> None:
    with proxy.client().send(CHUNKED % b"stream" + b"3\r\nabc") as client:
        upstream = _accept(proxy)[1]
        with upstream:
            upstream.head()
            client.send(b"XX\r\n")
            assert upstream.ended()
        assert client.response().status == 400


def test_client_is_too_slow(proxy: Proxied) -> None:
    with proxy.client().send(HEAD % b"stream" + b"abc") as client:
        upstream = _accept(proxy)[1]
        with upstream:
            upstream.head()
            assert upstream.ended()
        assert client.response().status == 408


def test_client_sends_a_broken_tls_record(proxy: Proxied) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    raw = socket.create_connection(("127.0.0.1", proxy.tls_port), timeout=8)  # type: ignore[attr-defined]
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            raw.sendall(outgoing.read())
            incoming.write(raw.recv(65536))
    tls.write(HEAD % b"stream" + b"abc")
    raw.sendall(outgoing.read())
    upstream = _accept(proxy)[1]
    with upstream, raw:
        upstream.head()
        raw.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        upstream.sock.settimeout(3)
        assert upstream.ended()


def test_client_resets_while_the_upstream_takes_nothing(proxy: Proxied) -> None:
    """The proxy waits for room at the upstream when the client fails."""
    client = proxy.client()
    client.send(b"POST /stream/ HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
    upstream = _accept(proxy)[1]
    with upstream:
        upstream.head()
        sending = threading.Thread(target=_send_until_full, args=(client,))
        sending.start()
        sending.join(8)
        client.reset()
        upstream.sock.settimeout(3)
        assert upstream.ended()


def _send_until_full(client: End) -> None:
    client.sock.settimeout(0.3)
    try:
        while True:
            client.sock.sendall(b"x" * 65536)
    except TimeoutError:
        pass
