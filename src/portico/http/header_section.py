"""The fields that a response's header section comes to, in nginx's order, when every filter has seen it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.http.finished import FinishedHead
from portico.http.response import PLAIN_UPSTREAM
from portico.http.routing.uri import printable_target

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.response import Response

_WITH_LAST_MODIFIED: Final = (200, 206, 304)  # nginx: of other responses of its own it says nothing


def server_and_date(request: Request, response: Response) -> tuple[bytes, bytes]:
    """Return the values of Server and Date, b"" for a field that is not sent: those of an upstream where they are let through."""
    part = PLAIN_UPSTREAM if response.upstream is None else response.upstream
    server = b""
    if part.server:
        server = part.server
    elif not part.no_server:
        core = request.location.core
        server = core.server_tokens.render(request) if core.server_name_sent is None else core.server_name_sent
    return server, part.date or (b"" if part.no_date else request.reactor.date())


def finished_head(request: Request, response: Response, owner: object = None) -> FinishedHead:
    """Return the header section of a response that no filter will change any more."""
    part = response.upstream
    fields: list[tuple[bytes, bytes]] = []
    leading = add_fields(fields, request, response)
    return FinishedHead(fields, leading, owner, b"" if part is None else part.reason)


def add_fields(fields: list[tuple[bytes, bytes]], request: Request, response: Response) -> int:
    """Append the fields behind Date to a list, in nginx's order; return how many stand before those about the connection."""
    if response.content_type:
        fields.append((b"Content-Type", response.content_type))
    if response.content_length >= 0 and response.status != 204:
        fields.append((b"Content-Length", b"%d" % response.content_length))
    modified = response.last_modified_text
    part = response.upstream
    is_own = part is None or part.is_own
    if modified and is_own and response.status in _WITH_LAST_MODIFIED:
        fields.append((b"Last-Modified", modified))
    leading = len(fields)
    location = response.location
    if location:
        made = absolute(request, location)
        response.location = printable_target(made)
        fields.append((b"Location", response.location))
        if made != location:
            leading += 1  # others stand behind Connection in nginx
    if modified and not is_own:
        fields.append((b"Last-Modified", modified))
    if response.etag:
        fields.append((b"ETag", response.etag))
    if response.fields:
        fields.extend(response.fields)
    if response.ranges and response.status == 200:
        fields.append((b"Accept-Ranges", b"bytes"))
    return leading


def absolute(request: Request, location: bytes) -> bytes:
    """Return a Location that begins with "/" made absolute, as `absolute_redirect` and its kin say."""
    core = request.location.core
    if not location.startswith(b"/") or not core.absolute_redirect:
        return location
    client = request.client
    host = request.server.name_bytes if core.server_name_in_redirect else request.asked_host
    if not host:
        address = client.server_addr()[0]
        host = (f"[{address}]" if ":" in address else address).encode()
    port = client.server_addr()[1]
    text = (b"https://" if client.secure else b"http://") + host
    if core.port_in_redirect and port and port != (443 if client.secure else 80):
        text += b":%d" % port
    return text + location
