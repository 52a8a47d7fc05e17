"""One end of a stream of bytes in both directions, whatever carries it: a connection of its own, or a stream of a shared one.

It is what a tunnel needs of its two sides (`balancing/tunnel.py`). The rules are those of `Transport`, the first implementation: try
first; wait only for what was not there; wait for one thing at a time in each direction.
"""

from __future__ import annotations

from portico.net.reactor import Pollable, Reactor, Suspend


class Duplex(Pollable):
    """A stream socket, or what behaves as one. An end without a descriptor of its own leaves `fd` at -1."""

    def __init__(self, reactor: Reactor) -> None:
        super().__init__()
        self.reactor = reactor
        self.ready: bool = True  # there may be something to read

    def recv(self, size: int) -> bytes | None:
        """Return at most `size` bytes that are there, b"" at the end of the stream, None when there is nothing yet.

        Raises ConnectionFailed.
        """
        raise NotImplementedError

    def send(self, data: bytes) -> int:
        """Send what fits; return the number of bytes, 0 when nothing fits now. Raises ConnectionFailed."""
        raise NotImplementedError

    def readable(self, seconds: float) -> Suspend:
        """Wait until there may be something to read: `await end.readable(60.0)`. Raises Timeout, unless `seconds` is 0."""
        raise NotImplementedError

    def writable(self, seconds: float) -> Suspend:
        """Wait until more can be sent: `await end.writable(60.0)`. Raises Timeout, unless `seconds` is 0."""
        raise NotImplementedError

    def stop_waiting(self) -> None:
        """Forget who waits, and the deadline."""
        raise NotImplementedError

    def shutdown_write(self) -> None:
        """Half-close: the other side sees the end of our stream."""
        raise NotImplementedError
