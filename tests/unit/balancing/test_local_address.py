"""Addresses that connections to peers come from, as nginx reads them (ngx_parse_addr_port)."""

from __future__ import annotations

import socket

import pytest

from portico.balancing.local import local_address

ADDRESSES = [
    ("127.0.0.1", "127.0.0.1", 0),
    ("127.0.0.1:1", "127.0.0.1", 1),
    ("127.0.0.1:65535", "127.0.0.1", 65535),
    ("[127.0.0.1]", "127.0.0.1", 0),
    ("::1", "::1", 0),
    ("[::1]", "::1", 0),
    ("[::1]:80", "::1", 80),
]
NONE = [
    "", "x", "localhost", "localhost:80", "127.0.0", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:8x",
    "127.0.0.1 ", ":80", "[::1", "[::1]:", "[::1]:0", "[::1]80", "[::1]:80]", "[]", "[]:80", "unix:/x", "::1:80x", "127.0.0.1\0",
]  # fmt: skip


@pytest.mark.parametrize(("text", "host", "port"), ADDRESSES)
def test_addresses(text: str, host: str, port: int) -> None:
    found = local_address(text, False)
    assert found is not None and (found.host, found.port, found.text) == (host, port, text)
    assert found.family == (socket.AF_INET6 if ":" in host else socket.AF_INET)


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_address(text: str) -> None:
    assert local_address(text, False) is None


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as sock:
        address = local_address(f"127.0.0.1:{taken.getsockname()[1]}", False)
        assert address is not None
        with pytest.raises(OSError, match=r"bind\(127\.0\.0\.1:[0-9]+\) failed \(98: Address already in use\)"):
            address.bind(sock)
