"""Header sections of responses as header blocks, made once where they are the same again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.fields import one_line
from portico.codec.http2.hpack import encoded_field
from portico.http.header_section import add_fields

if TYPE_CHECKING:
    from portico.http.finished import FinishedHead
    from portico.http.request import Request
    from portico.http.response import Response
    from portico.net.reactor import Reactor

# RFC 9113 section 8.2.2: whoever adds them, by `add_header` for example, means HTTP/1.
_OF_CONNECTION: Final = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))


@final
class Beginnings:
    """The beginnings of header blocks (:status, Server, Date), which are the same for a status within a second."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._second = -1
        self._made: dict[bytes, dict[int, bytes]] = {}  # by the name of the server

    def of(self, status: int, server: bytes) -> bytes:
        """Return the beginning of a block with this status and this server (b"": no field)."""
        reactor = self._reactor
        date = reactor.date()
        if reactor.wall_second != self._second:
            self._second = reactor.wall_second
            self._made.clear()
        of_server = self._made.get(server)
        if of_server is None:
            of_server = self._made[server] = {}
        made = of_server.get(status)
        if made is None:
            made = of_server[status] = beginning(status, server, date)
        return made


def beginning(status: int, server: bytes, date: bytes) -> bytes:
    """Return the fields :status, Server and Date, those of the two that have a value."""
    block = encoded_field(b":status", b"%d" % status)
    if server:
        block += encoded_field(b"server", server)
    if date:
        block += encoded_field(b"date", date)
    return block


def block_of(fields: list[tuple[bytes, bytes]]) -> bytes:
    """Return fields as part of a block, but for those that are about a connection of HTTP/1. No value can become two."""
    parts: list[bytes] = []
    for key, value in fields:
        name = key.lower()
        if name not in _OF_CONNECTION:
            parts.append(encoded_field(name, one_line(value)))
    return b"".join(parts)


def response_block(request: Request, response: Response) -> bytes:
    """Return the fields behind Date."""
    finished = response.finished
    if finished is None:
        fields: list[tuple[bytes, bytes]] = []
        add_fields(fields, request, response)
        return block_of(fields)
    block = _made_once(finished)
    if response.appended is not None:
        block += _made_once(response.appended)
    if response.fields:
        block += block_of(response.fields)
    return block


def _made_once(head: FinishedHead) -> bytes:
    if not head.http2:
        head.http2 = block_of(head.fields)
    return head.http2
