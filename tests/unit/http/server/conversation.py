"""A conversation with a server without a socket: what the client sends, what the server says, what state the connection is in.

    with Conversation("location / { return 200 hello; }", tmp_path) as talk:
        talk.send(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        assert talk.said().endswith(b"hello")

Only interpreted: `MemoryTransport` is a subclass of ours.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.unit.features.local_site import FEATURES, Site

from portico.http.feature import Feature
from portico.http.server.connection import Connection
from portico.http.server.http1.server import Http1Server
from portico.http.server.protocols import protocols_of
from portico.net.reactor import ERR, HUP, IN, OUT, RDHUP, ClientFailed, Reactor, Suspend
from portico.net.transport import Transport
from portico.worker.runtime import Runtime

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
    """A connection that exists in memory only. `room`: how many bytes the client takes before it is slow."""

    def __init__(self, reactor: Reactor) -> None:
        sock: Any = NoSocket()
        super().__init__(reactor, sock)
        self.ready = False
        self.incoming = b""
        self.ended = False
        self.reset_by_client = False
        self.sent = b""
        self.room = UNLIMITED
        self.half_closed = False
        self.was_reset = False

    def recv(self, size: int) -> bytes | None:
        if self.reset_by_client:
            raise ClientFailed(104, "Connection reset by peer")
        if not self.incoming and not self.ended:
            self.ready = False
            return None
        data, self.incoming = self.incoming[:size], self.incoming[size:]
        if len(data) < size and not self.peer_closed:
            self.ready = False
        return data

    def peek(self, size: int = 1) -> bytes | None:
        return self.incoming[:size] if self.incoming or self.ended else None

    def send(self, data: bytes) -> int:
        if self.reset_by_client:
            raise ClientFailed(32, "Broken pipe")
        taken = data[: self.room]
        self.sent += taken
        self.room -= len(taken)
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


class Conversation:
    """A client's side of one connection to a server with this configuration."""

    def __init__(self, text: str, directory: Path, features: Sequence[Feature] = FEATURES, http: str = "") -> None:
        self.site = Site(text, directory, features, http)
        self.reactor = self.site.reactor
        listener = self.site.plan.listeners[0]
        self.runtime = Runtime(self.reactor, listener.default.core.error_log, 100, 0)
        self.transport = MemoryTransport(self.reactor)
        self.client = listener.client(self.transport, ("192.0.2.1", 50000), 1)
        self.connection = Connection(self.runtime, protocols_of(self.reactor), self.transport, listener, self.client)
        self.failures: list[BaseException] = []
        self.reactor.on_error = self.failures.append
        self.connection.start()
        protocol = self.connection.protocol
        assert isinstance(protocol, Http1Server)
        self.protocol = protocol

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.abandon()
        self.site.close()
        assert not self.failures, self.failures

    @property
    def state(self) -> int:
        """The state of the connection (states.py)."""
        return self.protocol.state

    # -- what the client does ----------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """The client sends `data`."""
        self.transport.incoming += data
        self._event(IN)

    def half_close(self) -> None:
        """The client ends its stream."""
        self.transport.ended = True
        self._event(IN | RDHUP)

    def reset(self) -> None:
        """The client's connection breaks."""
        self.transport.reset_by_client = True
        self._event(IN | RDHUP | HUP | ERR)

    def take(self, room: int) -> None:
        """A slow client takes `room` bytes more."""
        self.transport.room = room
        self._event(OUT)

    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.reactor.now += seconds
        for _ in range(2):  # one that was set anew moves to its slot first
            self.reactor.timers.run(self.reactor.now)

    def _event(self, events: int) -> None:
        if not self.transport.closed:
            self.transport.on_event(events)
        while self.reactor._later:  # who has asked for a turn goes on
            self.reactor._later.pop(0).resume()

    # -- what the server did -----------------------------------------------------------------------------------------

    def said(self) -> bytes:
        """What the server has sent since this was asked before."""
        sent, self.transport.sent = self.transport.sent, b""
        return sent

    def statuses(self) -> list[int]:
        """The statuses of the responses in `said`, in order."""
        return [int(line[9:12]) for line in self.said().split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]

    @property
    def is_over(self) -> bool:
        """Whether the server has closed the connection."""
        return self.transport.closed
