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
    streams.check(stream)
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
    if status == 204:
        response.content_type = response.last_modified_text = b""  # as in nginx, whoever says them
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
        most = CHUNK.of(request.location) or _PIECE
        if len(content) <= streams.room_of(stream, most):
            streams.send_data(stream, content, most, last)
            request.body_bytes = len(content)
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
    data = body.take()
    while data is None or data:
        following: bytes | None = None
        if data is None:
            await body.wait()
            stream.streams.check(stream)
            following = body.take()
        else:
            delivered += len(data)
            if delivered == expected:
                following = body.take()  # its end, most likely, so that the last frame can say so
            await _send_piece(stream, request, response, data, following == b"" and not response.trailers, pace)
            if following == b"" and not response.trailers:
                return False
            if delivered != expected:
                following = body.take()
        if reactor.is_turn_over():
            await reactor.turn()
        data = following
    if 0 <= expected != delivered:
        raise BodyCutShort
    if response.trailers:
        return True
    stream.streams.send_data(stream, b"", _PIECE, True)
    return False


async def _send_file(stream: Http2Stream, request: Request, response: Response, body: FileBody, pace: Pace | None) -> None:
    """Send a file, as much at a time as can be sent, so that no more of it is in memory."""
    streams = stream.streams
    last = not response.trailers
    most = CHUNK.of(request.location) or _PIECE
    while body.left > 0:
        room = streams.room_of(stream, most)
        if room == 0 or pace is not None:
            room = await _room(stream, request, response, most, pace)
        try:
            data = os.pread(body.fd, min(room, body.left), body.offset)
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
        streams.send_data(stream, data, most, last and body.left == 0)
        request.body_bytes += count
        if request.reactor.is_turn_over():
            await request.reactor.turn()


async def _send_piece(
    stream: Http2Stream, request: Request, response: Response, data: bytes, last: bool, pace: Pace | None
) -> None:
    """Send a part of the body, as the client makes room for it."""
    streams = stream.streams
    most = CHUNK.of(request.location) or _PIECE
    at = 0
    while at < len(data):
        room = streams.room_of(stream, most)
        if room == 0 or pace is not None:
            room = await _room(stream, request, response, most, pace)
        count = min(room, len(data) - at)
        piece = data if count == len(data) else data[at : at + count]
        at += count
        if pace is not None:
            pace.used(count)
        streams.send_data(stream, piece, most, last and at == len(data))
        request.body_bytes += count


async def _room(stream: Http2Stream, request: Request, response: Response, most: int, pace: Pace | None) -> int:
    """Return how many bytes can be sent, when there is room for any; until then the source may read on (`absorb`)."""
    streams = stream.streams
    while True:
        room = streams.room_of(stream, most)
        if room == 0:
            await response.body.absorb(stream, request.location.core.send_timeout)
        elif pace is None:
            return room
        else:
            room = await pace.allowance(request, room)
            if streams.room_of(stream, most) >= room:
                return room
