"""Who the client is behind proxies that are trusted (ngx_http_get_forwarded_addr)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import final

from portico.net.networks import Network, packed


@final
class Peer:
    """An address in network order (b"" for a Unix socket) and the port, in digits, b"" when none was told."""

    def __init__(self, address: bytes, port: bytes) -> None:
        self.address = address
        self.port = port

    def text(self) -> bytes:
        """Return the address as people write it."""
        if not self.address:
            return b"unix:"
        return socket.inet_ntop(socket.AF_INET if len(self.address) == 4 else socket.AF_INET6, self.address).encode()


def peer_behind(peer: Peer, fields: Sequence[bytes], trusts: Callable[[bytes], bool], recursive: bool) -> Peer:
    """Return the client as `peer` and the fields (X-Forwarded-For and the like, in the order received) tell, else `peer` itself.

    Who is not trusted is not asked who is behind it. Without `recursive` one step is taken.
    """
    entries = [entry for field in fields for entry in field.replace(b",", b" ").split()]
    while entries and trusts(peer.address):
        behind = peer_of(entries.pop())
        if behind is None:
            break
        peer = behind
        if not recursive:
            break
    return peer


def client_address(peer: bytes, fields: Sequence[bytes], proxies: list[Network], recursive: bool) -> bytes:
    """Return what `peer_behind` does, of addresses alone."""

    def trusts(address: bytes) -> bool:
        return any(proxy.contains(address) for proxy in proxies)

    return peer_behind(Peer(peer, b""), fields, trusts, recursive).address


def peer_of(entry: bytes) -> Peer | None:
    """Return one entry as a peer: an address, perhaps with a port; None for anything else (ngx_parse_addr_port)."""
    text = entry.decode("latin-1")
    port = ""
    if text.startswith("["):
        text, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in text or (rest and not rest.startswith(":")):
            return None
        port = rest[1:] if rest else "0"
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
    else:
        port = "0"
    address = packed(text)
    if address is None or not port.isdecimal() or len(port) > 5 or int(port) > 65535:
        return None
    return Peer(address, b"%d" % int(port) if int(port) else b"")
