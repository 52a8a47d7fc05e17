"""Connections for the tests of balancing: ours is a Transport of a reactor, the far one a plain socket."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Coroutine

from portico.net.reactor import Reactor, Task
from portico.net.transport import Transport

RESET = b"\1\0\0\0\0\0\0\0"  # SO_LINGER: close with RST


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far = listening.accept()[0]
    return near, far


def end_of(reactor: Reactor, upstream: bool = True, unix: bool = False) -> tuple[Transport, socket.socket]:
    near, far = socket.socketpair() if unix else tcp_pair()
    near.setblocking(False)
    far.settimeout(5)
    transport = Transport(reactor, near, upstream)
    transport.register()
    return transport, far


def reset(far: socket.socket) -> None:
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    far.close()


class SocketOutcome:
    """A coroutine in a task that waits for sockets, and what became of it."""

    def __init__(self, reactor: Reactor, coroutine: Coroutine[object, object, object]) -> None:
        self.reactor = reactor
        self.value: object = None
        self.error: BaseException | None = None
        self.task: Task = reactor.spawn(self._keep(coroutine))

    async def _keep(self, coroutine: Coroutine[object, object, object]) -> None:
        try:
            self.value = await coroutine
        except BaseException as error:
            self.error = error

    def wait(self) -> SocketOutcome:
        wait_for(self.reactor, lambda: self.task.done)
        return self


def wait_for(reactor: Reactor, condition: Callable[[], object], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        reactor.dispatch(0.02)


def wait(reactor: Reactor, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        reactor.dispatch(0.01)
