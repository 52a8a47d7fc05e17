"""Upstreams in memory: idle connections without sockets, whose far ends are told what to do, step by step.

Only interpreted, as is `MemoryTransport`.
"""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

from tests.unit.features.local_site import FEATURES, Site
from tests.unit.http.server.memory_stream import MemoryStream
from tests.unit.net.memory_transport import UNLIMITED, MemoryTransport

from portico.balancing.pool import PeerConnection
from portico.features import upstream
from portico.http.body import RequestBody
from portico.http.request import Request
from portico.net.reactor import Reactor, Task
from portico.passing.exchange import Exchange
from portico.passing.fields import RequestFieldRules
from portico.passing.groups import groups_of
from portico.passing.http1.protocol import Http1Protocol
from portico.passing.protocol import UpstreamRequest
from portico.passing.settings import UpstreamSettings

T = TypeVar("T")


class MemoryOutcome:
    """A coroutine in a task that waits for nothing outside this process, and what became of it."""

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

    def connection(self, peer: int = 0, space: int = UNLIMITED) -> MemoryTransport:
        """Return a connection that waits in the pool for a request to that peer."""
        transport = MemoryTransport(self.reactor, True, space)
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

    def run(self, exchange: Exchange) -> MemoryOutcome:
        """Begin an exchange and let it go on until it waits."""
        return MemoryOutcome(self.reactor, exchange.run(exchange.protocol.encode(exchange.asked), b""))

    def pass_time(self, seconds: float) -> None:
        self.reactor.now += seconds
        self.reactor.timers.run(self.reactor.now)

    def attempts(self, request: Request) -> list[tuple[int, int]]:
        """Return status and bytes received of each attempt."""
        return [(attempt.status, attempt.bytes_received) for attempt in request.attempts()]

    def close(self) -> None:
        self.group.stop()
        super().close()
