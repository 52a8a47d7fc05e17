"""A variable whose value depends on an address: what `geo` makes. (nginx: ngx_stream_geo_module.c.)"""

from __future__ import annotations

import socket
from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, final

from portico.config.load import Load
from portico.config.reader import Statement
from portico.net.networks import Network, NetworkTable, network, packed, unmapped
from portico.variables.template import Template, template
from portico.variables.variable import NESTING, S, Variables

if TYPE_CHECKING:
    from portico.variables.session import Session

Piece = tuple[int, int, bytes]

_NO_ADDRESS: Final = b"\xff\xff\xff\xff"  # stands for a client on a Unix socket, and for a value that is no address: INADDR_NONE


@final
class Ranges:
    """Values by range of IPv4 addresses.

    As in nginx a range is stored in pieces, one for each /16 that it touches. A new piece may be where none is, inside another, or
    in place of the same one; what lies across the end of another is refused (ngx_http_geo_add_range).
    """

    def __init__(self) -> None:
        self.blocks: dict[int, list[Piece]] = {}  # upper half of the address → (first, last, value) of the lower half, ascending

    def put(self, first: int, last: int, value: bytes) -> tuple[bytes | None, str]:
        """Set the value for `first` to `last`, both included. Returns the value of the same range, if there is one, and the range
        that it lies across, "" when all is well."""
        old: bytes | None = None
        whole = (0, 0xFFFF, value)
        for block in range(first >> 16, (last >> 16) + 1):
            low = first & 0xFFFF if block == first >> 16 else 0
            high = last & 0xFFFF if block == last >> 16 else 0xFFFF
            pieces = self.blocks.setdefault(block, [])
            index = bisect_right(pieces, (high, 0x10000, b"")) - 1
            if index < 0 or pieces[index][1] < low:
                pieces.insert(index + 1, whole if high - low == 0xFFFF else (low, high, value))
                continue
            start, end, current = pieces[index]
            if low < start or high > end:
                return None, _written(block, pieces[index])
            if low == start and high == end:
                old = current
            parts = [(start, low - 1, current), (low, high, value), (high + 1, end, current)]
            pieces[index : index + 1] = [part for part in parts if part[0] <= part[1]]
        return old, ""

    def remove(self, first: int, last: int) -> bool:
        """Remove a range as it was put. Returns False when some of it was not there."""
        complete = True
        for block in range(first >> 16, (last >> 16) + 1):
            low = first & 0xFFFF if block == first >> 16 else 0
            high = last & 0xFFFF if block == last >> 16 else 0xFFFF
            pieces = self.blocks.get(block, [])
            left = [piece for piece in pieces if piece[0] != low or piece[1] != high]
            complete = complete and len(left) < len(pieces)
            self.blocks[block] = left
        return complete

    def find(self, address: bytes) -> bytes | None:
        """Return the value for an address of 4 bytes; any other counts as nginx counts what is no address."""
        if len(address) != 4:
            address = _NO_ADDRESS
        pieces = self.blocks.get(address[0] << 8 | address[1])
        if pieces is None:
            return None
        number = address[2] << 8 | address[3]
        index = bisect_right(pieces, (number, 0x10000, b"")) - 1
        return None if index < 0 or pieces[index][1] < number else pieces[index][2]


def _written(block: int, piece: Piece) -> str:
    first, last = block << 16 | piece[0], block << 16 | piece[1]
    return f"{socket.inet_ntoa(first.to_bytes(4, 'big'))}-{socket.inet_ntoa(last.to_bytes(4, 'big'))}"


class Geo:
    """One `geo`."""

    def __init__(self, statement: Statement, name: str) -> None:
        self.statement = statement
        self.name = name
        self.source: Template | None = template(statement) if len(statement.args) == 2 else None
        self.default: bytes = b""
        self.has_default = False
        self.networks: NetworkTable[bytes] = NetworkTable()
        self.ranges: Ranges | None = None

    def get(self, session: Session) -> bytes | None:
        """Return the value of the network that the address is in."""
        known = session.values
        if known is not None and self.name in known:
            return known[self.name]
        if not NESTING.enter(session, self.name):
            return None
        try:
            address = self.address(session)
        finally:
            NESTING.leave()
        if address is None:
            address = _NO_ADDRESS
        found = self.networks.find(address) if self.ranges is None else self.ranges.find(address)
        return self.default if found is None else found

    def address(self, session: Session) -> bytes | None:
        """Return the address to look for, of 4 or 16 bytes; None when there is none."""
        if self.source is not None:
            return packed(self.source.render(session).decode("latin-1"))
        return unmapped(session.packed_address()) or None

    def is_option(self, line: Statement) -> bool:
        """Return whether a line says how to find the address: it may stand before `ranges`."""
        return False

    def read(self, lines: list[Statement]) -> None:
        """Add the lines of the block. Raises ConfigError."""
        begun = False
        for line in lines:
            if line.name == "ranges" and not line.args:
                if begun:
                    raise line.fail('the "ranges" directive must be the first directive inside "geo" block')
                if self.ranges is None:
                    self.ranges = Ranges()
                continue
            if self.ranges is None and not self.is_option(line):
                begun = True
            self.add(line)

    def add(self, line: Statement) -> None:
        """Add one line of the block. Raises ConfigError."""
        if len(line.args) != 1 or line.block is not None:
            raise line.fail("invalid number of the geo parameters")
        text = line.args[0].text
        if line.name == "default":
            self._set_default(line, text)
        elif self.ranges is not None:
            self._add_range(self.ranges, line, text)
        else:
            self._add_network(line, text)

    def _set_default(self, line: Statement, text: str) -> None:
        if self.has_default:
            shown = self.default.decode("utf-8", "replace")
            what = 'network "default", value' if self.ranges is None else "default geo range value"
            line.warn(f'duplicate {what}: "{text}", old value: "{shown}"')
        self.default = text.encode("utf-8", "surrogateescape")
        self.has_default = True

    def _add_range(self, ranges: Ranges, line: Statement, text: str) -> None:
        if line.name == "delete":
            if not ranges.remove(*_range(line, text)):
                line.warn(f'no address range "{text}" to delete')
            return
        first, last = _range(line, line.name)
        old, across = ranges.put(first, last, text.encode("utf-8", "surrogateescape"))
        if across:
            raise line.fail(f'range "{line.name}" overlaps "{across}"')
        if old is not None:
            shown = old.decode("utf-8", "replace")
            line.warn(f'duplicate range "{line.name}", value: "{text}", old value: "{shown}"')

    def _add_network(self, line: Statement, text: str) -> None:
        if line.name == "delete":
            if not self.networks.remove(network_of(line, text)):
                line.warn(f'no network "{text}" to delete')
            return
        value = text.encode("utf-8", "surrogateescape")
        old = self.networks.put(network_of(line, line.name), value)
        if old is not None:
            shown = old.decode("utf-8", "replace")
            line.warn(f'duplicate network "{line.name}", value: "{text}", old value: "{shown}"')


def network_of(line: Statement, text: str) -> Network:
    """Return the network that a line of the block names. Raises ConfigError."""
    found = network("0.0.0.0/0" if text == "default" else text)
    if found is None:
        raise line.fail(f'invalid network "{text}"')
    if not found.exact:
        line.warn(f"low address bits of {text} are meaningless")
    return found


def _range(line: Statement, text: str) -> tuple[int, int]:
    """Return first and last address of `192.0.2.1-192.0.2.9`."""
    low, _, high = text.partition("-")
    first, last = packed(low), packed(high)
    if first is None or last is None or len(first) != 4 or len(last) != 4 or first > last:
        raise line.fail(f'invalid range "{text}"')
    return int.from_bytes(first, "big"), int.from_bytes(last, "big")


def declare_geos(geos: Sequence[Geo | None], variables: Variables[S], load: Load) -> None:
    """Make the variables known; mistakes go to the load's diagnostics."""
    for made in geos:
        if made is not None and not variables.define(made.name, made.get):
            load.diagnostics.error(made.statement.fail(f'the duplicate "{made.name}" variable', made.statement.args[-1]))
