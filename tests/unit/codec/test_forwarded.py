"""The field Forwarded: RFC 7239's own examples, what is no such field, and any bytes at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.codec.forwarded import element, nodes_of


@pytest.mark.parametrize(
    ("value", "nodes"),
    [
        (b'for="_gazonk"', [b"_gazonk"]),
        (b'For="[2001:db8:cafe::17]:4711"', [b"[2001:db8:cafe::17]:4711"]),
        (b"for=192.0.2.60;proto=http;by=203.0.113.43", [b"192.0.2.60"]),
        (b"for=192.0.2.43, for=198.51.100.17", [b"192.0.2.43", b"198.51.100.17"]),
        (b"proto=https, for=1.2.3.4", [b"unknown", b"1.2.3.4"]),
        (b'host="a,b;c\\"d";for=1.2.3.4', [b"1.2.3.4"]),
        (b'for="1.2.3.4, 5.6.7.8"', [b"unknown"]),  # one node, and none that is an address: not two
        (b"", []),
        (b"for", []),
        (b"for=", []),
        (b"for=1.2.3.4,", []),
        (b"for=1.2.3.4;", []),
        (b"for=[::1]", []),
        (b'for="1.2.3.4', []),
        (b"for = 1.2.3.4", []),
        (b"1.2.3.4", []),
    ],
)
def test_nodes(value: bytes, nodes: list[bytes]) -> None:
    assert nodes_of(value) == nodes


def test_elements() -> None:
    assert element(b"192.0.2.1", b"", b"example.com", b"http") == b"for=192.0.2.1;host=example.com;proto=http"
    assert element(b"192.0.2.1", b"80", b"a:81", b"https") == b'for="192.0.2.1:80";host="a:81";proto=https'
    assert element(b"2001:db8::1", b"", b"", b"http") == b'for="[2001:db8::1]";proto=http'
    assert element(b"unix:", b"", b"a", b"http") == b"for=unknown;host=a;proto=http"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes(value: bytes) -> None:
    for node in nodes_of(value):
        assert b"," not in node and b" " not in node and node


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=20).filter(lambda host: not set(host) & set(b"\r\n\0")))
def test_what_is_written_is_read(host: bytes) -> None:
    made = element(b"2001:db8::1", b"1", host, b"http")
    assert nodes_of(made + b", " + made) == [b"[2001:db8::1]:1"] * 2
