"""`more_set_headers`, `more_clear_headers`: fields of responses, of errors and whatever status, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.features.headers_more.commands import Command, FieldChange
from portico.http.handler import HeaderFilter
from portico.http.response import NO_RANGES, UpstreamPart

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.response import Response

ORDER: Final = 47  # after conditions are looked at, before expires and add_header, as in nginx
FRAMING: Final = frozenset((b"connection", b"keep-alive", b"content-length", b"transfer-encoding"))

# Of these a response has one: `-a` replaces it, too.
_SINGLE: Final = frozenset(
    (
        b"server", b"date", b"content-encoding", b"location", b"refresh", b"last-modified", b"content-range", b"accept-ranges",
        b"www-authenticate", b"expires", b"etag", b"content-type", b"cache-control",
    )
)  # fmt: skip
_WITH_LAST_MODIFIED: Final = (200, 206, 304)  # of other responses of Portico's own the attribute is not sent


@final
class MoreHeaders(HeaderFilter):
    """The commands of one location."""

    def __init__(self, commands: list[Command]) -> None:
        self.commands = commands

    def apply(self, request: Request, response: Response) -> None:
        for command in self.commands:
            if command.statuses and response.status not in command.statuses:
                continue
            if command.types and response.content_type.partition(b";")[0].rstrip() not in command.types:
                continue
            for change in command.changes:
                value = change.value(request)
                if not command.adds or change.is_pattern or change.name in _SINGLE:
                    _change(response, change, value)
                elif value:
                    response.add(change.key, value)


def _change(response: Response, change: FieldChange, value: bytes) -> None:
    """Set or remove a field, wherever the response has it."""
    name = change.name
    if change.is_pattern:
        _change_all(response, change, value)
    elif name == b"server":
        part = _own_part(response)
        part.server = value
        part.no_server = not value
    elif name == b"date":
        part = _own_part(response)
        part.date = value
        part.no_date = not value
    elif name == b"content-type":
        response.content_type = value
    elif name == b"location":
        response.location = value
    elif name == b"etag":
        response.etag = value
    elif name == b"last-modified" and (not value or not _is_own(response) or response.status in _WITH_LAST_MODIFIED):
        response.last_modified_text = value
    else:
        if name == b"accept-ranges":
            if value == b"bytes" and response.ranges != NO_RANGES and response.status == 200:
                return  # it says so already
            if value != b"bytes":
                response.ranges = NO_RANGES
        response.fields = change.made_of(response.fields, value)


def _change_all(response: Response, change: FieldChange, value: bytes) -> None:
    """Set the first field that a pattern stands for, and remove the others; with b"" all."""
    response.fields = change.made_of(response.fields, value)
    if value:
        return
    if change.means(b"location"):
        response.location = b""
    if change.means(b"etag"):
        response.etag = b""
    if change.means(b"last-modified"):
        response.last_modified_text = b""


def _is_own(response: Response) -> bool:
    """Return whether no upstream has made it."""
    return response.upstream is None or response.upstream.is_own


def _own_part(response: Response) -> UpstreamPart:
    """Return what the response has of Server and Date, to be written to: what an upstream said may be shared with a cache."""
    part = UpstreamPart()
    old = response.upstream
    if old is not None:
        part.reason = old.reason
        part.server = old.server
        part.no_server = old.no_server
        part.date = old.date
        part.no_date = old.no_date
        part.limit_rate = old.limit_rate
        part.charset = old.charset
    part.is_own = _is_own(response)
    response.upstream = part
    return part
