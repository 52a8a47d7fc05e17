"""`geo`: a variable whose value depends on an address. (nginx: ngx_http_geo_module.c.)"""

from __future__ import annotations

import socket
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, final

from portico.config.directive import HTTP, Directive, Scope
from portico.config.reader import Statement
from portico.http.feature import Feature
from portico.http.forwarded_for import client_address
from portico.http.networks import Network, NetworkTable, network, packed, unmapped
from portico.variables.template import NESTING, Template, Variables, template, variable_name

if TYPE_CHECKING:
    from portico.http.request import Request

Piece = tuple[int, int, bytes]


@final
class Ranges:
    """Values by range of IPv4 addresses.

    As in nginx a range is kept in pieces, one for each /16 that it touches. A new piece may be where none is, inside another one, or
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
            start, end, kept = pieces[index]
            if low < start or high > end:
                return None, _written(block, pieces[index])
            if low == start and high == end:
                old = kept
            parts = [(start, low - 1, kept), (low, high, value), (high + 1, end, kept)]
            pieces[index : index + 1] = [part for part in parts if part[0] <= part[1]]
        return old, ""

    def remove(self, first: int, last: int) -> bool:
        """Forget a range as it was put; False when some of it was not there."""
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
        """The value for an address of 4 bytes."""
        if len(address) != 4:
            return None
        pieces = self.blocks.get(address[0] << 8 | address[1])
        if pieces is None:
            return None
        number = address[2] << 8 | address[3]
        index = bisect_right(pieces, (number, 0x10000, b"")) - 1
        return None if index < 0 or pieces[index][1] < number else pieces[index][2]


def _written(block: int, piece: Piece) -> str:
    first, last = block << 16 | piece[0], block << 16 | piece[1]
    return f"{socket.inet_ntoa(first.to_bytes(4, 'big'))}-{socket.inet_ntoa(last.to_bytes(4, 'big'))}"


@final
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
        self.proxies: list[Network] = []
        self.recursive = False

    def get(self, request: Request) -> bytes | None:
        """The value of the network that the address is in."""
        known = request.values
        if known is not None and self.name in known:
            return known[self.name]
        if not NESTING.enter(request, self.name):
            return None
        try:
            address = self._address(request)
        finally:
            NESTING.leave()
        if address is None:
            return self.default
        found = self.networks.find(address) if self.ranges is None else self.ranges.find(address)
        return self.default if found is None else found

    def _address(self, request: Request) -> bytes | None:
        if self.source is not None:
            address = packed(self.source.render(request).decode("latin-1"))
        else:
            address = unmapped(request.packed_address()) or None
        if address is None or not self.proxies:
            return address
        return client_address(address, request.fields.get_all(b"x-forwarded-for"), self.proxies, self.recursive)

    def add(self, line: Statement) -> None:
        """One line of the block. Raises ConfigError."""
        if not line.args and line.name in ("ranges", "proxy_recursive"):
            self.recursive = self.recursive or line.name == "proxy_recursive"
            return
        if len(line.args) != 1 or line.block is not None:
            raise line.fail("invalid number of the geo parameters")
        text = line.args[0].text
        if line.name == "default":
            self._set_default(line, text)
        elif line.name == "proxy":
            self.proxies.append(_network(line, text))
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
            if not self.networks.remove(_network(line, text)):
                line.warn(f'no network "{text}" to delete')
            return
        value = text.encode("utf-8", "surrogateescape")
        old = self.networks.put(_network(line, line.name), value)
        if old is not None:
            shown = old.decode("utf-8", "replace")
            line.warn(f'duplicate network "{line.name}", value: "{text}", old value: "{shown}"')


def _network(line: Statement, text: str) -> Network:
    found = network("0.0.0.0/0" if text == "default" else text)
    if found is None:
        raise line.fail(f'invalid network "{text}"')
    if not found.exact:
        line.warn(f"low address bits of {text} are meaningless")
    return found


def _range(line: Statement, text: str) -> tuple[int, int]:
    """First and last address of `192.0.2.1-192.0.2.9`."""
    low, _, high = text.partition("-")
    first, last = packed(low), packed(high)
    if first is None or last is None or len(first) != 4 or len(last) != 4 or first > last:
        raise line.fail(f'invalid range "{text}"')
    return int.from_bytes(first, "big"), int.from_bytes(last, "big")


def _geo(statement: Statement) -> Geo:
    made = Geo(statement, variable_name(statement, -1))
    begun = False
    for line in statement.block or []:
        if line.name == "ranges" and not line.args:
            if begun:
                raise line.fail('the "ranges" directive must be the first directive inside "geo" block')
            if made.ranges is None:
                made.ranges = Ranges()
        elif made.ranges is None and not (line.name in ("proxy", "proxy_recursive") and len(line.args) < 2):
            begun = True
        made.add(line)
    return made


GEO: Final = Directive[Geo | None](
    "geo", HTTP, _geo, args="1-2", many=True, default=None, raw_block=True,
    syntax="[$ADDRESS] $VARIABLE { ... }",
    doc="Defines a variable: its value is that of the smallest network that has the address (the client's, or that in `$ADDRESS`). "
    "`default` is for everything else; `delete` removes a network; `include` reads lines from a file; `proxy` names trusted "
    "networks, behind which the address is the last one in X-Forwarded-For, or with `proxy_recursive` the last untrusted one. With "
    "`ranges` as the first line, lines are ranges of IPv4 addresses: `192.0.2.1-192.0.2.9 value;`.",
    example="geo $country { default ZZ; 127.0.0.0/24 US; 10.1.0.0/16 UK; }",
)


class GeoFeature(Feature):
    """Makes the variables known."""

    def declare(self, scope: Scope, variables: Variables) -> None:
        for made in scope.own_all(GEO):
            if made is not None and not variables.define(made.name, made.get):
                error = made.statement.fail(f'the duplicate "{made.name}" variable', made.statement.args[-1])
                made.statement.load.diagnostics.error(error)


FEATURE: Final = GeoFeature("http_geo", (GEO,))
