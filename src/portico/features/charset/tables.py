"""The charsets that a configuration names, and the maps between them.

nginx gives every charset the spelling in which the configuration first names it: so does this.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, final

from portico.features.charset.recode import Recoding, byte_tables, utf8_tables

if TYPE_CHECKING:
    from portico.config.reader import Statement

UTF8: Final = b"utf-8"
_HEX: Final = re.compile(r"[0-9A-Fa-f]+")


@final
class Charset:
    """One charset: its name as it is sent, and the recodings from it, by the destination's name in lower case."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.key: bytes = name.lower()
        self.recodings: dict[bytes, Recoding] = {}

    def recoding_to(self, other: Charset) -> Recoding | None:
        """Return how to get from this one to another one."""
        return self.recodings.get(other.key)


@final
class Charsets:
    """Those of one configuration."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, Charset] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def add(self, name: bytes) -> Charset:
        """Return the charset of a name, which is made known by it."""
        return self._by_key.setdefault(name.lower(), Charset(name))

    def find(self, name: bytes) -> Charset | None:
        """Return the one called `name` in whatever case (ngx_http_get_charset)."""
        return self._by_key.get(name.lower())

    def add_map(self, given: CharsetMap) -> None:
        """Add a `charset_map`. Raises ConfigError."""
        source = self.add(given.source)
        destination = self.add(given.destination)
        shown = f'"{given.statement.args[0].text}" and "{given.statement.args[1].text}"'
        if source is destination:
            raise given.statement.fail(f'"charset_map" between the same charsets {shown}')
        if destination.key in source.recodings:
            raise given.statement.fail(f'duplicate "charset_map" between {shown}')
        there, back = utf8_tables(given.pairs) if destination.key == UTF8 else byte_tables(given.pairs)
        source.recodings[destination.key] = there
        destination.recodings[source.key] = back


@final
class CharsetMap:
    """One `charset_map`: pairs of a byte and a byte, or a byte and a code point when the second charset is UTF-8."""

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        self.source: bytes = statement.args[0].text.encode("utf-8", "surrogateescape")
        self.destination: bytes = statement.args[1].text.encode("utf-8", "surrogateescape")
        self.pairs: list[tuple[int, int]] = []


def charset_map(statement: Statement) -> CharsetMap:
    """Return the block of a `charset_map`; a directive's parser."""
    made = CharsetMap(statement)
    if made.source.lower() == UTF8 and made.destination.lower() != UTF8:
        raise statement.fail(
            "utf-8 must be the second of the two charsets", statement.args[0], "a map holds for both directions: exchange the columns"
        )
    to_utf8 = made.destination.lower() == UTF8
    for line in statement.block or ():
        if len(line.args) != 1 or line.block is not None:
            raise line.fail("invalid parameters number")
        if not _HEX.fullmatch(line.name) or int(line.name, 16) > 255:
            raise line.fail(f'invalid value "{line.name}"')
        made.pairs.append((int(line.name, 16), _code_point(line) if to_utf8 else _byte(line)))
    return made


def _byte(line: Statement) -> int:
    text = line.args[0].text
    if not _HEX.fullmatch(text) or int(text, 16) > 255:
        raise line.fail(f'invalid value "{text}"', line.args[0])
    return int(text, 16)


def _code_point(line: Statement) -> int:
    """Return the code point below 0x10000, and not ASCII, of the UTF-8 that is written as in `D0B0`."""
    text = line.args[0].text
    character = ""
    if _HEX.fullmatch(text) and len(text) % 2 == 0:
        try:
            character = bytes.fromhex(text).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            character = ""
    if len(character) != 1 or not 0x80 <= ord(character) <= 0xFFFF:
        raise line.fail(f'invalid value "{text}"', line.args[0], "it must be the bytes of one character in UTF-8, as in D0B0")
    return ord(character)
