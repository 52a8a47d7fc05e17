"""Sets of networks and what they stand for: `geo`, `set_real_ip_from`, `allow` and `deny`.

An address is 4 or 16 bytes in network order; an IPv4 address that came as IPv6 (`::ffff:192.0.2.1`) is its 4 bytes. A table is one
dict for each length of prefix in use, so that a lookup costs the same with ten networks as with a hundred thousand.
"""

from __future__ import annotations

import socket
from typing import Final, Generic, TypeVar, final

from portico.config.values import number_of

T = TypeVar("T")

_MAPPED: Final = bytes(10) + b"\xff\xff"


def packed(text: str) -> bytes | None:
    """Return the address that `text` writes; None when it is none."""
    try:
        if ":" not in text:
            return socket.inet_pton(socket.AF_INET, text)
        return unmapped(socket.inet_pton(socket.AF_INET6, text))
    except (OSError, ValueError):
        return None


def unmapped(address: bytes) -> bytes:
    """Return an IPv4-mapped IPv6 address as IPv4 (RFC 4291 section 2.5.5.2), any other as it is."""
    return address[12:] if len(address) == 16 and address.startswith(_MAPPED) else address


@final
class Network:
    """An address and the number of leading bits that count."""

    def __init__(self, address: bytes, length: int) -> None:
        self.size = len(address)  # bytes: 4 or 16
        self.length = length
        number = int.from_bytes(address, "big")
        self.number = number >> (self.size * 8 - length)
        self.exact = self.number << (self.size * 8 - length) == number  # no bits behind those that count

    def contains(self, address: bytes) -> bool:
        """Return whether the address belongs to it."""
        return len(address) == self.size and int.from_bytes(address, "big") >> (self.size * 8 - self.length) == self.number


def network(text: str) -> Network | None:
    """Return `192.0.2.0/24`, `2001:db8::/32`, or one address, as a network; None when it is neither (ngx_ptocidr)."""
    host, slash, bits = text.partition("/")
    try:
        address = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except (OSError, ValueError):
        return None
    if not slash:
        return Network(address, len(address) * 8)
    if "." in bits and len(address) == 4:  # nginx also takes a mask
        return _masked(address, bits)
    length = number_of(bits)
    return None if length is None or length > len(address) * 8 else Network(address, length)


def _masked(address: bytes, mask: str) -> Network | None:
    try:
        number = int.from_bytes(socket.inet_pton(socket.AF_INET, mask), "big")
    except OSError:
        return None
    length = number.bit_count()
    return Network(address, length) if number == (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF else None


@final
class NetworkTable(Generic[T]):
    """Values by network; the longest prefix that an address has wins."""

    def __init__(self) -> None:
        self._tables: dict[int, dict[int, dict[int, T]]] = {4: {}, 16: {}}  # address size → prefix length → prefix → value
        self._lengths: dict[int, list[int]] = {4: [], 16: []}  # longest first

    def put(self, key: Network, value: T) -> T | None:
        """Set the value of a network. Returns the one it had."""
        tables = self._tables[key.size]
        table = tables.get(key.length)
        if table is None:
            table = tables[key.length] = {}
            self._lengths[key.size] = sorted(tables, reverse=True)
        old = table.get(key.number)
        table[key.number] = value
        return old

    def remove(self, key: Network) -> bool:
        """Remove a network. Returns False when it was not there."""
        table = self._tables[key.size].get(key.length)
        return table is not None and table.pop(key.number, None) is not None

    def find(self, address: bytes) -> T | None:
        """Return the value of the smallest network that has the address."""
        size = len(address)
        lengths = self._lengths.get(size)
        if not lengths:
            return None
        number = int.from_bytes(address, "big")
        tables = self._tables[size]
        for length in lengths:
            value = tables[length].get(number >> (size * 8 - length))
            if value is not None:
                return value
        return None
