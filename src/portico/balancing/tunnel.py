"""A tunnel: bytes from a client to an upstream and back, until both directions have ended.

Each direction is a task of its own. The end of one side's stream is passed on as a half-close, and the other direction goes on. The
tunnel ends when

    both directions have ended;
    the client's connection failed, or the upstream's failed so that nothing more can come from it;
    nothing has moved in either direction for `seconds`.

An upstream that takes no more may still have something to say: a failure to send to it ends only that direction.

The task that awaits `run` copies from the client; the other one belongs to the tunnel. Nothing is thrown from one into the other:
what ends the tunnel is noted, the first task is woken, and it raises what was noted where it waited.
"""

from __future__ import annotations

from typing import final

from portico.net.duplex import Duplex
from portico.net.reactor import SUSPEND, NetworkSignal, Reactor, Shutdown, Task, Timeout, UpstreamFailed
from portico.net.timers import Timed
from portico.net.transport import BODY_READ_SIZE


@final
class Tunnel(Timed):
    """The two directions, and the one deadline that they share: each byte moved in either puts it off."""

    def __init__(self, client: Duplex, upstream: Duplex, seconds: float) -> None:
        super().__init__()
        self.client = client
        self.upstream = upstream
        self.seconds = seconds
        self.from_client = 0  # bytes read from the client and passed on
        self.from_upstream = 0  # and the other way
        self._reactor: Reactor = client.reactor
        self._last_activity: float = client.reactor.now
        self._task: Task | None = None  # that of `run`, while it runs
        self._failure: NetworkSignal | None = None  # ends the tunnel
        self._upstream_ended = False  # everything that came from it has been passed on

    async def run(self, from_client: bytes, from_upstream: bytes) -> None:
        """Copy both ways, first what was received already, until both directions have ended. Leaves both ends open.

        Raises ClientFailed, UpstreamFailed; Timeout when nothing has moved for too long.
        """
        reactor = self._reactor
        self._task = reactor.current
        self._stop_waiting()  # a deadline of an earlier wait would end one of ours
        reactor.timers.set(self, reactor.now + self.seconds)
        back = Task(reactor, self._copy_back(from_upstream))
        reactor.soon(back)
        try:
            await self._copy_forth(from_client)
            while not self._upstream_ended:
                await SUSPEND
                self._check()
        finally:
            self._task = None
            reactor.timers.forget(self)
            if not back.done:
                back.throw(Shutdown())
            self._stop_waiting()

    def on_deadline(self, now: float) -> None:
        """End the tunnel if nothing has moved since the deadline was set."""
        idle_until = self._last_activity + self.seconds
        if idle_until > now:
            self._reactor.timers.set(self, idle_until)
        else:
            self._fail(Timeout())

    async def _copy_forth(self, data: bytes) -> None:
        """Copy from the client to the upstream, until the client's stream ends or the upstream takes no more."""
        try:
            await self._copy(self.client, self.upstream, data)
        except UpstreamFailed:
            self._check()

    async def _copy_back(self, data: bytes) -> None:
        """Copy from the upstream to the client, and tell the other task of the end."""
        try:
            await self._copy(self.upstream, self.client, data)
        except NetworkSignal as ended:
            self._fail(ended)
            return
        self._upstream_ended = True
        self._wake()

    async def _copy(self, source: Duplex, sink: Duplex, data: bytes) -> None:
        """Send `data`, then what comes from `source` until it ends, and pass the end on. Raises ClientFailed, UpstreamFailed."""
        reactor = self._reactor
        is_from_client = source is self.client
        while True:
            if data:
                self._last_activity = reactor.now
                if is_from_client:
                    self.from_client += len(data)
                else:
                    self.from_upstream += len(data)
                await self._send(sink, data)
                if reactor.is_turn_over():
                    await reactor.turn()
                    self._check()
            received = source.recv(BODY_READ_SIZE) if source.ready else None
            if received is None:
                data = b""
                await source.readable(0.0)
                self._check()
            elif received:
                data = received
            else:
                break
        sink.shutdown_write()

    async def _send(self, sink: Duplex, data: bytes) -> None:
        """Send all of `data`."""
        at = sink.send(data)
        while at < len(data):
            await sink.writable(0.0)
            self._check()
            sent = sink.send(data[at:])
            if sent:
                at += sent
                self._last_activity = self._reactor.now

    def _check(self) -> None:
        """Raise what ends the tunnel, if something does."""
        if self._failure is not None:
            raise self._failure

    def _fail(self, failure: NetworkSignal) -> None:
        """Have `run` raise `failure`."""
        if self._failure is None:
            self._failure = failure
        self._wake()

    def _wake(self) -> None:
        if self._task is not None:
            self._reactor.soon(self._task)

    def _stop_waiting(self) -> None:
        self.client.stop_waiting()
        self.upstream.stop_waiting()
