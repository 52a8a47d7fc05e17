"""A `ClientStream` in memory: no protocol, no bytes of one, no connection.

Only interpreted: it is a subclass of ours.
"""

from __future__ import annotations

from portico.http.response import Response
from portico.http.server.stream import ClientStream
from portico.net.duplex import Duplex
from portico.net.pipe import Pipe
from portico.net.reactor import SUSPEND, ClientGone, Suspend, Task
from portico.variables.client import Client


class MemoryStream(ClientStream):
    """A client whose body comes in `pieces` (an exception is raised), and which takes as many bytes as there is `space` for."""

    def __init__(self, client: Client, pieces: list[bytes | Exception] | None = None, ended: bool = True) -> None:
        super().__init__(client)
        self.pieces = pieces or []
        self.ended = ended  # no piece comes behind those
        self.expects = False
        self.continued = False
        self.left = False
        self.interim: list[tuple[int, list[tuple[bytes, bytes]]]] = []
        self.waiting: Task | None = None

    # -- what the client does ----------------------------------------------------------------------------------------

    def bring(self, *pieces: bytes, ended: bool = False) -> None:
        """Bring more of the body."""
        self.pieces.extend(pieces)
        self.ended = ended
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.resume()
        self.take_turns()

    def take_turns(self) -> None:
        """Let those go on who have asked for a turn, as they do on a machine that is busy."""
        while self.reactor._later:
            self.reactor._later.pop(0).resume()

    def leave(self) -> None:
        """Close the connection while the request is being worked on."""
        self.left = True
        task = self.reactor.current
        if self.is_watched and task is not None:
            task.throw(ClientGone())

    # -- ClientStream ------------------------------------------------------------------------------------------------

    def has_left(self) -> bool:
        return self.left

    def is_broken(self) -> bool:
        return self.left

    def expect_none(self) -> None:
        self.expects = False

    def allow_body(self) -> None:
        if self.expects:
            self.expects = False
            self.continued = True

    def take_body(self) -> bytes | None:
        if not self.pieces:
            return b"" if self.ended else None
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece

    def body_ended(self) -> bool:
        return self.ended and not self.pieces

    def body_readable(self, seconds: float) -> Suspend:
        self.waiting = self.reactor.current
        return SUSPEND

    def stop_waiting(self) -> None:
        self.waiting = None

    def takes_interim(self) -> bool:
        return True

    def takes_trailers(self) -> bool:
        return True

    async def send_interim(self, status: int, reason: bytes, fields: list[tuple[bytes, bytes]], seconds: float) -> None:
        self.interim.append((status, fields))

    def framing_field(self, name: bytes, response: Response) -> bytes | None:
        return None

    def room(self, seconds: float) -> Suspend:
        self.waiting = self.reactor.current
        return SUSPEND

    def waits_for_room(self) -> bool:
        return self.waiting is not None

    def send_from(self, pipe: Pipe) -> int:
        return 0

    def tunnel(self) -> tuple[Duplex, bytes]:
        raise AssertionError("there is no connection to be a tunnel")
