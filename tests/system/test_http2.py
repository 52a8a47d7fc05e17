"""HTTP/2 with clients: a real process, a client by another library, scripted upstreams."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.http2_client import Http2Client, request_fields
from tests.processes import children, free_port, wait_until
from tests.system.proxied import Proxied, answer, chunked, make_certificate, pattern, running

TLS_PORT = free_port()
LOCATIONS = {
    "plain": "",
    "unbuffered": "proxy_request_buffering off; proxy_buffering off; client_max_body_size 0;",
    "hints": "early_hints 1;",
    "kept": "proxy_cache one; proxy_cache_valid 1h;",
}
SERVER = f"""
    http2 on;
    listen 127.0.0.1:{TLS_PORT} ssl;
    ssl_certificate @folder@/cert.pem;
    ssl_certificate_key @folder@/cert.key;
    http2_max_concurrent_streams 20;
    keepalive_requests 100000;
    client_header_timeout 2s;
    root @folder@;
    location /small {{ return 200 "$http2 $server_protocol $request_method $http_x_a $http_cookie"; }}
    location /limited {{ client_max_body_size 10; proxy_pass http://127.0.0.1:1; }}
    location /trailing {{ add_trailer X-Sum 1; return 200 "text"; }}
    location /slowly {{ send_timeout 1s; alias @folder@/big; }}
"""


def tls(*alpn: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("certificate")
    make_certificate(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()} | {"big": pattern(3_000_000)}
    with running(Proxied(LOCATIONS, http="proxy_cache_path @folder@/cache keys_zone=one:64k;", server=SERVER, files=files)) as made:
        yield made


@pytest.fixture
def client(proxy: Proxied) -> Iterator[Http2Client]:
    with Http2Client(proxy.port) as made:
        yield made


def test_with_prior_knowledge(client: Http2Client) -> None:
    reply = client.ask(request_fields("GET", "/small", (b"x-a", b"1"), (b"cookie", b"a=b"), (b"cookie", b"c=d")))
    assert (reply.status, reply.body) == (200, b"h2c HTTP/2.0 GET 1 a=b; c=d")


def test_by_alpn(proxy: Proxied) -> None:
    with Http2Client(TLS_PORT, tls("h2", "http/1.1")) as client:
        assert client.ask(request_fields("GET", "/small", scheme="https")).body.startswith(b"h2 HTTP/2.0")
    assert proxy.fetch("/small").body.startswith(b" HTTP/1.1")  # the same port, for who does not ask for it


@pytest.mark.parametrize(("offered", "chosen"), [(("http/1.1",), "http/1.1"), (("http/1.1", "h2"), "h2"), ((), None)])
def test_the_protocol_is_chosen_among_those_offered(proxy: Proxied, offered: tuple[str, ...], chosen: str | None) -> None:
    with socket.create_connection(("127.0.0.1", TLS_PORT)) as plain, tls(*offered).wrap_socket(plain) as sock:
        assert sock.selected_alpn_protocol() == chosen


def test_plain_http2_on_a_port_for_tls_is_refused(proxy: Proxied) -> None:
    with socket.create_connection(("127.0.0.1", TLS_PORT), timeout=5) as sock:
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 400")


def test_a_preface_in_pieces(proxy: Proxied) -> None:
    """While it may still become the preface, it is not read as HTTP/1."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as sock:
        for piece in (b"PRI * HT", b"TP/2.0\r\n\r\nSM\r\n", b"\r\n" + bytes(3) + b"\x04" + bytes(5)):
            sock.sendall(piece)
            time.sleep(0.05)
        assert sock.recv(1000)[3] == 4  # SETTINGS


def test_many_requests_at_a_time(client: Http2Client) -> None:
    numbers = [client.begin(request_fields("GET", "/big")) for _ in range(10)]
    for number in numbers:
        assert client.whole(number).body == pattern(3_000_000)


def test_requests_beyond_the_limit_are_refused(proxy: Proxied, client: Http2Client) -> None:
    """h2 would hold them back: it is told of a greater limit than the server's."""
    wait_until(lambda: client.h2.remote_settings.max_concurrent_streams == 20 or not client.receive())
    client.h2.remote_settings[3] = 100
    client.h2.remote_settings.acknowledge()
    numbers = [client.begin(request_fields("GET", "/plain/x")) for _ in range(21)]
    assert client.whole(numbers[-1]).reset == 7
    for _ in range(20):
        upstream = proxy.accept("plain")
        upstream.request()
        upstream.send(answer(b"x", "Connection: close"))
    assert [client.whole(number).body for number in numbers[:-1]] == [b"x"] * 20


def test_an_upload(proxy: Proxied, client: Http2Client) -> None:
    number = client.begin(request_fields("POST", "/plain/up", (b"content-length", b"300000")), ended=False)
    client.send(number, pattern(300000))
    upstream = proxy.accept("plain")
    message = upstream.request()
    assert message.body == pattern(300000) and message.get(b"content-length") == b"300000"
    upstream.send(answer(b"taken", "Connection: close"))
    assert client.whole(number).body == b"taken"


def test_an_upload_of_unknown_length(proxy: Proxied, client: Http2Client) -> None:
    number = client.begin(request_fields("POST", "/unbuffered/up"), ended=False)
    client.send(number, b"first", ended=False)
    upstream = proxy.accept("unbuffered")
    client.send(number, b"second")
    message = upstream.request()
    assert message.get(b"transfer-encoding") == b"chunked" and message.body == b"firstsecond"
    upstream.send(answer(b"taken", "Connection: close"))
    assert client.whole(number).body == b"taken"


def test_a_slow_upstream_slows_the_upload(proxy: Proxied, client: Http2Client) -> None:
    """What is held of a body that nobody takes is bounded by the windows."""
    number = client.begin(request_fields("POST", "/unbuffered/up"), ended=False)
    upstream = proxy.accept("unbuffered", receive_buffer=4096)
    sent = 0
    client.sock.settimeout(0.5)
    try:
        while sent < 50_000_000:
            room = min(client.h2.local_flow_control_window(number), client.h2.max_outbound_frame_size)
            if room == 0:
                client.receive()
                continue
            client.h2.send_data(number, bytes(room))
            client.flush()
            sent += room
    except TimeoutError:
        pass
    assert sent < 8_000_000
    upstream.close()
    client.sock.settimeout(5)
    assert client.whole(number).status == 502


def test_trailers_of_the_response(client: Http2Client) -> None:
    reply = client.ask(request_fields("GET", "/trailing"))
    assert (reply.body, reply.trailers, reply.get(b"content-length")) == (b"text", [(b"x-sum", b"1")], b"4")


def test_early_hints(proxy: Proxied, client: Http2Client) -> None:
    number = client.begin(request_fields("GET", "/hints/x"))
    upstream = proxy.accept("hints")
    upstream.request()
    upstream.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + answer(b"page", "Connection: close"))
    reply = client.whole(number)
    assert reply.interim == [[(b":status", b"103"), (b"link", b"</a.css>")]] and reply.body == b"page"


def test_a_chunked_response_that_is_truncated_is_reset(proxy: Proxied, client: Http2Client) -> None:
    number = client.begin(request_fields("GET", "/plain/x"))
    upstream = proxy.accept("plain")
    upstream.request()
    upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"part", last=False))
    upstream.close()
    reply = client.whole(number)
    assert reply.reset == 2 and not reply.ended
    assert client.ask(request_fields("GET", "/small")).status == 200  # the others go on


def test_the_client_resets_a_request(proxy: Proxied, client: Http2Client) -> None:
    """The upstream is told at once, and the log says 499."""
    number = client.begin(request_fields("GET", "/plain/given-up"))
    upstream = proxy.accept("plain")
    upstream.request()
    client.h2.reset_stream(number, 8)
    client.flush()
    assert upstream.ended()
    assert "/plain/given-up 499" in proxy.await_access("/plain/given-up")
    assert client.ask(request_fields("GET", "/small")).status == 200


def test_a_client_that_goes_ends_all_its_requests(proxy: Proxied) -> None:
    with Http2Client(proxy.port) as client:
        for _ in range(3):
            client.begin(request_fields("GET", "/plain/gone"))
        upstreams = [proxy.accept("plain") for _ in range(3)]
        for upstream in upstreams:
            upstream.request()
    assert all(upstream.ended() for upstream in upstreams)


@pytest.mark.parametrize("length", [None, b"11"])
def test_a_body_that_is_too_large(client: Http2Client, length: bytes | None) -> None:
    fields = [] if length is None else [(b"content-length", length)]
    number = client.begin(request_fields("POST", "/limited", *fields), ended=False)
    client.send(number, b"x" * 11)
    assert client.whole(number).status == 413


@pytest.mark.parametrize("sent", [b"123", b"1234567"])
def test_a_body_of_another_length_than_said(proxy: Proxied, sent: bytes) -> None:
    with Http2Client(proxy.port, check=False) as client:
        number = client.begin(request_fields("POST", "/plain/x", (b"content-length", b"5")), ended=False)
        client.h2.send_data(number, sent, end_stream=True)
        client.flush()
        assert client.whole(number).status == 400


def test_a_client_that_takes_nothing(proxy: Proxied) -> None:
    """`send_timeout`, though it keeps the connection busy with something else."""
    with Http2Client(proxy.port) as client:
        client.h2.update_settings({4: 1000})
        number = client.begin(request_fields("GET", "/slowly"))
        reply = client.replies[number]
        client.takes = False
        client.sock.settimeout(0.1)
        until = time.monotonic() + 6
        while not reply.is_over() and time.monotonic() < until:
            client.h2.ping(b"12345678")
            client.flush()
            with suppress(TimeoutError):
                while client.receive() and not reply.is_over():
                    pass
        assert reply.reset == 1


def test_a_response_that_waits_does_not_hold_up_others(client: Http2Client) -> None:
    client.h2.update_settings({4: 1000})
    stuck = client.begin(request_fields("GET", "/big"))
    wait_until(lambda: client.receive() and len(client.replies[stuck].body) >= 0 and client.replies[stuck].fields)
    assert client.ask(request_fields("GET", "/small")).status == 200
    client.h2.increment_flow_control_window(5_000_000, stuck)
    client.flush()
    assert client.whole(stuck).body == pattern(3_000_000)


def test_goaway_when_the_worker_ends(proxy: Proxied) -> None:
    """A request that has begun is finished, and an idle connection is told."""
    with Http2Client(proxy.port) as busy, Http2Client(proxy.port) as idle:
        idle.ask(request_fields("GET", "/small"))
        number = busy.begin(request_fields("GET", "/plain/last"))
        upstream = proxy.accept("plain")
        upstream.request()
        assert proxy.process is not None
        old = proxy.workers()
        proxy.process.send(signal.SIGHUP)
        wait_until(lambda: idle.goaway is not None or not idle.receive(), 8, "GOAWAY")
        assert idle.goaway is not None and idle.goaway.error_code == 0
        wait_until(lambda: busy.goaway is not None or not busy.receive(), 8, "GOAWAY")
        upstream.send(answer(b"finished", "Connection: close"))
        assert busy.whole(number).body == b"finished"
        wait_until(lambda: not busy.receive(), 8, "the end of the connection")
    wait_until(lambda: not set(old) & set(children(proxy.process.pid)), 8, "the end of the old worker")


def test_malformed_requests_reach_no_upstream(proxy: Proxied) -> None:
    for fields in (
        request_fields("GET", "/plain/x", (b"transfer-encoding", b"chunked")),
        request_fields("GET", "/plain/x y"),
        request_fields("GET", "/plain/x", (b"x", b"a\r\nb: c")),
        request_fields("GET", "/plain/x", (b"Upper", b"1")),
        request_fields("GET", "/plain/x", host="a b"),
        [*request_fields("GET", "/plain/x"), (b":path", b"/y")],
    ):
        with Http2Client(proxy.port, check=False) as client:
            assert client.ask(fields).status == 400


def test_nothing_is_left_of_connections(proxy: Proxied) -> None:
    before = proxy.descriptors()
    for _ in range(20):
        with Http2Client(proxy.port) as client:
            client.ask(request_fields("GET", "/small"))
            client.begin(request_fields("GET", "/big"))
    wait_until(lambda: proxy.descriptors() <= before, 8, "descriptors")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
def test_curl(proxy: Proxied, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["curl", "-sk", "--http2", "-w", "%{http_version} %{http_code}", "-o", str(out), f"https://127.0.0.1:{TLS_PORT}/big"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    assert done.stdout == "2 200" and out.read_bytes() == pattern(3_000_000)


@pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is missing: apt-get install nghttp2-client")
@pytest.mark.parametrize("streams", [1, 20])
def test_h2load(proxy: Proxied, streams: int) -> None:
    words = ["h2load", "-n2000", "-c10", f"-m{streams}", f"https://127.0.0.1:{TLS_PORT}/small"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert re.search(r"2000 succeeded, 0 failed, 0 errored", done.stdout) and "Application protocol: h2" in done.stdout, done.stdout


def test_the_last_response_of_a_connection_reaches_a_slow_client(proxy: Proxied) -> None:
    """What the socket has not taken when the connection is to end is sent before it ends."""
    with Http2Client(proxy.port) as client:
        client.h2.update_settings({4: 10_000_000})
        client.h2.increment_flow_control_window(10_000_000)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        number = client.begin(request_fields("GET", "/big"))
        wait_until(lambda: client.receive() and client.replies[number].body, what="the beginning of the response")
        old = proxy.workers()
        assert proxy.process is not None
        proxy.process.send(signal.SIGHUP)
        wait_until(lambda: set(proxy.workers()) - set(old), 8, "another worker")
        assert client.whole(number).body == pattern(3_000_000)
        wait_until(lambda: not client.receive(), 8, "the end of the connection")
        assert client.goaway is not None
