"""Writes small databases in MaxMind's format (.mmdb), whole or damaged in ways that a test says."""

from __future__ import annotations

import ipaddress
import struct
from typing import final

MARK = b"\xab\xcd\xefMaxMind.com"

Value = object
Node = list[object]  # two of: another node, the number of a record, None


@final
class Sized:
    """A number of a type that the format demands: 5 is uint16, 6 uint32, 9 uint64."""

    def __init__(self, kind: int, number: int) -> None:
        self.kind = kind
        self.number = number


def encoded(value: Value) -> bytes:
    """Return a value as the data section has it."""
    if isinstance(value, Sized):
        return _bytes(value.kind, _digits(value.number))
    if isinstance(value, bool):
        return _control(14, int(value))
    if isinstance(value, str):
        return _bytes(2, value.encode())
    if isinstance(value, float):
        return _bytes(3, struct.pack(">d", value))
    if isinstance(value, bytes):
        return _bytes(4, value)
    if isinstance(value, int):
        if value < 0:
            return _bytes(8, struct.pack(">i", value))
        return _bytes(6 if value < 1 << 32 else 9 if value < 1 << 64 else 10, _digits(value))
    if isinstance(value, dict):
        return _control(7, len(value)) + b"".join(encoded(key) + encoded(each) for key, each in value.items())
    assert isinstance(value, list)
    return _control(11, len(value)) + b"".join(encoded(each) for each in value)


def _digits(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _bytes(kind: int, data: bytes) -> bytes:
    return _control(kind, len(data)) + data


def _control(kind: int, size: int) -> bytes:
    first, extended = (kind << 5, b"") if kind < 8 else (0, bytes((kind - 7,)))
    if size < 29:
        return bytes((first | size,)) + extended
    if size < 285:
        return bytes((first | 29,)) + extended + bytes((size - 29,))
    return bytes((first | 30,)) + extended + (size - 285).to_bytes(2, "big")


def database(
    records: dict[str, Value],
    kind: str = "GeoLite2-City",
    ip_version: int = 6,
    epoch: int = 1700000000,
    record_size: int = 24,
    raw: dict[str, bytes] | None = None,
    metadata: dict[str, Value] | None = None,
) -> bytes:
    """Return a database. `raw`: records as bytes, whatever they are; `metadata`: what it says instead of the truth."""
    data = bytearray()
    offsets: list[int] = []
    root: Node = [None, None]
    entries = [(text, encoded(value)) for text, value in records.items()] + list((raw or {}).items())
    for text, record in entries:
        _insert(root, text, ip_version, len(offsets))
        offsets.append(len(data))
        data += record
    nodes: list[Node] = []
    _number(root, nodes)
    places = {id(node): index for index, node in enumerate(nodes)}
    tree = bytearray()
    for node in nodes:
        for side in node:
            if side is None:
                number = len(nodes)
            elif isinstance(side, int):
                number = len(nodes) + 16 + offsets[side]
            else:
                number = places[id(side)]
            tree += number.to_bytes(record_size // 8, "big")
    about: dict[str, Value] = {
        "node_count": Sized(6, len(nodes)), "record_size": Sized(5, record_size), "ip_version": Sized(5, ip_version),
        "database_type": kind, "languages": ["en"], "binary_format_major_version": Sized(5, 2),
        "binary_format_minor_version": Sized(5, 0), "build_epoch": Sized(9, epoch), "description": {"en": "made by a test"},
    }  # fmt: skip
    return bytes(tree) + bytes(16) + bytes(data) + MARK + encoded(about | (metadata or {}))


def _insert(root: Node, text: str, ip_version: int, record: int) -> None:
    network = ipaddress.ip_network(text)
    bits = f"{int(network.network_address):0{network.max_prefixlen}b}"[: network.prefixlen]
    if network.version == 4 and ip_version == 6:
        bits = "0" * 96 + bits
    node = root
    for bit in bits[:-1]:
        below = node[int(bit)]
        if not isinstance(below, list):
            below = node[int(bit)] = [None, None]
        node = below
    node[int(bits[-1])] = record


def _number(node: Node, nodes: list[Node]) -> None:
    nodes.append(node)
    for side in node:
        if isinstance(side, list):
            _number(side, nodes)
