"""From a `Response` to frames.

The header section and a short body are made at once, and leave with what other streams have to send. A long body is taken piece by
piece and sent in frames of `http2_chunk_size`; nothing is held that the client has not made room for: a client
that reads slowly slows its source down, unless the source buffers (`Body.absorb`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from portico.codec.http2.frames import HEADER
from portico.errorlog import ALERT
from portico.http.errors import BodyCutShort, FileFailed
from portico.http.header_section import server_and_date
from portico.http.pace import Pace
from portico.http.plan import LocationSlot
from portico.http.response import BYTES, FILE, PLAIN_UPSTREAM, UPGRADED, FileBody, path_of
from portico.http.server.framing import has_body
from portico.http.server.http2.blocks import beginning, block_of, response_block

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.response import Response
    from portico.http.server.http2.blocks import Beginnings
    from portico.http.server.http2.stream import Http2Stream

CHUNK: Final = LocationSlot[int]()  # `http2_chunk_size`, where it is not the default
_PIECE: Final = 8192  # bytes: the default


async def send_response(stream: Http2Stream, beginnings: Beginnings, request: Request, response: Response) -> None:
    """Send a response.

    Raises ClientFailed, ClientTimeout, FileFailed, BodyCutShort, and what the body's source raises.
    """
    streams = stream.streams
    streams.room_of(stream)  # raises when the client has gone
    core = request.location.core
    status = response.status
    body = response.body
    if body.kind == UPGRADED:
        raise BodyCutShort  # RFC 9113 section 8.6: nobody can have asked for it
    bodyless = not has_body(request.method, status)
    if not bodyless and 0 <= body.length != response.content_length >= 0:
        # The status was changed (an error page of a response without a body): what is said is what is sent.
        response.content_length = body.length
        response.finished = None
    part = response.upstream
    server = core.server_name_sent
    if server is not None and (part is None or part is PLAIN_UPSTREAM):
        block = beginnings.of(status, server)
    else:
        block = beginning(status, *server_and_date(request, response))
    block += response_block(request, response)
    request.status = status
    request.response = response
    request.head_bytes = len(block) + HEADER
    if bodyless:
        streams.send_headers(stream, block, True)
        return
    pace: Pace | None = Pace.for_request(request, response)
    if body.kind == BYTES and pace is None:
        content = body.take() or b""
        if not content and not response.trailers:
            streams.send_headers(stream, block, True)
            return
        streams.send_headers(stream, block, False)
        last = not response.trailers
        if len(content) <= min(streams.room_of(stream), CHUNK.of(request.location) or _PIECE):
            streams.send_data(stream, content, last)
            request.body_bytes = len(content) + HEADER
        else:
            await _send_piece(stream, request, response, content, last, pace)
    else:
        streams.send_headers(stream, block, False)
        last = not await _send_stream(stream, request, response, pace)
    if not last:
        streams.send_headers(stream, block_of(response.trailers), True)


async def _send_stream(stream: Http2Stream, request: Request, response: Response, pace: Pace | None) -> bool:
    """Send the body; return whether the end of the stream is still to be sent, with trailers."""
    body = response.body
    if body.kind == FILE:
        assert isinstance(body, FileBody)
        await _send_file(stream, request, response, body, pace)
        return False
    expected = response.content_length
    delivered = 0
    reactor = request.reactor
    while True:
        data = body.take()
        if data is None:
            await body.wait()
            if stream.gone:
                stream.streams.room_of(stream)  # raises
        elif data:
            delivered += len(data)
            await _send_piece(stream, request, response, data, delivered == expected and not response.trailers, pace)
        else:
            break
        if reactor.is_turn_over():
            await reactor.turn()
    if 0 <= expected != delivered:
        raise BodyCutShort
    if response.trailers:
        return True
    if delivered != expected:
        stream.streams.send_data(stream, b"", True)
        request.body_bytes += HEADER
    return False


async def _send_file(stream: Http2Stream, request: Request, response: Response, body: FileBody, pace: Pace | None) -> None:
    """Send a file, a frame at a time, so that no more of it is in memory than is sent."""
    streams = stream.streams
    last = not response.trailers
    while body.left > 0:
        count = min(await _room(stream, request, response, pace), body.left)
        try:
            data = os.pread(body.fd, count, body.offset)
        except OSError as error:
            raise FileFailed("pread", path_of(body.fd), error) from None
        if not data:
            request.log_error(ALERT, f'"{path_of(body.fd)}" was truncated while it was sent')
            raise BodyCutShort
        count = len(data)
        body.offset += count
        body.left -= count
        if pace is not None:
            pace.used(count)
        streams.send_data(stream, data, last and body.left == 0)
        request.body_bytes += count + HEADER
        if request.reactor.is_turn_over():
            await request.reactor.turn()


async def _send_piece(
    stream: Http2Stream, request: Request, response: Response, data: bytes, last: bool, pace: Pace | None
) -> None:
    """Send a part of the body, as the client makes room for it."""
    streams = stream.streams
    at = 0
    while at < len(data):
        count = min(await _room(stream, request, response, pace), len(data) - at)
        piece = data if count == len(data) else data[at : at + count]
        at += count
        if pace is not None:
            pace.used(count)
        streams.send_data(stream, piece, last and at == len(data))
        request.body_bytes += count + HEADER


async def _room(stream: Http2Stream, request: Request, response: Response, pace: Pace | None) -> int:
    """Return how many bytes the next frame may have, when there is room for it; until then the source may read on (`absorb`)."""
    most = CHUNK.of(request.location) or _PIECE
    while True:
        room = min(stream.streams.room_of(stream), most)
        if room == 0:
            await response.body.absorb(stream, request.location.core.send_timeout)
        elif pace is None:
            return room
        else:
            room = await pace.allowance(request, room)
            if stream.streams.room_of(stream) >= room:
                return room
