r"""The header of the PROXY protocol, by which a proxy in front tells who its client is.

    version 1   PROXY TCP4 192.0.2.1 192.0.2.2 51234 443\r\n
    version 2   \r\n\r\n\0\r\nQUIT\n, version and command, family and transport, length; addresses; TLVs

(https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt; nginx: ngx_proxy_protocol.c.)
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final, final

LONGEST_V1: Final = 107  # bytes, line end included (section 2.1)
LONGEST: Final = 4096  # nginx: NGX_PROXY_PROTOCOL_MAX_HEADER
SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED: Final = 16  # bytes of version 2 before the addresses
_LOCAL: Final = 0
_STREAM: Final = 1


class BrokenHeader(Exception):
    """What came is no such header."""


@final
class ProxyHeader:
    """What the header says. `length` is its own, in bytes; addresses are empty when it says none (UNKNOWN, LOCAL)."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.address: bytes = b""
        self.port = 0
        self.server_address: bytes = b""
        self.server_port = 0
        self.tlvs: bytes = b""  # as they came: type, two bytes of length, value


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """Return the header that `data` begins with; None when more of it has to come. Raises BrokenHeader."""
    if data.startswith(SIGNATURE):
        return _version_2(data)
    if data.startswith(b"PROXY "):
        return _version_1(data)
    if len(data) < len(SIGNATURE) and (SIGNATURE.startswith(data) or b"PROXY ".startswith(data)):
        return None
    raise BrokenHeader


def _version_1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, LONGEST_V1)
    if end < 0:
        if len(data) >= LONGEST_V1 or data.find(b"\n") >= 0:
            raise BrokenHeader
        return None
    header = ProxyHeader(end + 2)
    words = data[6:end].split(b" ")
    if words[0] == b"UNKNOWN":
        return header
    if len(words) != 5 or words[0] not in (b"TCP4", b"TCP6"):
        raise BrokenHeader
    six = words[0] == b"TCP6"
    header.address = _written(six, words[1])
    header.server_address = _written(six, words[2])
    header.port = _port(words[3])
    header.server_port = _port(words[4])
    return header


def _written(six: bool, text: bytes) -> bytes:
    try:
        if six:
            IPv6Address(text.decode("ascii"))
        else:
            IPv4Address(text.decode("ascii"))
    except ValueError:
        raise BrokenHeader from None
    if b"%" in text:  # the scope of a link-local address, which a socket's address does not have
        raise BrokenHeader
    return text


def _port(text: bytes) -> int:
    if not text.isdigit() or len(text) > 5 or int(text) > 65535:
        raise BrokenHeader
    return int(text)


def _version_2(data: bytes) -> ProxyHeader | None:
    if len(data) < _FIXED:
        return None
    version = data[12] >> 4
    command = data[12] & 15
    length = _FIXED + int.from_bytes(data[14:16], "big")
    if version != 2 or length > LONGEST:
        raise BrokenHeader
    if len(data) < length:
        return None
    header = ProxyHeader(length)
    family = data[13] >> 4
    if command == _LOCAL or data[13] & 15 != _STREAM:
        return header
    if command != 1:
        raise BrokenHeader
    if family == 1:
        _addresses(header, data[_FIXED:length], 4)
    elif family == 2:
        _addresses(header, data[_FIXED:length], 16)
    return header


def _addresses(header: ProxyHeader, block: bytes, size: int) -> None:
    ports = 2 * size
    if len(block) < ports + 4:
        raise BrokenHeader
    header.address = _text(block[:size])
    header.server_address = _text(block[size:ports])
    header.port = int.from_bytes(block[ports : ports + 2], "big")
    header.server_port = int.from_bytes(block[ports + 2 : ports + 4], "big")
    header.tlvs = block[ports + 4 :]


def _text(address: bytes) -> bytes:
    return str(IPv4Address(address) if len(address) == 4 else IPv6Address(address)).encode()


def find_tlv(tlvs: bytes, wanted: int) -> bytes | None:
    """Return the value of the first TLV of a type; None when there is none, or when what stands before it is truncated."""
    at = 0
    while at + 3 <= len(tlvs):
        length = tlvs[at + 1] << 8 | tlvs[at + 2]
        end = at + 3 + length
        if end > len(tlvs):
            return None
        if tlvs[at] == wanted:
            return tlvs[at + 3 : end]
        at = end
    return None
