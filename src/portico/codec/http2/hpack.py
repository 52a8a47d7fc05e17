"""Header blocks of HTTP/2, both ways (RFC 7541), without I/O.

A client repeats itself: the same block again, or the same but for `:path`. Both are remembered for a connection with what was made
of them (`HeaderList.made`), so that such a request costs a lookup (0.1 µs, compiled) or the decoding of one string (0.6 µs for a new
one) in place of all of it (0.6 µs for 11 fields that the table has, 1.3 µs for literals). What is remembered holds as long as the
dynamic table stays as it is.

Blocks that are sent name the static table only, and literals that no table takes: they are the same bytes on every connection, so
they are made once for a response that is sent often. A dynamic table would save bytes and cost a lookup for each field (1 µs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.http2 import huffman
from portico.codec.http2.errors import FRAME_SIZE_ERROR, HeadersTooLarge, HpackError
from portico.codec.http2.tables import STATIC

if TYPE_CHECKING:
    from mypy_extensions import i64

TABLE_SIZE: Final = 4096  # bytes: SETTINGS_HEADER_TABLE_SIZE as long as nobody says otherwise
_OVERHEAD: Final = 32  # bytes that an entry counts beside its name and value (RFC 7541 section 4.1)
_PATH: Final = 4  # the first index of :path
_MOST_BLOCKS: Final = 16  # remembered for a connection
_LONGEST_BLOCK: Final = 1024
_MOST_FIELDS: Final = 4096  # of a block: without names and values they would have no other limit


@final
class HeaderList:
    """What header blocks say that differ in their path at most. All fields in order, but the value of :path."""

    def __init__(self) -> None:
        self.names: list[bytes] = []
        self.values: list[bytes] = []
        self.made: object = None  # what the reader of the block made of it


@final
class Block:
    """A header block decoded."""

    def __init__(self, headers: HeaderList, path: bytes) -> None:
        self.headers = headers
        self.path = path  # the value of :path; b"" when there is none
        self.made: object = None  # what the reader of the block made of it


@final
class Decoder:
    """The header blocks that come on one connection.

    `field_limit`: bytes that a name or a value may have; `limit`: those of all fields of a block together.
    """

    def __init__(self, field_limit: int, limit: int) -> None:
        self.field_limit = field_limit
        self.limit = limit
        self._allowed = TABLE_SIZE  # bytes that the peer may give the table
        self._most = TABLE_SIZE  # bytes that it has given it
        self._table: list[tuple[bytes, bytes]] = []  # the newest last
        self._first = 0  # those before this index are evicted
        self._size = 0
        self._blocks: dict[bytes, Block] = {}
        self._before_path = b""  # of the last block, where its path is a literal that no table takes
        self._behind_path = b""
        self._headers: HeaderList | None = None
        self._longest_path = 0  # bytes that it may have beside the other fields

    def decode(self, data: bytes) -> Block:
        """Return what a whole block says. Raises HpackError and HeadersTooLarge, after which no other block can be decoded."""
        block = self._blocks.get(data)
        if block is not None:
            return block
        headers = self._headers
        if headers is not None:
            path = self._path_of(data)
            if path is not None:
                if len(path) > self._longest_path:
                    raise HeadersTooLarge
                block = Block(headers, path)
                self._remember(data, block)
                return block
        return self._decode(data)

    def forget(self) -> None:
        """Forget the blocks that were met: the connection is idle, and they are memory."""
        self._blocks.clear()
        self._headers = None
        self._before_path = self._behind_path = b""

    def _path_of(self, data: bytes) -> bytes | None:
        """Return the path of a block that is the last one but for that; None when it is another one."""
        at = len(self._before_path)
        end = len(data) - len(self._behind_path)
        if end - at < 2 or not data.startswith(self._before_path) or not data.endswith(self._behind_path):
            return None
        octet = data[at]
        count = octet & 0x7F
        if count == 0x7F or at + 1 + count != end:
            return None
        text = data[at + 1 : end]
        return huffman.decode_short(text) if octet & 0x80 else text

    def _remember(self, data: bytes, block: Block) -> None:
        if len(data) > _LONGEST_BLOCK:
            return
        if len(self._blocks) >= _MOST_BLOCKS:
            self._blocks.clear()
        self._blocks[data] = block

    def _decode(self, data: bytes) -> Block:
        headers = HeaderList()
        names = headers.names
        values = headers.values
        path = b""
        path_at: i64 = -1  # where the string of a literal :path begins and ends
        path_end: i64 = -1
        paths: i64 = 0
        changed = False
        total: i64 = 0
        limit: i64 = self.limit
        field_limit: i64 = self.field_limit
        at: i64 = 0
        size: i64 = len(data)
        while at < size:
            octet: i64 = data[at]
            at += 1
            index: i64 = 0
            string_at: i64 = -1
            if octet & 0x80:
                index = octet & 0x7F
                if index == 0x7F:
                    index, at = _integer(data, at, 0x7F)
                name, value = self._entry(index)
            elif octet & 0xE0 == 0x20:
                index = octet & 0x1F
                if index == 0x1F:
                    index, at = _integer(data, at, 0x1F)
                if names or index > self._allowed:  # RFC 7541 section 4.2: only at the beginning of a block
                    raise HpackError("a size of the dynamic table that is not allowed")
                self._most = index
                self._evict(0)
                changed = True
                continue
            else:
                indexed = octet & 0x40 != 0
                mask: i64 = 0x3F if indexed else 0x0F
                index = octet & mask
                if index == mask:
                    index, at = _integer(data, at, mask)
                if index == 0:
                    name, at = _string(data, at)
                else:
                    name = self._entry(index)[0]
                string_at = at
                value, at = _string(data, at)
                if indexed:
                    changed = True
                    self._insert(name, value)
            total += len(name) + len(value)
            if total > limit or len(name) > field_limit or len(value) > field_limit or len(names) >= _MOST_FIELDS:
                raise HeadersTooLarge
            if name == b":path":
                paths += 1
                path = value
                path_at = string_at
                path_end = at
                value = b""
            names.append(name)
            values.append(value)
        block = Block(headers, path)
        if changed:
            self.forget()
        else:
            self._remember(data, block)
            if path_at >= 0 and paths == 1 and size <= _LONGEST_BLOCK:
                self._before_path = data[:path_at]
                self._behind_path = data[path_end:]
                self._headers = headers
                room: i64 = limit - total + len(path)
                self._longest_path = room if room < field_limit else field_limit
        return block

    def _entry(self, index: i64) -> tuple[bytes, bytes]:
        """Return an entry of the static or dynamic table. Raises HpackError."""
        if index <= 61:
            if index == 0:
                raise HpackError("index 0")
            return STATIC[index - 1]
        at: i64 = len(self._table) - (index - 61)
        if at < self._first:
            raise HpackError("an index beyond the dynamic table")
        return self._table[at]

    def _insert(self, name: bytes, value: bytes) -> None:
        size = len(name) + len(value) + _OVERHEAD
        self._evict(size)
        if size <= self._most:
            self._table.append((name, value))
            self._size += size

    def _evict(self, room: int) -> None:
        table = self._table
        while self._size + room > self._most and self._first < len(table):
            old = table[self._first]
            self._size -= len(old[0]) + len(old[1]) + _OVERHEAD
            self._first += 1
        if self._first > 64 or self._first == len(table):
            del table[: self._first]
            self._first = 0


def _integer(data: bytes, at: i64, prefix: i64) -> tuple[i64, i64]:
    """Return an integer that does not fit its prefix, and where it ends (RFC 7541 section 5.1). Raises HpackError."""
    value = prefix
    shift: i64 = 0
    size: i64 = len(data)
    while at < size:
        octet: i64 = data[at]
        at += 1
        value += (octet & 0x7F) << shift
        if not octet & 0x80:
            return value, at
        shift += 7
        if shift > 21:  # 28 bits are more than any size can be; nginx takes as many
            raise HpackError("an integer that is too large")
    raise HpackError("a truncated end", FRAME_SIZE_ERROR)


def _string(data: bytes, at: i64) -> tuple[bytes, i64]:
    """Return a string, and where it ends (RFC 7541 section 5.2). Raises HpackError."""
    if at >= len(data):
        raise HpackError("a truncated end", FRAME_SIZE_ERROR)
    octet: i64 = data[at]
    at += 1
    count = octet & 0x7F
    if count == 0x7F:
        count, at = _integer(data, at, 0x7F)
    end = at + count
    if end > len(data):
        raise HpackError("a truncated end", FRAME_SIZE_ERROR)
    text = data[at:end]
    return huffman.decode_short(text) if octet & 0x80 else text, end


# -- encoding --------------------------------------------------------------------------------------------------------

NO_TABLE: Final = b"\x20"  # the dynamic table has 0 bytes from here on: for a peer that has allowed less than was the rule

_NAMES: Final[dict[bytes, int]] = {name: index + 1 for index, (name, _) in reversed(list(enumerate(STATIC)))}
_FIELDS: Final[dict[tuple[bytes, bytes], int]] = {field: index + 1 for index, field in enumerate(STATIC)}


def encoded_field(name: bytes, value: bytes) -> bytes:
    """Return a field, its name in lower case, as part of a block."""
    index = _FIELDS.get((name, value))
    if index is not None:
        return _prefixed(index, 7, 0x80)
    index = _NAMES.get(name, 0)
    start = _prefixed(index, 4, 0)
    if not index:
        start += _encoded_string(name)
    return start + _encoded_string(value)


def encoded_fields(fields: list[tuple[bytes, bytes]]) -> bytes:
    """Return fields as a block, or as part of one; their names may be in any case."""
    return b"".join([encoded_field(name.lower(), value) for name, value in fields])


def _encoded_string(text: bytes) -> bytes:
    coded = huffman.encode_short(text)
    return _prefixed(len(coded), 7, 0x80) + coded if len(coded) < len(text) else _prefixed(len(text), 7, 0) + text


def _prefixed(value: int, bits: int, first: int) -> bytes:
    """Return an integer behind the bits of `first` (RFC 7541 section 5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    out = bytearray((first | most,))
    value -= most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
