"""A conversation with a server without a socket: what the client sends, what the server says, what state the connection is in.

    with Conversation("location / { return 200 hello; }", tmp_path) as talk:
        talk.send(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        assert talk.said().endswith(b"hello")

Only interpreted, as is `MemoryTransport`.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

from tests.unit.features.local_site import FEATURES, Site
from tests.unit.net.memory_transport import MemoryTransport

from portico.http.feature import Feature
from portico.http.server.connection import Connection
from portico.http.server.http1.server import Http1Server
from portico.http.server.protocols import protocols_of
from portico.net.reactor import ERR, HUP, IN, OUT, RDHUP, ClientFailed
from portico.worker.runtime import Runtime


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
        self.transport.append(data)
        self._event(IN)

    def wake(self) -> None:
        """Bytes arrive that are none yet: a part of a TLS record."""
        self._event(IN)

    def half_close(self) -> None:
        """The client ends its stream."""
        self.transport.incoming.append(b"")
        self._event(IN | RDHUP)

    def reset(self) -> None:
        """The client's connection breaks."""
        self.transport.break_off(
            ClientFailed(errno.ECONNRESET, "Connection reset by peer"), ClientFailed(errno.EPIPE, "Broken pipe")
        )
        self._event(IN | RDHUP | HUP | ERR)

    def take(self, space: int) -> None:
        """A slow client takes `space` bytes more."""
        self.transport.space = space
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
