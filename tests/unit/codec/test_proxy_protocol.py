"""The header of the PROXY protocol: whole, in parts, broken, and any bytes at all."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.codec.proxy_protocol import LONGEST, SIGNATURE, BrokenHeader, find_tlv, parse_proxy_header

V1 = b"PROXY TCP4 192.0.2.1 192.0.2.9 5000 443\r\n"
ADDRESSES = socket.inet_aton("192.0.2.1") + socket.inet_aton("192.0.2.9") + b"\x13\x88\x01\xbb"
V2 = SIGNATURE + b"\x21\x11" + (len(ADDRESSES) + 7).to_bytes(2, "big") + ADDRESSES + b"\x02\0\4name"


@pytest.mark.parametrize("whole", [V1, V2])
def test_in_parts(whole: bytes) -> None:
    for length in range(len(whole)):
        assert parse_proxy_header(whole[:length]) is None
    for more in (b"", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01"):
        header = parse_proxy_header(whole + more)
        assert header is not None and header.length == len(whole)
        assert (header.address, header.port) == (b"192.0.2.1", 5000)
        assert (header.server_address, header.server_port) == (b"192.0.2.9", 443)


def test_tlvs() -> None:
    header = parse_proxy_header(V2)
    assert header is not None
    assert find_tlv(header.tlvs, 2) == b"name" and find_tlv(header.tlvs, 1) is None
    assert find_tlv(b"\1\0\xffshort", 1) is None and find_tlv(b"\1\0", 1) is None
    assert find_tlv(b"\1\0\0\2\0\1x", 2) == b"x"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n",
        b"PROXY TCP4 ::1 1.1.1.1 1 1\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1 -1\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n",
        b"PROXY " + b"x" * 110,
        SIGNATURE + b"\x11\x11\0\0",
        SIGNATURE + b"\x22\x11\0\x0c" + ADDRESSES,
        SIGNATURE + b"\x21\x11\0\4" + ADDRESSES[:4],
        SIGNATURE + b"\x21\x11\xff\xff",
        b"x",
        b"\r\n\r\nx",
    ],
)
def test_broken(data: bytes) -> None:
    with pytest.raises(BrokenHeader):
        parse_proxy_header(data)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from([b"", b"PROXY ", b"PROXY TCP6 ", SIGNATURE, SIGNATURE + b"\x21\x21"]), st.binary(max_size=400))
def test_any_bytes(start: bytes, rest: bytes) -> None:
    data = start + rest
    try:
        header = parse_proxy_header(data)
    except BrokenHeader:
        return
    if header is None:
        assert len(data) < LONGEST
    else:
        assert 0 < header.length <= min(len(data), LONGEST)
        for kind in (0, 1, 2, 0x20, 0x30, 255):
            find_tlv(header.tlvs, kind)
