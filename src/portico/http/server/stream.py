"""The client's side of one request and its response, whatever the protocol.

Handlers, bodies and filters see the client only through `ClientStream` and through `Client`, which has the facts of the connection.
One implementation for each protocol: `http1/stream.py`. What may wait does so in the reactor's way: try first, and await only when
there is nothing (`net/transport.py`)::

    body = stream.take_body()
    if body is None:
        await stream.body_readable(seconds)

A stream serves one request at a time. HTTP/1 has one for all requests of a connection; a protocol that multiplexes has one for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.net.reactor import ClientGone

if TYPE_CHECKING:
    from portico.http.background import BackgroundTask
    from portico.http.response import Response
    from portico.net.duplex import Duplex
    from portico.net.pipe import Pipe
    from portico.net.reactor import Reactor, Suspend
    from portico.variables.client import Client


class ClientStream:
    """What a request and its response need of the client's side."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.reactor: Reactor = client.reactor
        self.pipelined = False  # the request came before the response to the one before was sent
        self.background: list[BackgroundTask] | None = None  # what requests have begun, and may not be over
        self.is_watched = False  # the request waits for something else: it ends with ClientGone when the client leaves

    def add_background(self, task: BackgroundTask) -> None:
        """Note work that this request has begun (`mirror`)."""
        if self.background is None:
            self.background = [task]
        else:
            self.background.append(task)

    # -- the client's presence ---------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Have the request end with ClientGone when the client leaves. Raises ClientGone when it has left."""
        if self.has_left():
            raise ClientGone
        self.is_watched = True

    def unwatch(self) -> None:
        """Let the request go on when the client leaves."""
        self.is_watched = False

    def has_left(self) -> bool:
        """Whether the client will send no more, though nobody is reading from it."""
        raise NotImplementedError

    def is_broken(self) -> bool:
        """Whether nothing can be sent to the client any more. May be asked on any thread."""
        raise NotImplementedError

    # -- the request's body ------------------------------------------------------------------------------------------

    def expect_none(self) -> None:
        """Send no 100 (Continue) any more: a final response answers the client's Expect, or a body has come."""
        raise NotImplementedError

    def allow_body(self) -> None:
        """Tell a client that waits for it to send its body (RFC 9110 section 10.1.1)."""
        raise NotImplementedError

    def take_body(self) -> bytes | None:
        """Return content that is there: b"" at the end of the body, None when more must come.

        Raises ClientFailed, and HTTPError for framing that is malformed, a body that is too large, and a client that has left.
        """
        raise NotImplementedError

    def body_ended(self) -> bool:
        """Whether `take_body` has returned all of the body."""
        raise NotImplementedError

    def body_readable(self, seconds: float) -> Suspend:
        """`await stream.body_readable(60.0)`: until more of the body may be there. Raises ClientTimeout."""
        raise NotImplementedError

    def stop_waiting(self) -> None:
        """Leave `body_readable` and `room`: for a coroutine that waits for the client and for somebody else at once."""
        raise NotImplementedError

    # -- the response ------------------------------------------------------------------------------------------------

    def takes_interim(self) -> bool:
        """Whether the client understands interim responses other than 100 (Continue)."""
        raise NotImplementedError

    def takes_trailers(self) -> bool:
        """Whether a response of unknown length may end with trailers."""
        raise NotImplementedError

    def takes_trailers_behind_length(self) -> bool:
        """Whether a response of known length may, too."""
        return False

    async def send_interim(self, status: int, reason: bytes, fields: list[tuple[bytes, bytes]], seconds: float) -> None:
        """Send an interim response (1xx). Raises ClientFailed, ClientTimeout."""
        raise NotImplementedError

    def framing_field(self, name: bytes, response: Response) -> bytes | None:
        """Return the value of Connection, Keep-Alive or Transfer-Encoding as the protocol sends it; None when it does not."""
        raise NotImplementedError

    def room(self, seconds: float) -> Suspend:
        """`await stream.room(60.0)`: until the client takes more. Raises ClientTimeout."""
        raise NotImplementedError

    def waits_for_room(self) -> bool:
        """Whether the wait that `room` began has not ended."""
        raise NotImplementedError

    def send_from(self, pipe: Pipe) -> int:
        """Send what a pipe holds without copying it; bytes sent, 0 when the client takes none now. Raises ClientFailed."""
        raise NotImplementedError

    def tunnel(self) -> tuple[Duplex, bytes]:
        """After 101: return the client's end of the connection, as bytes both ways, and those that have come already."""
        raise NotImplementedError
