"""What a request has looked up in databases, and how a value of a record is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.errorlog import ERR
from portico.features.geoip.database import DatabaseFailed
from portico.http.request import RequestSlot
from portico.net.forwarded_for import client_address
from portico.net.networks import Network, unmapped

if TYPE_CHECKING:
    from portico.features.geoip.database import Database
    from portico.http.request import Request

_FOUND: Final = RequestSlot[dict[tuple[object, bytes], object]](inherited=True)  # by database and address
_LARGEST: Final = (1 << 64) - 1  # of what is written as a decimal


def record_of(request: Request, database: Database, address: bytes) -> object:
    """Return the record of an address, looked up once for a request; None when there is none, or the file is damaged (logged)."""
    if not address:  # of a Unix socket
        return None
    found = _FOUND.of(request)
    if found is None:
        found = {}
        _FOUND.put(request, found)
    key = (database, address)
    if key in found:
        return found[key]
    record: object = None
    try:
        record = database.look_up(address)
    except DatabaseFailed as failure:
        request.log_error(ERR, f'the database "{database.path}" is damaged: a lookup failed ({failure.reason})')
    found[key] = record
    return record


def address_of(request: Request, proxies: list[Network], recursive: bool) -> bytes:
    """Return the client's address, 4 or 16 bytes; b"" of a Unix socket. Behind one of `proxies` it is that in X-Forwarded-For."""
    address = unmapped(request.packed_address())
    if not proxies or not address:
        return address
    return unmapped(client_address(address, request.fields.get_all(b"x-forwarded-for"), proxies, recursive))


def find(record: object, path: tuple[str, ...]) -> object:
    """Return what lies at a path in a record: names of maps' keys, and numbers in arrays, from the end when negative; else None."""
    for step in path:
        if isinstance(record, dict):
            record = record.get(step)
        elif isinstance(record, list):
            if not step.removeprefix("-").isdecimal() or len(step) > 9:
                return None
            index = int(step)
            if not -len(record) <= index < len(record):
                return None
            record = record[index]
        else:
            return None
    return record


def written(value: object, decimals: int) -> bytes | None:
    """Return a value as text, None when it is not one that can be: a map, an array. `decimals` behind the point of a fraction."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, bool):
        return b"1" if value else b"0"
    if isinstance(value, int):
        return f"0x{value:032x}".encode() if value > _LARGEST else b"%d" % value
    if isinstance(value, float):
        return f"{value:.{decimals}f}".encode()
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    return None
