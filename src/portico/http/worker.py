"""One worker's life: accept, serve, drain.

Listening sockets are shared by the workers (or one for each with `reuseport`). They are registered level-triggered with
EPOLLEXCLUSIVE, so that a new connection wakes one worker, and one connection is accepted for each wake-up unless `multi_accept`
says otherwise: that spreads connections as nginx does.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401  asyncio imports these two when a name is looked up:
import encodings.idna  # noqa: F401  too late, where the worker's user may not read Python's own files
import errno
import gc
import os
import socket
import traceback
from typing import TYPE_CHECKING, Final, final

from portico.errorlog import ALERT, CRIT, ErrorLog
from portico.http.runtime import Runtime, has_arrived
from portico.http.server.connection import Connection
from portico.http.server.protocols import protocols_of
from portico.net.accepted import accepted
from portico.net.reactor import IN, Pollable, Reactor, new_loop
from portico.net.transport import Transport

if TYPE_CHECKING:
    from portico.http.build import HttpPlan
    from portico.http.plan import Listener

_EXCLUSIVE: Final = 1 << 28  # EPOLLEXCLUSIVE
_FLUSH_SECONDS: Final = 1.0

# A keepalive connection that a graceful end finds idle is closed once it has been quiet this long. Closed
# at once, as nginx does it, the request that its client is just sending would be lost.
_QUIET_SECONDS: Final = 0.2
_LOOK_SECONDS: Final = 0.02


@final
class Acceptor(Pollable):
    """A listening socket in one worker."""

    def __init__(self, runtime: Runtime, listener: Listener, sock: socket.socket, multi: bool) -> None:
        self.runtime = runtime
        self.listener = listener
        self.sock = sock
        super().__init__()
        self.fd = sock.fileno()
        self.multi = multi
        self.family = int(sock.family)
        self.inet = sock.family != socket.AF_UNIX
        self.nodelay = listener.default.core.tcp_nodelay
        self.registered = False
        self.protocols = protocols_of(runtime.reactor)

    def open(self) -> None:
        """Begin to accept."""
        self.registered = True
        self.runtime.reactor.add_level(self, IN | _EXCLUSIVE)

    def pause(self) -> None:
        """Accept nothing for now; the socket stays as it is."""
        if self.registered:
            self.registered = False
            self.runtime.reactor.remove(self)

    def on_event(self, events: int) -> None:
        while self._accept() and self.multi and not self.runtime.reactor.is_turn_over():
            pass  # the socket is registered level-triggered: what is left is reported again

    def _accept(self) -> bool:
        runtime = self.runtime
        try:
            fd, address = self.sock._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return False
        except ConnectionAbortedError:
            return True
        except OSError as error:
            return self._failed(error)
        if not runtime.reactor.room.make():
            os.close(fd)
            return True
        sock = accepted(self.family, fd)
        listener = self.listener
        peer: tuple[str, int] | None = None
        if self.inet:
            if self.nodelay:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = (address[0], address[1])
            if listener.specific:
                listener = listener.for_address(sock.getsockname()[0])
        runtime.accepted += 1
        transport = Transport(runtime.reactor, sock)
        client = listener.client(transport, peer, runtime.accepted)
        connection = Connection(runtime, self.protocols, transport, listener, client)
        transport.register()
        connection.start()
        return True

    def _failed(self, error: OSError) -> bool:
        """accept(2) has failed; return whether it is worth another try."""
        runtime = self.runtime
        text = f"accept4() failed ({error.errno}: {error.strerror})"
        if error.errno in (errno.EMFILE, errno.ENFILE):
            if runtime.reactor.room.free_some():
                return True
            runtime.log_want(CRIT, f"{text}: a client is refused; worker_rlimit_nofile may be too low")
            if runtime.spare.refuse(self.sock):
                return True
        else:
            runtime.log_want(ALERT, text)
            if error.errno not in (errno.ENOMEM, errno.ENOBUFS):
                return False
        self.pause()  # the kernel would say the same again at once
        asyncio.get_running_loop().call_later(0.5, self._again)
        return False

    def _again(self) -> None:
        if not self.runtime.draining:
            self.open()


@final
class Worker:
    """The loop of one worker and all that must happen around it."""

    def __init__(self, plan: HttpPlan | None, error_log: ErrorLog, connections: int, number: int) -> None:
        self.plan = plan
        self.reactor = Reactor()
        self.runtime = Runtime(self.reactor, error_log, connections, number)
        self.reactor.on_error = self._defect
        self.acceptors: list[Acceptor] = []
        self.loop: asyncio.SelectorEventLoop = new_loop(self.reactor)
        self.quiet: dict[Connection, float] = {}  # while draining: since when it is known to be idle

    def listen(self, listener: Listener, sock: socket.socket, multi: bool) -> None:
        """Serve one more socket."""
        sock.setblocking(False)
        self.acceptors.append(Acceptor(self.runtime, listener, sock, multi))

    def start(self) -> None:
        """Start what features run in a worker, and begin to accept."""
        asyncio.set_event_loop(self.loop)
        if self.plan is not None:
            for hook in self.plan.build.workers:
                hook.start(self.runtime)
        self.runtime.limit_connections(len(self.acceptors))
        for acceptor in self.acceptors:
            acceptor.open()
        self.loop.call_later(_FLUSH_SECONDS, self._flush)
        gc.collect()
        gc.freeze()  # the configuration lives as long as the worker: the collector need not look at it again
        gc.set_threshold(20_000, 20, 50)

    def run(self) -> None:
        """Serve until `quit` has finished or `terminate` was called."""
        try:
            self.loop.run_forever()
        finally:
            self._close()

    def quit(self, limit: float) -> None:
        """Finish what is in flight, at most `limit` seconds (0: without end)."""
        for acceptor in self.acceptors:
            acceptor.pause()
        self.runtime.draining = True
        if limit > 0.0:
            self.loop.call_later(limit, self.terminate)
        self._wait_for_end()

    def _wait_for_end(self) -> None:
        self._close_quiet()
        if not self.runtime.connections and not self.runtime.background:
            self.loop.stop()
        else:
            self.loop.call_later(_LOOK_SECONDS, self._wait_for_end)

    def _close_quiet(self) -> None:
        """Close what has been idle for a while, unless its next request has just arrived."""
        now = self.loop.time()
        self.quiet = {connection: self.quiet.get(connection, now) for connection in self.runtime.idle}
        for connection, since in self.quiet.items():
            if now - since >= _QUIET_SECONDS and not has_arrived(connection.transport.fd):
                connection.abandon()

    def terminate(self) -> None:
        """Close everything and end."""
        for acceptor in self.acceptors:
            acceptor.pause()
        self.runtime.stop()
        self.loop.stop()

    def _flush(self) -> None:
        if self.plan is not None:
            for logger in self.plan.build.loggers:
                logger.flush()
        self.loop.call_later(_FLUSH_SECONDS, self._flush)

    def _close(self) -> None:
        if self.plan is not None:
            for logger in self.plan.build.loggers:
                logger.close()
            for hook in self.plan.build.workers:
                hook.stop()
        self.runtime.close()

    def _defect(self, error: BaseException) -> None:
        """A coroutine ended with an exception that nobody expects: one line for the log, with the place."""
        frames = traceback.extract_tb(error.__traceback__)
        places = " < ".join(f"{os.path.basename(frame.filename)}:{frame.lineno}" for frame in reversed(frames[-6:]))
        self.runtime.error_log.write(ALERT, f"internal error: {type(error).__name__}: {error} at {places}")
