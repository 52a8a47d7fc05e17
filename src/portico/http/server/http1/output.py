"""From a `Response` to bytes on the client's connection (HTTP/1.1).

Header section and a short body leave in one send. Files go by sendfile(2), bodies from a plain upstream by splice(2), everything else
in pieces, with nothing held that the client has not made room for: a client that reads slowly slows its source down, unless the
source buffers (`Body.absorb`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from portico.codec.chunked import LAST_CHUNK, encode_chunk
from portico.errorlog import ALERT
from portico.http.error_pages import REASONS
from portico.http.errors import BodyCutShort, FileFailed
from portico.http.header_section import add_fields, server_and_date
from portico.http.pace import Pace
from portico.http.response import BYTES, FILE, PLAIN_UPSTREAM, UPGRADED, FileBody, Response, path_of
from portico.http.server.framing import BY_CHUNKS, BY_CLOSE, BY_LENGTH, framing_of, has_body, is_connection_kept
from portico.http.server.http1.prefixes import Prefixes, beginning
from portico.http.server.http1.stream import Http1Stream, lines_of

if TYPE_CHECKING:
    from portico.http.finished import FinishedHead
    from portico.http.request import Request
    from portico.http.settings import CoreSettings
    from portico.net.transport import Transport

# The head goes with the start of the file, in the same packet as with tcp_nopush. Pages of a file that sendfile(2) adds to a head
# which waits for them (MSG_MORE, TCP_CORK) cost the kernel half as much again for 100 KB as pages that come after it is sent.
_WITH_HEAD: Final = 4096
_IN_ONE_PIECE: Final = 32768  # bytes of a file that are read and sent, as a second system call costs more than copying them


def beginning_of(request: Request, response: Response, core: CoreSettings, prefixes: Prefixes) -> bytes:
    """Return the status line and the lines Server and Date of a response."""
    status = response.status
    server = core.server_name_sent
    finished = response.finished
    reason = b"" if finished is None else finished.reason
    part = response.upstream
    if part is None or part is PLAIN_UPSTREAM:
        if server is not None and not reason:
            return prefixes.of(status, server)
    elif finished is None:
        reason = part.reason
    server, date = server_and_date(request, response)
    return beginning(status, reason.strip() if reason else REASONS.get(status, b""), server, date)


def field_lines(request: Request, response: Response) -> tuple[bytes, bytes]:
    """Return the lines between Date and those about the connection, and those behind them."""
    finished = response.finished
    if finished is None:
        fields: list[tuple[bytes, bytes]] = []
        leading = add_fields(fields, request, response)
        return lines_of(fields[:leading]), lines_of(fields[leading:])
    if not finished.is_http1_made:
        _make_lines(finished)
    rest = finished.http1_rest
    appended = response.appended
    if appended is not None:
        if not appended.is_http1_made:
            _make_lines(appended)
        rest += appended.http1_rest
    if response.fields:
        rest += lines_of(response.fields)
    return finished.http1_leading, rest


def _make_lines(finished: FinishedHead) -> None:
    finished.http1_leading = lines_of(finished.fields[: finished.leading])
    finished.http1_rest = lines_of(finished.fields[finished.leading :])
    finished.is_http1_made = True


async def send_response(stream: Http1Stream, request: Request, response: Response, draining: bool) -> None:
    """Send a response; sets `request.keep_alive` to whether the connection can go on.

    Raises ClientFailed, ClientTimeout, FileFailed, BodyCutShort, and what the body's source raises; the connection is unusable then.
    """
    core = request.location.core
    transport = stream.transport
    status = response.status
    body = response.body
    keep = not draining and is_connection_kept(request, stream.client, core)
    bodyless = not has_body(request.method, status)
    if not bodyless and 0 <= body.length != response.content_length >= 0:
        # The status was changed (an error page of a response without a body): what is said is what is sent.
        response.content_length = body.length
        response.finished = None
    framing = BY_LENGTH
    if not bodyless:
        framing = framing_of(request.version, response.content_length, core.chunked)
        if framing == BY_CLOSE:
            keep = False
    chunked = framing == BY_CHUNKS
    request.keep_alive = keep
    if body.kind == UPGRADED:
        connection = b"Connection: upgrade\r\n"
    elif not keep:
        connection = b"Connection: close\r\n"
    elif core.keepalive_announced:
        connection = b"Connection: keep-alive\r\nKeep-Alive: timeout=%d\r\n" % core.keepalive_announced
    else:
        connection = b"Connection: keep-alive\r\n"
    if chunked:
        connection = b"Transfer-Encoding: chunked\r\n" + connection
    leading, rest = field_lines(request, response)
    head = b"".join([beginning_of(request, response, core, stream.prefixes), leading, connection, rest, b"\r\n"])
    request.status = status
    request.response = response
    request.head_bytes = len(head)
    seconds = core.send_timeout
    if bodyless:
        await _send(transport, head, seconds)
        return
    if body.kind == BYTES and core.limit_rate is None and (response.upstream is None or response.upstream.limit_rate < 0):
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
        await _send_file(transport, request, response, head, seconds, pace)
    else:
        await _send_stream(stream, request, response, head, chunked, seconds, pace)


def last_chunk(response: Response) -> bytes:
    """Return the end of a chunked body, with its trailer section."""
    return b"0\r\n" + lines_of(response.trailers) + b"\r\n" if response.trailers else LAST_CHUNK


async def _send(transport: Transport, data: bytes, seconds: float) -> None:
    sent = transport.send(data)
    if sent != len(data):
        await transport.send_all(data[sent:], seconds)


async def _send_file(
    transport: Transport, request: Request, response: Response, head: bytes, seconds: float, pace: Pace | None
) -> None:
    body = response.body
    assert isinstance(body, FileBody)
    left = body.left
    if left == 0:
        await _send(transport, head, seconds)
        return
    if pace is None:
        try:
            start = os.pread(body.fd, left if left <= _IN_ONE_PIECE else _WITH_HEAD, body.offset)
        except OSError as error:
            raise FileFailed("pread", path_of(body.fd), error) from None
        await _send(transport, head + start, seconds)
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
    stream: Http1Stream, request: Request, response: Response, head: bytes, chunked: bool, seconds: float, pace: Pace | None
) -> None:
    transport = stream.transport
    body = response.body
    pending = head
    expected = response.content_length
    delivered = 0
    while True:
        data = body.take()
        if data is None:
            if pending:
                await _push(stream, request, response, pending, seconds, pace)
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
        await _push(stream, request, response, data, seconds, pace)
        if transport.reactor.is_turn_over():
            await transport.reactor.turn()
        if not chunked and pace is None and body.can_splice() and not transport.secure:
            moved = await body.splice(stream, seconds)
            delivered += moved
            request.body_bytes += moved
    if chunked:
        last = last_chunk(response)
        pending += last
        request.body_bytes += len(last)
    if pending:
        await _push(stream, request, response, pending, seconds, pace)
    if 0 <= expected != delivered:
        raise BodyCutShort


async def _push(stream: Http1Stream, request: Request, response: Response, data: bytes, seconds: float, pace: Pace | None) -> None:
    """Send one piece; while the client takes no more, the source may read on (`absorb`)."""
    transport = stream.transport
    if pace is not None:
        await _send_paced(transport, request, data, seconds, pace)
        return
    sent = transport.send(data)
    while sent != len(data):
        data = data[sent:]
        await response.body.absorb(stream, seconds)
        sent = transport.send(data)


async def _send_paced(transport: Transport, request: Request, data: bytes, seconds: float, pace: Pace) -> None:
    """Send `data` no faster than `pace` allows, however long that takes."""
    at = 0
    while at < len(data):
        count = await pace.allowance(request, len(data) - at)
        sent = transport.send(data[at : at + count])
        if sent == 0:
            await transport.writable(seconds)
        at += sent
        pace.used(sent)
