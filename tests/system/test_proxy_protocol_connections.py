"""`listen … proxy_protocol` with real connections: before TLS, in pieces, too slow, broken; what the log says."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Iterator

import pytest
from tests.processes import free_port
from tests.system.proxied import End, Proxied, make_certificate, running

V1 = b"PROXY TCP4 192.0.2.1 192.0.2.9 5000 443\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SSL_TLV = b"\x20\0\x0f\1\0\0\0\0\x21\0\7TLSv1.3"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x25" + b"\1\2\3\4\5\6\7\x08\0\1\0\2" + b"\xea\0\4mine" + SSL_TLV
HTTP = """
    client_header_timeout 1s;
    server {{
        listen 127.0.0.1:{tls} ssl proxy_protocol;
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/cert.key;
        location / {{ return 200 "$scheme $proxy_protocol_addr"; }}
    }}
"""
SERVER = """
    location / {
        return 200 "$proxy_protocol_addr $proxy_protocol_tlv_0xEA $proxy_protocol_tlv_ssl_version $proxy_protocol_tlv_ssl_verify";
    }
"""


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("pki")
    make_certificate(folder)
    tls = free_port()
    made = Proxied({}, http=HTTP.format(tls=tls, folder=folder), server=SERVER, listen="proxy_protocol")
    made.tls_port = tls  # type: ignore[attr-defined]
    with running(made):
        yield made
    shutil.rmtree(folder)


def test_version_2_with_tlvs(proxy: Proxied) -> None:
    with proxy.client() as client:
        assert client.send(V2 + GET).response().body == b"1.2.3.4 mine TLSv1.3 0"


def test_in_pieces(proxy: Proxied) -> None:
    with proxy.client() as client:
        for piece in (V1[:3], V1[3:20], V1[20:-1], V1[-1:]):
            client.send(piece)
            assert client.silent(0.05)
        assert client.send(GET).response().body.startswith(b"192.0.2.1 ")


def test_before_tls(proxy: Proxied) -> None:
    port: int = proxy.tls_port  # type: ignore[attr-defined]
    context = ssl._create_unverified_context()
    for pieces in ((V1,), (V1[:9], V1[9:])):
        with socket.create_connection(("127.0.0.1", port), timeout=8) as sock:
            for piece in pieces:
                sock.sendall(piece)
            with context.wrap_socket(sock) as secured, End(secured) as client:
                assert client.send(GET).response().body == b"https 192.0.2.1"


def test_a_broken_header_is_logged_and_closed(proxy: Proxied) -> None:
    with proxy.client() as client:
        assert client.send(b"GET /secret HTTP/1.1\r\nHost: a\r\n\r\n").ended()
    line = proxy.await_log("broken header")
    assert "[error]" in line and 'broken header: "GET /secret' in line and "while reading PROXY protocol, client: 127.0.0.1" in line


@pytest.mark.parametrize("part", [b"", b"PROXY TCP4 192"])
def test_nobody_waits_for_ever(proxy: Proxied, part: bytes) -> None:
    with proxy.client() as client:
        if part:
            client.send(part)
        assert client.ended()


def test_a_client_that_ends_within_the_header(proxy: Proxied) -> None:
    with proxy.client() as client:
        client.send(b"PROXY TCP4 192")
        client.half_close()
        assert client.ended()
    with proxy.client() as client:
        assert client.send(V1 + GET).response().status == 200
