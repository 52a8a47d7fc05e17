"""The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.codec.http2.errors import HpackError
from portico.codec.http2.tables import CODES, LENGTHS

if TYPE_CHECKING:
    from mypy_extensions import i64

_WIDTH: Final = 13  # bits that are looked up at once: all printable characters of ASCII but eight have shorter codes
_LONGEST: Final = 30
_MOST_PADDING: Final = 8  # bits: one more than RFC 7541 section 5.2 allows, as in nginx
_MOST_REMEMBERED: Final = 4096
_LONGEST_REMEMBERED: Final = 64  # bytes, encoded


def _windows() -> tuple[bytes, bytes]:
    """Return the octet, and the length of its code, for each value of the next 13 bits; 0 where the code is longer."""
    octets = bytearray(1 << _WIDTH)
    lengths = bytearray(1 << _WIDTH)
    for octet in range(256):
        length = LENGTHS[octet]
        if length <= _WIDTH:
            start = CODES[octet] << (_WIDTH - length)
            for value in range(start, start + (1 << (_WIDTH - length))):
                octets[value] = octet
                lengths[value] = length
    return bytes(octets), bytes(lengths)


_WINDOWS: Final = _windows()
_OCTETS: Final[bytes] = _WINDOWS[0]
_CODE_LENGTHS: Final[bytes] = _WINDOWS[1]
_LONG: Final[dict[int, int]] = {
    LENGTHS[octet] << 32 | CODES[octet]: octet for octet in range(256) if LENGTHS[octet] > _WIDTH
}


def _pieces() -> tuple[list[bytes], bytes]:
    """Return the octets whose codes are whole in each value of the next 13 bits, and how many bits those are.

    Most are two, so that a step decodes two: compiled, an octet costs 14 ns, where appending each to a bytearray costs 34.
    """
    pieces: list[bytes] = []
    used = bytearray(1 << _WIDTH)
    same: dict[bytes, bytes] = {}
    for value in range(1 << _WIDTH):
        piece = b""
        at = 0
        while True:
            rest = (value << at) & 8191
            length = _CODE_LENGTHS[rest]
            if length == 0 or at + length > _WIDTH:
                break
            piece += _OCTETS[rest : rest + 1]
            at += length
        pieces.append(same.setdefault(piece, piece))
        used[value] = at
    return pieces, bytes(used)


_ALL_PIECES: Final = _pieces()
_PIECES: Final[list[bytes]] = _ALL_PIECES[0]
_USED: Final[bytes] = _ALL_PIECES[1]


def decode(data: bytes) -> bytes:
    """Return a decoded string. Raises HpackError for a code that is none, and for padding of the wrong kind or length."""
    out: list[bytes] = []
    pieces = _PIECES
    used = _USED
    held: i64 = 0  # the bits that are read and not used, in its low end
    bits: i64 = 0  # how many
    size: i64 = len(data)
    at: i64 = 0
    while True:
        while bits <= 48 and at < size:
            held = ((held & 0xFFFFFFFFFFFF) << 8) | data[at]
            at += 1
            bits += 8
        if bits >= 13:
            window: i64 = (held >> (bits - 13)) & 8191
            length: i64 = used[window]
            if length:
                out.append(pieces[window])
                bits -= length
                continue
        else:  # the end is near: what is left, and ones behind it
            if bits < 5:
                break
            window = ((held << (13 - bits)) | ((1 << (13 - bits)) - 1)) & 8191
            length = _CODE_LENGTHS[window]
            if 0 < length <= bits:
                out.append(_OCTETS[window : window + 1])
                bits -= length
                continue
            if length or bits <= _MOST_PADDING:
                break
        found = _long(held, bits)
        if found < 0:
            raise HpackError("a Huffman code that does not exist")
        out.append(bytes((int(found & 255),)))
        bits -= found >> 8
    if bits > _MOST_PADDING or (held & ((1 << bits) - 1)) != (1 << bits) - 1:
        raise HpackError("a Huffman-encoded string with wrong padding")
    return b"".join(out)


def _long(held: i64, bits: i64) -> i64:
    """Return length << 8 | octet of the code at hand, which is longer than a window; -1 when there is none."""
    length: i64 = 14
    while length <= _LONGEST and length <= bits:
        octet = _LONG.get((length << 32) | ((held >> (bits - length)) & ((1 << length) - 1)))
        if octet is not None:
            return (length << 8) | octet
        length += 1
    return -1


_REMEMBERED: Final[dict[bytes, bytes]] = {}


def decode_short(data: bytes) -> bytes:
    """Return `decode(data)`, remembered for strings that are short: clients repeat them, on all connections."""
    found = _REMEMBERED.get(data)
    if found is None:
        found = decode(data)
        if len(data) <= _LONGEST_REMEMBERED:
            if len(_REMEMBERED) >= _MOST_REMEMBERED:
                _REMEMBERED.clear()
            _REMEMBERED[data] = found
    return found


def encode(text: bytes) -> bytes:
    """Return an encoded string, padded with the beginning of the code for its end."""
    out = bytearray()
    held: i64 = 0
    bits: i64 = 0
    for octet in text:
        length: i64 = LENGTHS[octet]
        held = ((held << length) | CODES[octet]) & 0xFFFFFFFFFF
        bits += length
        while bits >= 8:
            bits -= 8
            out.append((held >> bits) & 255)
    if bits:
        out.append(((held << (8 - bits)) | ((1 << (8 - bits)) - 1)) & 255)
    return bytes(out)


_ENCODED: Final[dict[bytes, bytes]] = {}


def encode_short(text: bytes) -> bytes:
    """Return `encode(text)`, remembered for strings that are short: responses repeat them."""
    found = _ENCODED.get(text)
    if found is None:
        found = encode(text)
        if len(text) <= _LONGEST_REMEMBERED:
            if len(_ENCODED) >= _MOST_REMEMBERED:
                _ENCODED.clear()
            _ENCODED[text] = found
    return found
