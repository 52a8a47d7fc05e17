"""Bodies from one charset to another, whatever pieces they come in.

    one byte → one byte     a table of 256 bytes; the length stays
    one byte → UTF-8        what the map does not know becomes "?"
    UTF-8 → one byte        what the map does not know becomes "&#9731;", what is no UTF-8 becomes "?"

What is UTF-8 is nginx's reading of it (ngx_utf8_decode): a byte of a sequence that is missing takes the one in its place along, a
sequence may name half of a surrogate pair, and one that the body ends in the middle of is dropped.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import Final, final

from portico.http.handler import BodyTransform

_UNKNOWN: Final = ord("?")
_NOTHING: Final = "\ufffe"  # charmap_build: no character has this byte
_MAX: Final = 0x10FFFF
# Bits of the first byte that count, and the least that a sequence of this length may stand for.
_SEQUENCES: Final = {1: (0x1F, 0x80), 2: (0x0F, 0x800), 3: (0x07, 0x10000)}
# One sequence (ngx_utf8_decode), the first group: one that more bytes could complete.
_SEQUENCE: Final = re.compile(
    rb"((?:[\xc2-\xdf]|[\xe0-\xef][\x00-\xff]?|[\xf0-\xf7][\x00-\xff]{0,2})\Z)"
    rb"|[\xc2-\xdf][\x00-\xff]"
    rb"|[\xe0-\xef](?:[\x80-\xff]?[\x00-\x7f]|[\x80-\xff]{2})"
    rb"|[\xf0-\xf7](?:[\x80-\xff]{0,2}[\x00-\x7f]|[\x80-\xff]{3})"
    rb"|[\x80-\xff]"
)


@final
class Recoding:
    """What one `charset_map` says for one direction. One of the three is set."""

    def __init__(self, table: bytes = b"", decoding: str = "", encode: Callable[[str], bytes] | None = None) -> None:
        self.table = table
        self.decoding = decoding
        self.encode = encode

    def changes_length(self) -> bool:
        """Return whether bodies have another length afterwards."""
        return not self.table

    def transform(self) -> BodyTransform:
        """Return a recoder for one body."""
        if self.table:
            return ByteRecoder(self.table)
        if self.encode is not None:
            return FromUtf8(self.encode)
        return ToUtf8(self.decoding)


def byte_tables(pairs: list[tuple[int, int]]) -> tuple[Recoding, Recoding]:
    """Return there and back between two charsets of one byte."""
    there = bytearray(range(128)) + bytearray([_UNKNOWN] * 128)
    back = bytearray(there)
    for source, destination in pairs:
        there[source] = destination
        back[destination] = source
    return Recoding(bytes(there)), Recoding(bytes(back))


def utf8_tables(pairs: list[tuple[int, int]]) -> tuple[Recoding, Recoding]:
    """To UTF-8 and back; the second of a pair is a code point below 0x10000."""
    decoding = [chr(code) for code in range(128)] + ["?"] * 128
    codes: dict[int, int] = {code: code for code in range(128)}
    for source, code in pairs:
        decoding[source] = chr(code)
        codes[code] = source
    return Recoding(b"", "".join(decoding)), Recoding(b"", "", _encoder(codes))


def _encoder(codes: dict[int, int]) -> Callable[[str], bytes]:
    codes = {code: byte for code, byte in codes.items() if byte or not code}
    characters = [_NOTHING] * 256
    for code, byte in codes.items():
        characters[byte] = chr(code)
    # The compact form knows one character for each byte. It is five times as fast.
    compact = len(set(codes.values())) == len(codes) and _NOTHING not in map(chr, codes)
    mapping = codecs.charmap_build("".join(characters)) if compact else codes

    def encode(text: str) -> bytes:
        return codecs.charmap_encode(text, "xmlcharrefreplace", mapping)[0]

    return encode


@final
class ByteRecoder(BodyTransform):
    """Byte for byte."""

    def __init__(self, table: bytes) -> None:
        self.table = table

    def feed(self, data: bytes) -> bytes:
        return data.translate(self.table)

    def finish(self) -> bytes:
        return b""


@final
class ToUtf8(BodyTransform):
    """From a charset of one byte."""

    def __init__(self, decoding: str) -> None:
        self.decoding = decoding

    def feed(self, data: bytes) -> bytes:
        return codecs.charmap_decode(data, "strict", self.decoding)[0].encode("utf-8", "surrogatepass")

    def finish(self) -> bytes:
        return b""


@final
class FromUtf8(BodyTransform):
    """To a charset of one byte."""

    def __init__(self, encode: Callable[[str], bytes]) -> None:
        self.encode = encode
        self.held: bytes = b""  # the beginning of a sequence

    def feed(self, data: bytes) -> bytes:
        if self.held:
            data = self.held + data
            self.held = b""
        if data.isascii():
            return data
        try:
            text, used = codecs.utf_8_decode(data, "strict", False)
        except UnicodeDecodeError:
            return _SEQUENCE.sub(self._recoded, data)
        self.held = data[used:]
        return self.encode(text)

    def finish(self) -> bytes:
        self.held = b""
        return b""

    def _recoded(self, found: re.Match[bytes]) -> bytes:
        sequence = found.group()
        if found.group(1) is not None:
            self.held = sequence
            return b""
        more = 3 if sequence[0] >= 0xF0 else 2 if sequence[0] >= 0xE0 else 1
        if len(sequence) != more + 1 or sequence[-1] < 0x80:
            return b"?"
        mask, least = _SEQUENCES[more]
        code = sequence[0] & mask
        for byte in sequence[1:]:
            code = code << 6 | byte & 0x3F
        return self.encode(chr(code)) if least <= code <= _MAX else b"?"
