"""`more_set_input_headers`, `more_clear_input_headers`: fields of requests, as variables and upstreams see them from then on.

What frames a request was read when it came, and stays: its length, its encoding, its connection. The section that it came with is
shared by all who repeat it, so that the request gets one of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.errors import ProtocolError
from portico.codec.http1_request import valid_host
from portico.errorlog import ERR
from portico.features.headers_more.commands import Command, Fields
from portico.http.errors import HTTPError
from portico.http.handler import Handler

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.response import Response

FRAMING: Final = frozenset((b"connection", b"content-length", b"transfer-encoding"))
NOT_BY_PATTERN: Final = FRAMING | {b"host"}
_HOST: Final = b"host"


@final
class MoreInputHeaders(Handler):
    """The commands of one location, at the end of its rewrite phase."""

    def __init__(self, commands: list[Command]) -> None:
        self.is_async = False
        self.commands = commands

    def handle(self, request: Request) -> Response | None:
        section = request.fields
        before: Fields = list(zip(section.keys, section.values, strict=True))
        fields = before
        written: set[bytes] = set()
        for command in self.commands:
            if command.types and _content_type(fields) not in command.types:
                continue
            for change in command.changes:
                if (command.only_replaces or change.is_pattern) and not change.is_in(fields):
                    continue
                value = change.value(request)
                if change.name == _HOST and not change.is_pattern:
                    request.asked_host = _host(value)
                fields = change.made_of(fields, value)
                if value:
                    written.add(change.name)
        if fields != before or written:
            # A field that the configuration sets is not the client's to remove by naming it in Connection.
            request.fields = section.with_fields([key for key, _ in fields], [value for _, value in fields], frozenset(written))
            request.memo = None  # what is remembered of the section holds for the one that came
        return None

    def describe(self) -> str:
        return "more_set_input_headers"


def _content_type(fields: Fields) -> bytes:
    for key, value in fields:
        if len(key) == 12 and key.lower() == b"content-type":
            return value
    return b""


def _host(value: bytes) -> bytes:
    """Return what $host is by a Host field; b"" stands for the server's name. Raises HTTPError 500 for one that is none."""
    if not value:
        return b""
    try:
        return valid_host(value)[0]
    except ProtocolError:
        shown = value.decode("utf-8", "backslashreplace")
        raise HTTPError(500, f'more_set_input_headers: invalid host "{shown}"', ERR) from None
