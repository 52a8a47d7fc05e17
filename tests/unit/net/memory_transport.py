"""A connection without a socket: the test says what arrives and how much the far end takes, and reads what was sent.

Only interpreted: `MemoryTransport` is a subclass of ours.
"""

from __future__ import annotations

import socket
from typing import Any

from portico.net.reactor import ConnectionFailed, Reactor, Suspend
from portico.net.transport import Transport

UNLIMITED = 1 << 60


class NoSocket:
    """What a transport asks of its socket besides bytes."""

    family = socket.AF_INET

    def fileno(self) -> int:
        return -1

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 80)

    def setsockopt(self, *_: object) -> None:
        pass

    def close(self) -> None:
        pass


class MemoryTransport(Transport):
    """The near end of a connection that has no far end. `space`: how many bytes it takes before it is slow."""

    def __init__(self, reactor: Reactor, upstream: bool = False, space: int = UNLIMITED) -> None:
        sock: Any = NoSocket()
        super().__init__(reactor, sock, upstream)
        self.ready = False
        self.incoming: list[bytes | ConnectionFailed] = []  # each piece is one recv(); b"" or a failure is the last
        self.sent = b""
        self.space = space
        self.refusal: ConnectionFailed | None = None  # what sending fails with
        self.half_closed = False
        self.was_reset = False

    # -- what the far end does ---------------------------------------------------------------------------------------

    def receive(self, *pieces: bytes | ConnectionFailed) -> None:
        """Let the far end have sent something; b"": it has closed. Whoever waits for it goes on."""
        self.incoming.extend(pieces)
        self.ready = True
        reader, self.reader = self.reader, None
        if reader is not None:
            reader.resume()

    def append(self, data: bytes) -> None:
        """Let `data` have arrived behind what is not read yet, as one piece with it. No event tells of it."""
        last = self.incoming[-1] if self.incoming else b""
        if isinstance(last, bytes) and last:
            self.incoming[-1] = last + data
        else:
            self.incoming.append(data)

    def make_space(self, space: int) -> None:
        """Let the far end take so many bytes more. Whoever waits for it goes on."""
        self.space += space
        writer, self.writer = self.writer, None
        if writer is not None:
            writer.resume()

    def break_off(self, receiving: ConnectionFailed, sending: ConnectionFailed) -> None:
        """Let the connection fail: what has arrived is lost. No event tells of it."""
        self.incoming = [receiving]
        self.refusal = sending

    # -- Transport ---------------------------------------------------------------------------------------------------

    def recv(self, size: int) -> bytes | None:
        if not self.incoming:
            self.ready = False
            return None
        piece = self.incoming[0]
        if isinstance(piece, ConnectionFailed):
            raise piece
        if len(piece) > size:
            self.incoming[0] = piece[size:]
        elif piece:  # the end stays the end
            del self.incoming[0]
        self.ready = len(self.incoming) > 0
        return piece[:size]

    def peek(self, size: int = 1) -> bytes | None:
        if not self.incoming:
            return None
        piece = self.incoming[0]
        if isinstance(piece, ConnectionFailed):
            raise piece
        return piece[:size]

    def send(self, data: bytes) -> int:
        if self.refusal is not None:
            raise self.refusal
        taken = data[: self.space]
        self.sent += taken
        self.space -= len(taken)
        return len(taken)

    def send_both(self, head: bytes, body: bytes) -> int:
        return self.send(head + body)

    def send_more(self, data: bytes) -> int:
        return self.send(data)

    def writable(self, seconds: float) -> Suspend:
        self.wants_out = True  # there is no descriptor to be registered for it
        return super().writable(seconds)

    def shutdown_write(self) -> None:
        self.half_closed = True

    def reset(self) -> None:
        self.was_reset = True
        self.close()
