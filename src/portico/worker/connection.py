"""What a worker knows of a client's connection, whatever is spoken on it."""

from __future__ import annotations

import select
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from portico.net.reactor import Shutdown, Task
from portico.net.transport import Transport, Watcher

if TYPE_CHECKING:
    from portico.worker.runtime import Runtime


class ServedConnection(Watcher):
    """A client's connection and the coroutine that serves it: the base class of each protocol's own."""

    def __init__(self, runtime: Runtime, transport: Transport) -> None:
        self.runtime = runtime
        self.transport = transport
        self.task: Task | None = None

    def begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Have the worker count the connection, and run `coroutine` until its first wait. It must end with `end`."""
        runtime = self.runtime
        runtime.connections[self] = None
        self.transport.watcher = self
        self.task = Task(runtime.reactor, coroutine)
        self.task.resume()

    def end(self) -> None:
        """Close the connection; the worker counts it no more."""
        self.runtime.connections.pop(self, None)
        self.runtime.idle.pop(self, None)
        self.transport.close()
        self.task = None

    def drain(self) -> None:
        """Finish what has begun, and no more: the worker is to end. A connection that idles is closed by whoever calls this."""

    def abandon(self) -> None:
        """Raise Shutdown where the coroutine waits: the worker ends, or the connection is idle and gives way to another one."""
        task = self.task
        if task is not None and not task.done:
            self.transport.stop_waiting()
            task.throw(Shutdown())

    def has_input(self) -> bool:
        """Return whether there is something to read, of which perhaps no event has told yet."""
        poll = select.poll()
        poll.register(self.transport.fd, select.POLLIN)
        return bool(poll.poll(0))
