"""Who the client is behind proxies that are trusted (ngx_http_get_forwarded_addr)."""

from __future__ import annotations

from collections.abc import Sequence

from portico.http.networks import Network, packed


def client_address(peer: bytes, fields: Sequence[bytes], proxies: list[Network], recursive: bool) -> bytes:
    """The client's address, packed, as `peer` and the fields (X-Forwarded-For and the like, in the order received) tell.

    An address that is not a trusted proxy's is not asked what is behind it. Without `recursive` one step is taken.
    """
    entries = _entries(fields)
    address = peer
    while entries and any(proxy.contains(address) for proxy in proxies):
        behind = address_of(entries.pop())
        if behind is None:
            break
        address = behind
        if not recursive:
            break
    return address


def _entries(fields: Sequence[bytes]) -> list[bytes]:
    return [entry for field in fields for entry in field.replace(b",", b" ").split()]


def address_of(entry: bytes) -> bytes | None:
    """One entry: an address, perhaps with a port; None for anything else (ngx_parse_addr_port)."""
    text = entry.decode("latin-1")
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        return packed(host) if bracket and ":" in host and _is_port(port) else None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return packed(host) if _is_port(":" + port) else None
    return packed(text)


def _is_port(text: str) -> bool:
    return not text or (text.startswith(":") and text[1:].isdecimal() and 0 < int(text[1:]) < 65536 and len(text) < 7)
