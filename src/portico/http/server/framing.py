"""Decisions about the frame of a response, as pure functions: those of any protocol, and of HTTP/1 (RFC 9112 section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.http.user_agent import is_msie6

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.settings import CoreSettings
    from portico.variables.client import Client

BY_LENGTH: Final = 0  # Content-Length says where the body ends
BY_CHUNKS: Final = 1  # the chunked transfer coding does
BY_CLOSE: Final = 2  # the end of the connection does


def has_body(method: bytes, status: int) -> bool:
    """Whether a response to `method` with this status is followed by a body (RFC 9110 section 6.4.1)."""
    return method != b"HEAD" and status >= 200 and status != 204 and status != 304


def framing_of(version: int, length: int, chunked_allowed: bool) -> int:
    """Return how HTTP/1 tells the end of a body of `length` bytes (-1: unknown) to a client of `version` (10 or 11)."""
    if length >= 0:
        return BY_LENGTH
    return BY_CHUNKS if version > 10 and chunked_allowed else BY_CLOSE


def is_connection_kept(request: Request, client: Client, core: CoreSettings) -> bool:
    """Return whether the connection serves another request after this one, as far as the request, its client and settings say."""
    if not request.keep_alive or core.keepalive_timeout == 0.0:
        return False
    if (core.keepalive_disable_safari or request.method == b"POST") and _is_disabled_for(request, core):
        return False
    if client.requests >= core.keepalive_requests:
        return False
    return client.reactor.now - client.started < core.keepalive_time


def _is_disabled_for(request: Request, core: CoreSettings) -> bool:
    """`keepalive_disable`: browsers that fail on reused connections, told as nginx tells them (ngx_http_process_user_agent)."""
    agent = request.fields.get(b"user-agent")
    if agent is None:
        return False
    if core.keepalive_disable_safari and agent.find(b"Safari/") >= 0 and agent.find(b"Mac OS X") >= 0:
        return agent.find(b"Chrome/") < 0
    return core.keepalive_disable_msie6 and request.method == b"POST" and is_msie6(agent)
