"""Upstreams in memory: idle connections without sockets, whose far ends are told what to do, step by step.

Only interpreted: `MemoryTransport` is a subclass of ours.
"""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

from tests.unit.features.local_site import FEATURES, Site
from tests.unit.http.server.memory_stream import MemoryStream

from portico.balancing.pool import PeerConnection
from portico.features import upstream
from portico.http.body import RequestBody
from portico.http.request import Request
from portico.net.reactor import SUSPEND, Reactor, Suspend, Task, UpstreamFailed
from portico.net.transport import Transport
from portico.passing.exchange import Exchange
from portico.passing.fields import RequestFieldRules
from portico.passing.groups import groups_of
from portico.passing.http1.protocol import Http1Protocol
from portico.passing.protocol import UpstreamRequest
from portico.passing.settings import UpstreamSettings

T = TypeVar("T")


class _NoSocket:
    def fileno(self) -> int:
        return -1


class MemoryTransport(Transport):
    """The near end of a connection that has no far end. `space`: bytes that it takes before somebody makes more."""

    def __init__(self, reactor: Reactor, space: int = 1 << 30) -> None:
        super().__init__(reactor, _NoSocket(), True)  # type: ignore[arg-type]
        self.incoming: list[bytes | UpstreamFailed] = []
        self.sent = b""
        self.space = space
        self.refusal: UpstreamFailed | None = None  # what sending fails with
        self.ready = False

    # -- what the upstream does --------------------------------------------------------------------------------------

    def receive(self, *pieces: bytes | UpstreamFailed) -> None:
        """Let the upstream have sent something; b"": it has closed."""
        self.incoming.extend(pieces)
        self.ready = True
        reader, self.reader = self.reader, None
        if reader is not None:
            reader.resume()

    def make_space(self, space: int) -> None:
        self.space += space
        writer, self.writer = self.writer, None
        if writer is not None:
            writer.resume()

    # -- Transport ---------------------------------------------------------------------------------------------------

    def recv(self, size: int) -> bytes | None:
        if not self.incoming:
            self.ready = False
            return None
        piece = self.incoming.pop(0)
        if isinstance(piece, UpstreamFailed):
            raise piece
        if len(piece) > size:
            self.incoming.insert(0, piece[size:])
        if not piece:
            self.incoming.insert(0, piece)  # the end stays the end
        self.ready = len(self.incoming) > 0
        return piece[:size]

    def peek(self, size: int = 1) -> bytes | None:
        piece = self.incoming[0] if self.incoming else None
        if isinstance(piece, UpstreamFailed):
            raise piece
        return piece

    def send(self, data: bytes) -> int:
        if self.refusal is not None:
            raise self.refusal
        taken = data[: self.space]
        self.space -= len(taken)
        self.sent += taken
        return len(taken)

    def writable(self, seconds: float) -> Suspend:
        self.writer = self.reactor.current
        if seconds > 0.0:
            self.reactor.timers.set(self, self.reactor.now + seconds)
        return SUSPEND

    def close(self) -> None:
        self.closed = True
        self.reader = self.writer = self.watcher = None
        self.reactor.timers.forget(self)


class Outcome:
    """A coroutine in a task, and what became of it."""

    def __init__(self, reactor: Reactor, coroutine: Coroutine[object, object, T]) -> None:
        self.value: object = None
        self.error: BaseException | None = None
        self.reactor = reactor
        self.task: Task = reactor.spawn(self._run(coroutine))
        self.turn()

    async def _run(self, coroutine: Coroutine[object, object, T]) -> None:
        try:
            self.value = await coroutine
        except BaseException as error:
            self.error = error

    @property
    def done(self) -> bool:
        return self.task.done

    def turn(self) -> None:
        """Let it go on that waits for its turn."""
        for _ in range(3):
            self.reactor.dispatch(0.0)


class MemoryUpstreams(Site):
    """A group `app` of peers without an address, with idle connections in memory; requests to it by HTTP/1."""

    def __init__(self, directory: Path, peers: int = 2) -> None:
        listed = " ".join(f"server unix:{directory}/none{number};" for number in range(peers))
        super().__init__("", directory, (*FEATURES, upstream.FEATURE), f"upstream app {{ {listed} }}")
        self.group = groups_of(self.plan.build)["app"]
        self.settings = UpstreamSettings("proxy")
        self.settings.temp_path = str(directory)
        self.client_stream = MemoryStream(self.client)

    def connection(self, peer: int = 0, space: int = 1 << 30) -> MemoryTransport:
        """Return a connection that waits in the pool for a request to that peer."""
        transport = MemoryTransport(self.reactor, space)
        self.group.pool.release(PeerConnection(transport, self.group.balancer.peers[peer], None, b""))
        return transport

    def asked(self, method: str = "GET", body: bytes | None = None) -> UpstreamRequest:
        """Return a request for the upstream; its body is in memory."""
        request = self.request("/a", "X-Own: 1", method)
        if body is not None:
            request.body = RequestBody(request, None)
            request.body.data, request.body.length = body, len(body)
        return UpstreamRequest(request, request.method, b"/a", b"app", request.body)

    def streamed(self, *pieces: bytes | Exception, chunked: bool = True, length: int = -1) -> UpstreamRequest:
        """Return a request whose body still comes from its client."""
        self.client_stream = MemoryStream(self.client, list(pieces), ended=False)
        fields = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {length}"
        request = self.request("/a", fields, "PUT")
        request.stream = self.client_stream
        request.body = RequestBody(request, self.client_stream)
        return UpstreamRequest(request, b"PUT", b"/a", b"app", request.body)

    def exchange(self, asked: UpstreamRequest) -> Exchange:
        protocol = Http1Protocol(RequestFieldRules([], False, False), 11)
        return Exchange(asked, self.settings, protocol, self.group, None, b"")

    def run(self, exchange: Exchange) -> Outcome:
        """Begin an exchange and let it go on until it waits."""
        return Outcome(self.reactor, exchange.run(exchange.protocol.encode(exchange.asked), b""))

    def pass_time(self, seconds: float) -> None:
        self.reactor.now += seconds
        self.reactor.timers.run(self.reactor.now)

    def attempts(self, request: Request) -> list[tuple[int, int]]:
        """Return status and bytes received of each attempt."""
        return [(attempt.status, attempt.bytes_received) for attempt in request.attempts()]

    def close(self) -> None:
        self.group.stop()
        super().close()
