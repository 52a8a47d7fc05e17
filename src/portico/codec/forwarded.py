"""The field `Forwarded`, by which proxies say who stands behind them (RFC 7239).

    Forwarded: for=192.0.2.60;proto=https, for="[2001:db8::17]:4711";host=example.com
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PAIR: Final = re.compile(rb"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|\"((?:[^\"\\]|\\.)*)\")[ \t]*")
_NODE: Final = re.compile(rb"[0-9A-Za-z._:\[\]-]+")
UNKNOWN: Final = b"unknown"


def nodes_of(value: bytes) -> list[bytes]:
    """Return what `for` says in each element, in order; `unknown` where it says nothing that could be an address.

    A value that does not follow the grammar says nothing at all: [].
    """
    nodes: list[bytes] = []
    at = 0
    node = UNKNOWN
    while at < len(value):
        found = _PAIR.match(value, at)
        if found is None:
            return []
        if found.group(1).lower() == b"for":
            said = found.group(2) if found.group(2) is not None else found.group(3)
            node = said if said is not None and _NODE.fullmatch(said) is not None else UNKNOWN
        at = found.end()
        if at == len(value):
            break
        if value[at : at + 1] == b",":
            nodes.append(node)
            node = UNKNOWN
        elif value[at : at + 1] != b";":
            return []
        at += 1
        if at == len(value):
            return []
    nodes.append(node)
    return nodes if value else []


def element(address: bytes, port: bytes, host: bytes, scheme: bytes) -> bytes:
    """Return one element: who asked, for which host, by which scheme. `address` b"" or of a Unix socket: unknown."""
    if not address or address.startswith(b"unix:"):
        node = UNKNOWN
    elif b":" in address:
        node = b"[" + address + b"]"
    else:
        node = address
    if port and node is not UNKNOWN:
        node += b":" + port
    made = b"for=" + _quoted(node)
    if host:
        made += b";host=" + _quoted(host)
    return made + b";proto=" + scheme


def _quoted(value: bytes) -> bytes:
    if _TOKEN.fullmatch(value) is not None:
        return value
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
