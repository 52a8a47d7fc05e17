"""`listen … proxy_protocol` and `real_ip_header proxy_protocol` beside nginx's."""

from __future__ import annotations

import socket
import struct

from tests.parity.exchange import Exchange, get
from tests.parity.harness import Group, Servers, exchanges

SAID = (
    "$remote_addr $remote_port|$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr"
    " $proxy_protocol_server_port|$realip_remote_addr"
)
PROXY = Group(
    rf"""
    server {{
        listen 127.0.0.1:@PORT@ proxy_protocol;
        location / {{
            return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port";
        }}
    }}
    server {{
        listen 127.0.0.1:@PORT_REAL@ proxy_protocol;
        set_real_ip_from 127.0.0.0/8;
        real_ip_header proxy_protocol;
        location / {{ return 200 "{SAID}"; }}
    }}
    server {{
        listen 127.0.0.1:@PORT_DOUBT@ proxy_protocol;
        set_real_ip_from 10.0.0.0/8;
        real_ip_header proxy_protocol;
        location / {{ return 200 "$remote_addr|$proxy_protocol_addr"; }}
    }}
    """
)
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(block: bytes, command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + bytes((command, family)) + struct.pack(">H", len(block)) + block


def inet(source: str, target: str, *ports: int) -> bytes:
    kind = socket.AF_INET6 if ":" in source else socket.AF_INET
    return socket.inet_pton(kind, source) + socket.inet_pton(kind, target) + struct.pack(">HH", *ports)


FOUR = inet("192.0.2.1", "192.0.2.9", 5000, 443)
V1 = b"PROXY TCP4 192.0.2.1 192.0.2.9 5000 443\r\n"


def row(id: str, head: bytes, port: str = "PORT", **more: object) -> Exchange:
    return Exchange(id, head + get("/"), methods=("GET",), port=port, **more)  # type: ignore[arg-type]


def broken(id: str, head: bytes) -> Exchange:
    return Exchange(id, head + get("/"), methods=("GET",), closed=True)


@exchanges(
    PROXY,
    row("v1", V1, body=b"192.0.2.1 5000 192.0.2.9 443"),
    row("v1 of six", b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", body=b"2001:db8::1 1 ::1 65535"),
    row("v1 unknown", b"PROXY UNKNOWN\r\n", body=b"   "),
    row("v1 unknown with more", b"PROXY UNKNOWN ffff::1 ::1 1 2\r\n", body=b"   "),
    row("v2", v2(FOUR), body=b"192.0.2.1 5000 192.0.2.9 443"),
    row("v2 of six", v2(inet("2001:db8::1", "::1", 1, 2), family=0x21), body=b"2001:db8::1 1 ::1 2"),
    row("v2 local", v2(b"", command=0x20, family=0), body=b"   "),
    row("v2 with tlvs", v2(FOUR + b"\x02\x00\x04name"), body=b"192.0.2.1 5000 192.0.2.9 443"),
    row("v2 unix", v2(b"\0" * 216, family=0x31), body=b"   "),
    row("v2 udp", v2(FOUR, family=0x12), body=b"   "),
    row("trusted", V1, port="PORT_REAL", body=b"192.0.2.1 5000|192.0.2.1 5000 192.0.2.9 443|127.0.0.1"),
    row("trusted v2", v2(FOUR), port="PORT_REAL", body=b"192.0.2.1 5000|192.0.2.1 5000 192.0.2.9 443|127.0.0.1"),
    row("not trusted", V1, port="PORT_DOUBT", body=b"127.0.0.1|192.0.2.1"),
    Exchange("kept alive", V1 + get("/") * 2, methods=("GET", "GET"), body=b"192.0.2.1 5000 192.0.2.9 443"),
    broken("no header", b""),
    broken("v1 of another family", b"PROXY UDP4 1.1.1.1 1.1.1.1 1 2\r\n"),
    broken("v1 port too large", b"PROXY TCP4 192.0.2.1 192.0.2.9 70000 443\r\n"),
    broken("v1 no port", b"PROXY TCP4 192.0.2.1 192.0.2.9 5000\r\n"),
    broken("v1 too long", b"PROXY TCP4 " + b"1" * 200 + b"\r\n"),
    broken("v2 of version 1", v2(FOUR, command=0x11)),
    broken("v2 too short for its addresses", v2(FOUR[:8])),
)
def test_proxy_protocol(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
