"""Sending what of a request does not leave in one piece: a long one, and bodies that are in a file or still come from the client.

An upstream may respond, or close, before it has read the whole request. It will read no more then: sending ends, and the response
is read. The connection is not used for another request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.http.errors import HTTPError
from portico.net.reactor import SUSPEND, ClientTimeout, UpstreamTimeout
from portico.net.transport import READ_SIZE, SEND_PIECE
from portico.passing.failure import TIMED_OUT, TIMEOUT, AttemptFailed

if TYPE_CHECKING:
    from portico.http.body import RequestBody
    from portico.http.request import Request
    from portico.http.upstream_state import Attempt
    from portico.net.duplex import Duplex
    from portico.passing.protocol import UpstreamStream

_FILE_PIECE: Final = 65536


@final
class RequestSender:
    """Sends one request on one connection. What it waits for may raise AttemptFailed, UpstreamFailed and what clients raise."""

    def __init__(self, stream: UpstreamStream, request: Request, attempt: Attempt, seconds: float) -> None:
        self._stream = stream
        self._end: Duplex = stream.end
        self._request = request
        self._attempt = attempt
        self._seconds = seconds  # the longest pause between two sends
        self.streamed = False  # a part of a body was sent that is not stored

    async def send(self, data: bytes) -> bool:
        """Send all of `data`; return False when the upstream began to respond, or closed, before it took everything."""
        end = self._end
        at = 0
        while True:
            piece = data[at : at + SEND_PIECE]
            sent = end.send(piece)
            at += sent
            if at >= len(data):
                return True
            if sent == len(piece):
                continue
            # It may have begun while the client was waited for, or others had their turn: no event will tell that again.
            if end.ready and self._response_began():
                return False
            try:
                end.readable(0.0)
                await end.writable(self._seconds)
            except UpstreamTimeout:
                raise AttemptFailed(TIMEOUT, 504, f"{TIMED_OUT} while sending request to upstream", True) from None
            finally:
                end.stop_waiting()
            if end.ready and self._response_began():
                return False

    async def send_with(self, beginning: bytes, body: RequestBody) -> None:
        """Send the beginning of the request and then a body, until the upstream responds. What is there goes together."""
        if body.file >= 0:
            await self._send_file(beginning, body)
        else:
            await self._pass_on(beginning, body)

    async def _send_piece(self, data: bytes) -> bool:
        """Send a piece of the request; return False when no more is to be sent."""
        self._attempt.bytes_sent += len(data)
        if not await self.send(data):
            return False
        reactor = self._end.reactor
        if reactor.is_turn_over():
            await reactor.turn()
        return True

    async def _send_file(self, beginning: bytes, body: RequestBody) -> None:
        """Send a body that was read into a file, until the upstream does not want more of it."""
        piece = beginning
        offset = 0
        while offset < body.length:
            data = body.read_file(offset, min(_FILE_PIECE, body.length - offset))
            offset += len(data)
            piece += self._stream.encode_piece(data)
            if offset < body.length:
                if not await self._send_piece(piece):
                    return
                piece = b""
        await self._send_piece(piece + self._stream.encode_end())

    async def _pass_on(self, beginning: bytes, body: RequestBody) -> None:
        """Send a body as it comes from the client, until the upstream does not want more of it."""
        body.allow()
        piece = beginning
        while True:
            data = body.take()
            if data:
                self.streamed = True
                piece += self._stream.encode_piece(data)
            if body.done:
                piece += self._stream.encode_end()
            if piece:
                if not await self._send_piece(piece):
                    return
                piece = b""
            elif data is None:
                if self._end.ready and self._response_began():
                    return
                await self._wait_for_client()
            if body.done:
                return

    async def _wait_for_client(self) -> None:
        """Wait for more of the body, or for something from the upstream. Raises HTTPError 408."""
        end = self._end
        client = self._request.stream
        assert client is not None  # a request without one has no body, or one that is read
        try:
            client.body_readable(self._request.location.core.client_body_timeout)
            end.stop_waiting()  # no deadline of an earlier wait is left
            end.readable(0.0)
            await SUSPEND
        except ClientTimeout:
            raise HTTPError(408, "client timed out while its body was passed on (client_body_timeout)") from None
        finally:
            end.stop_waiting()
            client.stop_waiting()

    def _response_began(self) -> bool:
        """Return whether the upstream has begun its response, or closed, though not all was sent.

        `ready` alone does not tell: it may stem from the response before, from TLS's own messages, or from an interim response.
        """
        data = self._end.recv(READ_SIZE)
        if data is None or (data and not self._stream.has_begun(data)):
            return False
        self._stream.stop_sending()
        return True
