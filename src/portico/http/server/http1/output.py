"""From a `Response` to bytes on the client's connection (HTTP/1.1).

Head and a short body leave in one send. Files go by sendfile(2), bodies from a plain upstream by splice(2), everything else in
pieces, with nothing held that the client has not made room for: a client that reads slowly slows its source down, unless the
source buffers (`Body.absorb`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from portico.codec.chunked import LAST_CHUNK, encode_chunk
from portico.codec.fields import joined_lines
from portico.errorlog import ALERT
from portico.http.error_pages import REASONS
from portico.http.errors import BodyCutShort, FileFailed
from portico.http.pace import Pace
from portico.http.response import BYTES, FILE, Response, path_of
from portico.http.routing.uri import printable_target
from portico.http.user_agent import is_msie6

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.settings import CoreSettings
    from portico.net.reactor import Reactor

_WITH_LAST_MODIFIED: Final = (200, 206, 304)  # nginx: of other answers of its own it says nothing
# The head goes with the start of the file, in the same packet as with tcp_nopush. Pages of a file that sendfile(2) adds to a head
# which waits for them (MSG_MORE, TCP_CORK) cost the kernel half as much again for 100 KB as pages that come after it is sent.
_WITH_HEAD: Final = 4096
_IN_ONE_PIECE: Final = 32768  # bytes of a file that are read and sent, as a second system call costs more than copying them
_KEEP: Final = b"Connection: keep-alive\r\n"
_CLOSE: Final = b"Connection: close\r\n"


def prefix_of(request: Request, response: Response, core: CoreSettings, reactor: Reactor) -> bytes:
    """Status line, Server and Date: the same for every answer of one status within a second."""
    status = response.status
    plain = not response.reason and not response.server and not response.date and not response.no_server
    server = core.server_line
    if plain and server is not None:
        date = reactor.date()
        if reactor.wall_second != core.prefix_second:
            core.prefix_second = reactor.wall_second
            core.prefixes.clear()
        found = core.prefixes.get(status)
        if found is None:
            found = b"HTTP/1.1 %d %b\r\n%bDate: %b\r\n" % (status, REASONS.get(status, b""), server, date)
            core.prefixes[status] = found
        return found
    if response.no_server:
        server = b""
    elif response.server:
        server = b"Server: " + response.server + b"\r\n"
    elif server is None:
        text = core.server_tokens.render(request)
        server = b"Server: " + text + b"\r\n" if text else b""
    return b"HTTP/1.1 %d %b\r\n%bDate: %b\r\n" % (
        status,
        response.reason.strip() if response.reason else REASONS.get(status, b""),
        server,
        response.date or reactor.date(),
    )


def absolute(request: Request, location: bytes) -> bytes:
    """A Location that begins with "/" made absolute as `absolute_redirect` and its kin say."""
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


def fields_of(request: Request, response: Response) -> bytes:
    """The header lines between Date and Connection, in nginx's order."""
    lines: list[bytes] = []
    if response.content_type:
        lines.append(b"Content-Type: " + response.content_type)
    if response.content_length >= 0 and response.status != 204:
        lines.append(b"Content-Length: %d" % response.content_length)
    if response.last_modified_text and (response.status in _WITH_LAST_MODIFIED or response.from_upstream):
        lines.append(b"Last-Modified: " + response.last_modified_text)
    if response.location:
        response.location = printable_target(absolute(request, response.location))
        lines.append(b"Location: " + response.location)
    if response.etag:
        lines.append(b"ETag: " + response.etag)
    for key, value in response.fields:
        lines.append(key + b": " + value)
    if response.allow_ranges and response.status == 200:
        lines.append(b"Accept-Ranges: bytes")
    if not lines:
        return b""
    return joined_lines(lines)


def decide_keep_alive(request: Request, response: Response, core: CoreSettings) -> bool:
    """Whether the connection serves another request after this answer."""
    if not request.keep_alive or response.close or core.keepalive_timeout == 0.0:
        return False
    client = request.client
    if (core.keepalive_disable_safari or request.method == b"POST") and _kept_from(request, core):
        return False
    if client.requests >= core.keepalive_requests:
        return False
    return client.reactor.now - client.started < core.keepalive_time


def _kept_from(request: Request, core: CoreSettings) -> bool:
    """`keepalive_disable`: browsers that stumble over kept connections, told as nginx tells them (ngx_http_process_user_agent)."""
    agent = request.fields.get(b"user-agent")
    if agent is None:
        return False
    if core.keepalive_disable_safari and agent.find(b"Safari/") >= 0 and agent.find(b"Mac OS X") >= 0:
        return agent.find(b"Chrome/") < 0
    return core.keepalive_disable_msie6 and request.method == b"POST" and is_msie6(agent)


async def send_response(request: Request, response: Response, draining: bool) -> None:
    """Send head and body; sets `request.keep_alive` to whether the connection can go on.

    Raises ClientFailed, ClientTimeout, FileFailed, BodyCutShort, and what the body's source raises; the connection is unusable then.
    """
    core = request.location.core
    transport = request.client.transport
    status = response.status
    body = response.body
    keep = decide_keep_alive(request, response, core) and not draining
    chunked = False
    bodyless = request.method == b"HEAD" or status == 304 or status == 204 or status < 200
    if not bodyless and 0 <= body.length != response.content_length >= 0:
        # The status was changed (an error page of an answer without a body): what is said is what is sent.
        response.content_length = body.length
        response.head = b""
    if response.content_length < 0 and not bodyless:
        if request.version > 10 and core.chunked:
            chunked = True
        else:
            keep = False
    request.keep_alive = keep
    head = prefix_of(request, response, core, transport.reactor) + (response.head or fields_of(request, response))
    if chunked:
        head += b"Transfer-Encoding: chunked\r\n"
    if response.upgrade:
        head += b"Connection: upgrade\r\n\r\n"
    elif keep:
        head += _KEEP + core.keepalive_announced + b"\r\n"
    else:
        head += b"Connection: close\r\n\r\n"
    request.status = status
    request.response = response
    request.head_bytes = len(head)
    seconds = core.send_timeout
    if bodyless:
        await _send(request, head, seconds)
        return
    if body.kind == BYTES and (core.limit_rate is None and response.limit_rate < 0):
        content = body.take() or b""
        if chunked:
            content = (encode_chunk(content) if content else b"") + last_chunk(response)
        sent = transport.send_both(head, content)
        if sent != len(head) + len(content):
            rest = head[sent:] + content if sent < len(head) else content[sent - len(head) :]
            await transport.send_all(rest, seconds)
        request.body_bytes = len(content)
        return
    pace = Pace.for_request(request, response)
    if body.kind == FILE and core.sendfile and not transport.secure:
        await _send_file(request, response, head, seconds, pace)
    else:
        await _send_stream(request, response, head, chunked, seconds, pace)


def last_chunk(response: Response) -> bytes:
    """The end of a chunked body, with its trailer section."""
    return b"0\r\n" + response.trailers + b"\r\n" if response.trailers else LAST_CHUNK


async def _send(request: Request, data: bytes, seconds: float) -> None:
    transport = request.client.transport
    sent = transport.send(data)
    if sent != len(data):
        await transport.send_all(data[sent:], seconds)


async def _send_file(
    request: Request, response: Response, head: bytes, seconds: float, pace: Pace | None
) -> None:
    from portico.http.response import FileBody

    transport = request.client.transport
    body = response.body
    assert isinstance(body, FileBody)
    left = body.left
    if left == 0:
        await _send(request, head, seconds)
        return
    if pace is None:
        try:
            start = os.pread(body.fd, left if left <= _IN_ONE_PIECE else _WITH_HEAD, body.offset)
        except OSError as error:
            raise FileFailed("pread", path_of(body.fd), error) from None
        await _send(request, head + start, seconds)
        body.offset += len(start)
        left -= len(start)
        body.left = left
        request.body_bytes += len(start)
    else:
        sent = transport.send_more(head)
        if sent != len(head):
            await transport.send_all(head[sent:], seconds)
    most = request.location.core.sendfile_max_chunk
    while left > 0:
        count = left if left < most else most
        if pace is not None:
            count = min(count, await pace.allowance(request, left))
        try:
            moved = transport.sendfile(body.fd, body.offset, count)
        except OSError as failure:
            raise FileFailed("sendfile", path_of(body.fd), failure) from None
        if moved > 0:
            body.offset += moved
            left -= moved
            body.left = left
            request.body_bytes += moved
            if pace is not None:
                pace.used(moved)
            if left > 0 and transport.reactor.is_turn_over():
                await transport.reactor.turn()
        elif moved == 0:
            await transport.writable(seconds)
        else:
            request.log_error(ALERT, f'"{path_of(body.fd)}" was truncated while it was sent')
            raise BodyCutShort


async def _send_stream(
    request: Request, response: Response, head: bytes, chunked: bool, seconds: float, pace: Pace | None
) -> None:
    transport = request.client.transport
    body = response.body
    pending = head
    expected = response.content_length
    delivered = 0
    while True:
        data = body.take()
        if data is None:
            if pending:
                await _push(request, response, pending, seconds, pace)
                pending = b""
            await body.wait()
            if transport.reactor.is_turn_over():
                await transport.reactor.turn()
            continue
        if not data:
            break
        delivered += len(data)
        if chunked:
            data = encode_chunk(data)
        request.body_bytes += len(data)
        if pending:
            data = pending + data
            pending = b""
        await _push(request, response, data, seconds, pace)
        if transport.reactor.is_turn_over():
            await transport.reactor.turn()
        if not chunked and pace is None and body.can_splice() and not transport.secure:
            moved = await body.splice(transport, seconds)
            delivered += moved
            request.body_bytes += moved
    if chunked:
        last = last_chunk(response)
        pending += last
        request.body_bytes += len(last)
    if pending:
        await _push(request, response, pending, seconds, pace)
    if 0 <= expected != delivered:
        raise BodyCutShort


async def _push(request: Request, response: Response, data: bytes, seconds: float, pace: Pace | None) -> None:
    """Send one piece; while the client takes no more, the source may read on (`absorb`)."""
    transport = request.client.transport
    if pace is not None:
        await pace.send(request, data, seconds)
        return
    sent = transport.send(data)
    while sent != len(data):
        data = data[sent:]
        await response.body.absorb(transport, seconds)
        sent = transport.send(data)
