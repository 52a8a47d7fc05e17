"""The readiness driver: coroutines resumed straight from epoll, inside an ordinary asyncio loop.

An asyncio loop asks its selector "which descriptors are ready?". Ours (`ReactorSelector`) returns only descriptors that
asyncio registered. Those that Portico owns are dispatched right there, inside `select()`, to their `Pollable`, which resumes
the coroutine that waits for it with one `send(None)`. No `asyncio.Task`, no `call_soon`, no handle object per wake-up: that is
what makes the difference to asyncio's transports (ARCHITECTURE.md has the figures), and still everything written for asyncio
runs in the same loop, on the same thread.

Rules of the house:

* A `Task` is a coroutine driven by this module. It suspends by awaiting `SUSPEND` after leaving itself with whoever will
  resume it (`transport.readable(...)` does both), or by awaiting an asyncio Future.
* Everything is registered edge-triggered, as nginx does it: an event says "something changed", the flags on the transport
  remember it, and nobody may wait before having tried.
* `Reactor.now` is the monotonic time of the last wake-up; nothing on the request path asks the clock.
"""

from __future__ import annotations

import asyncio
import select
import selectors
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, final

from portico.net.pipe import PipePool
from portico.net.resolver import Resolver
from portico.net.room import Room
from portico.net.timers import Timed, Timers

IN: Final = 0x001  # EPOLLIN
OUT: Final = 0x004  # EPOLLOUT
ERR: Final = 0x008  # EPOLLERR
HUP: Final = 0x010  # EPOLLHUP
RDHUP: Final = 0x2000  # EPOLLRDHUP
EDGE: Final = 1 << 31  # EPOLLET

TURN_SECONDS: Final = 0.004


class NetworkSignal(Exception):
    """Base of what ends a wait, or the use of a connection, otherwise than with data.

    NetworkSignal
    ├── Timeout              the deadline given to a wait has passed
    │   ├── ClientTimeout      … of a wait for a client
    │   └── UpstreamTimeout    … of a wait for a server that we connected to
    ├── ConnectionFailed     reset, or broken TLS
    │   ├── ClientFailed       … a connection that we accepted
    │   └── UpstreamFailed     … a connection that we made
    ├── ClientGone           the client closed its side while we were waiting for something else
    └── Shutdown             the worker is ending and this wait may be abandoned

    A coroutine often uses a client's connection and an upstream's in the same breath. Whose fault a failure is must not depend on
    where it is caught, so each transport raises the type of its own side.
    """


class Timeout(NetworkSignal):
    """The deadline given to a wait has passed."""


@final
class ClientTimeout(Timeout):
    """A client sent nothing, or took nothing, for too long."""


@final
class UpstreamTimeout(Timeout):
    """A server that we connected to sent nothing, or took nothing, for too long."""


class ConnectionFailed(NetworkSignal):
    """A system call on a connection, or OpenSSL, failed; `errno` and `strerror` are those of the OSError."""

    def __init__(self, errno: int, strerror: str) -> None:
        super().__init__(errno, strerror)
        self.errno = errno
        self.strerror = strerror


@final
class ClientFailed(ConnectionFailed):
    """A connection that we accepted failed."""


@final
class UpstreamFailed(ConnectionFailed):
    """A connection that we made failed."""


@final
class ClientGone(NetworkSignal):
    """The client closed the connection while its request was being worked on (nginx's 499)."""


@final
class Shutdown(NetworkSignal):
    """The worker is ending; idle waits are abandoned."""


class Pollable(Timed):
    """Anything that owns a descriptor registered with the reactor, and may have a deadline."""

    def __init__(self) -> None:
        super().__init__()
        self.fd: int = -1
        self.batch: int = 0  # the batch of events during which it was registered (`Reactor.dispatch`)
        self.idle: bool = False  # nobody uses it, but a request may acquire it: its events are dispatched before others
        self.registered: bool = False  # with epoll

    def on_event(self, events: int) -> None:
        """Serve the events of the epoll event mask; must not raise."""
        raise NotImplementedError


@final
class Suspend:
    """`await SUSPEND` gives control back to the reactor, once."""

    def __await__(self) -> Generator[None, None, None]:
        yield


SUSPEND: Final = Suspend()


@final
class Task:
    """A coroutine driven by readiness events."""

    def __init__(self, reactor: Reactor, coroutine: Coroutine[Any, Any, None]) -> None:
        self.reactor = reactor
        self.coroutine = coroutine
        self.done = False
        self.queued = False  # among those that the reactor resumes after the events of this wake-up
        self.future: asyncio.Future[Any] | None = None

    def resume(self) -> None:
        """Run the coroutine until it suspends again or ends."""
        reactor = self.reactor
        previous = reactor.current
        reactor.current = self
        self.queued = False
        try:
            awaited = self.coroutine.send(None)
            if awaited is not None:
                self._wait_for(awaited)
        except StopIteration:
            self.done = True
        except BaseException as error:
            self.done = True
            reactor.report(error)
        finally:
            reactor.current = previous

    def throw(self, error: BaseException) -> None:
        """Resume the coroutine with `error` raised where it waits."""
        reactor = self.reactor
        previous = reactor.current
        reactor.current = self
        self.queued = False
        self.future = None
        try:
            awaited = self.coroutine.throw(error)
            if awaited is not None:
                self._wait_for(awaited)
        except StopIteration:
            self.done = True
        except BaseException as failure:
            self.done = True
            if failure is not error:
                reactor.report(failure)
        finally:
            reactor.current = previous

    def _wait_for(self, future: asyncio.Future[Any]) -> None:
        """Resume when an asyncio Future that the coroutine awaited is done (the protocol of asyncio.Task)."""
        future._asyncio_future_blocking = False
        self.future = future
        future.add_done_callback(self._future_done)

    def _future_done(self, future: asyncio.Future[Any]) -> None:
        if self.future is future and not self.done:
            self.future = None
            self.resume()


@final
class Reactor:
    """Owns the epoll object, the table of descriptors, the clock and the timers of one worker."""

    def __init__(self) -> None:
        self.epoll: select.epoll = select.epoll()
        self.owned: dict[int, Pollable] = {}
        self.current: Task | None = None
        self.now: float = time.monotonic()
        self.wall_offset: float = time.time() - self.now
        self.wall_second: int = -1
        self.http_date: bytes = b""
        self.timers: Timers = Timers(self.now)
        self.pipes: PipePool = PipePool()
        self.room: Room = Room(self._connections, self.pipes)
        self.resolver: Resolver = Resolver()
        self.batch: int = 0  # number of the batch of events that is being dispatched
        self.idle: int = 0  # how many of `owned` are idle
        self.interrupted = False  # asyncio was given a callback while we dispatched: `select` must return
        self.on_error: Callable[[BaseException], None] | None = None
        self._later: list[Task] = []

    def _connections(self) -> int:
        return len(self.owned)

    # -- descriptors -------------------------------------------------------------------------------------------------

    def own(self, pollable: Pollable) -> None:
        """Count `pollable` among ours, without any events: `add` follows, unless it is closed before it ever has to wait."""
        pollable.batch = self.batch
        self.owned[pollable.fd] = pollable

    def add(self, pollable: Pollable, events: int) -> None:
        """Register `pollable.fd` for `events`, edge-triggered; a condition that already holds is reported."""
        self.own(pollable)
        pollable.registered = True
        self.epoll.register(pollable.fd, events | EDGE)

    def add_level(self, pollable: Pollable, events: int) -> None:
        """Register level-triggered: for listening sockets, which several workers share."""
        self.own(pollable)
        pollable.registered = True
        self.epoll.register(pollable.fd, events)

    def change(self, pollable: Pollable, events: int) -> None:
        """Change the events of a descriptor, if it is registered; a condition that already holds is reported again."""
        if pollable.registered:
            self.epoll.modify(pollable.fd, events | EDGE)

    def remove(self, pollable: Pollable) -> None:
        """Forget the descriptor; call before closing it."""
        if self.owned.pop(pollable.fd, None) is not None and pollable.registered:
            pollable.registered = False
            self.epoll.unregister(pollable.fd)

    def forget(self, pollable: Pollable) -> None:
        """Forget a descriptor that is closed next, which ends its registration too (nginx: NGX_CLOSE_EVENT)."""
        self.owned.pop(pollable.fd, None)

    def replace(self, pollable: Pollable) -> None:
        """Put `pollable` in the place of the one that owns its descriptor, with the same events."""
        previous = self.owned[pollable.fd]
        pollable.batch = previous.batch
        pollable.registered = previous.registered
        self.owned[pollable.fd] = pollable

    # -- tasks -------------------------------------------------------------------------------------------------------

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> Task:
        """Start `coroutine` at once; it runs until its first wait before this returns."""
        task = Task(self, coroutine)
        task.resume()
        return task

    def soon(self, task: Task) -> None:
        """Resume `task` after the events of this wake-up, unless something else resumes it before: for work that must not go on
        inside the caller.
        """
        task.queued = True
        self._later.append(task)

    def turn(self) -> Suspend:
        """Let the others have their turn, then go on: `await reactor.turn()`. For long work in short steps."""
        task = self.current
        assert task is not None
        self.soon(task)
        return SUSPEND

    def is_turn_over(self) -> bool:
        """Return whether this wake-up has lasted so long that a loop which its peer can keep busy, one that waits only when nothing
        is there, should let others go first (nginx posts such connections: ngx_post_event).
        """
        return time.monotonic() - self.now > TURN_SECONDS

    def report(self, error: BaseException) -> None:
        """Report an exception that nobody caught and that ended a task: a defect of ours. It is logged and serving goes on."""
        if self.on_error is not None:
            self.on_error(error)

    # -- time --------------------------------------------------------------------------------------------------------

    def wall(self) -> float:
        """Return the seconds since the epoch, as of the last wake-up."""
        return self.wall_offset + self.now

    def date(self) -> bytes:
        """Return the value of a Date field (RFC 9110 section 5.6.7), made once a second."""
        second = int(self.wall_offset + self.now)
        if second != self.wall_second:
            self.wall_offset = time.time() - time.monotonic()  # follow a clock that was set
            second = int(self.wall_offset + self.now)
            self.wall_second = second
            self.http_date = http_date(second)
        return self.http_date

    def dispatch(self, timeout: float) -> list[tuple[int, int]]:
        """Wait at most `timeout` seconds (negative: for ever), serve our own events, return those of asyncio."""
        if self._later:
            timeout = 0.0
        else:
            until = self.timers.next_due()
            if until >= 0.0:
                wait = until - time.monotonic()
                if wait < 0.0:
                    wait = 0.0
                if timeout < 0.0 or wait < timeout:
                    timeout = wait
        events = self.epoll.poll(timeout, 512)
        self.now = time.monotonic()
        self.batch += 1
        batch = self.batch
        others: list[tuple[int, int]] = []
        owned = self.owned
        if self.idle and len(events) > 1:
            # An idle upstream connection that has become readable is of no use any more. A request whose event stands before that
            # one in the batch must not take it, and what nobody asked for as its response.
            for event in events:
                idle = owned.get(event[0])
                if idle is not None and idle.idle:
                    idle.on_event(event[1])
        for event in events:
            pollable = owned.get(event[0])
            if pollable is None:
                others.append(event)
            elif pollable.batch != batch:
                pollable.on_event(event[1])
            # Else an earlier event of the batch closed the descriptor and somebody new got its number, who must not hear what
            # happened to the one before: if something has happened to it too, the next batch says so.
        if self.now >= self.timers.due:
            self.timers.run(self.now)
        if self._later:
            later = self._later
            self._later = []
            for task in later:
                if task.queued and not task.done:
                    task.resume()
        return others


_DAYS: Final = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")


def http_date(second: int) -> bytes:
    """Return the IMF-fixdate of RFC 9110 section 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`."""
    t = time.gmtime(second)
    return b"%s, %02d %s %04d %02d:%02d:%02d GMT" % (
        _DAYS[t.tm_wday],
        t.tm_mday,
        _MONTHS[t.tm_mon - 1],
        t.tm_year,
        t.tm_hour,
        t.tm_min,
        t.tm_sec,
    )


class LoopSelector(selectors.BaseSelector):
    """The asyncio side: keeps asyncio's registrations, lets the reactor dispatch the rest."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._batches: dict[int, int] = {}  # by descriptor: during which batch of events it was registered

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """See selectors.BaseSelector.register."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} (FD {fd}) is already registered")
        key = selectors.SelectorKey(fileobj, fd, events, data)
        self._reactor.epoll.register(fd, _epoll_events(events))
        self._keys[fd] = key
        self._batches[fd] = self._reactor.batch
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """See selectors.BaseSelector.unregister."""
        fd = self._find(fileobj)
        key = self._keys.pop(fd)
        try:
            self._reactor.epoll.unregister(fd)
        except OSError:
            pass  # closed already: the kernel forgot it by itself
        del self._batches[fd]
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """See selectors.BaseSelector.modify."""
        fd = self._find(fileobj)
        key = self._keys[fd]
        if events != key.events:
            self._reactor.epoll.modify(fd, _epoll_events(events))
        key = selectors.SelectorKey(key.fileobj, fd, events, data)
        self._keys[fd] = key
        return key

    def _find(self, fileobj: Any) -> int:
        if isinstance(fileobj, int):
            return fileobj
        try:
            return int(fileobj.fileno())
        except ValueError:  # closed: find it by identity
            for key in self._keys.values():
                if key.fileobj is fileobj:
                    return key.fd
            raise KeyError(f"{fileobj!r} is not registered") from None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Dispatch the reactor's descriptors; return asyncio's, as soon as there are any or asyncio was given something to do.

        Going back to asyncio means its interpreted `_run_once`, so that is done only then and not after each wake-up.
        """
        reactor = self._reactor
        wait = -1.0 if timeout is None else max(timeout, 0.0)
        until = time.monotonic() + wait
        reactor.interrupted = False
        found = reactor.dispatch(wait)
        while not found and not reactor.interrupted:
            if timeout is not None:
                wait = until - reactor.now
                if wait <= 0.0:
                    break
            found = reactor.dispatch(wait)
        ready: list[tuple[selectors.SelectorKey, int]] = []
        for fd, events in found:
            key = self._keys.get(fd)
            if key is None or self._batches[fd] == reactor.batch:
                continue  # closed during the batch that told of it, or its number is somebody else's since
            mask = (selectors.EVENT_WRITE if events & ~IN else 0) | (selectors.EVENT_READ if events & ~OUT else 0)
            ready.append((key, mask & key.events))
        return ready

    def close(self) -> None:
        """Close the epoll object; the reactor is dead afterwards."""
        self._reactor.epoll.close()
        self._keys.clear()

    def get_map(self) -> dict[Any, selectors.SelectorKey]:
        """Return every asyncio registration, by descriptor."""
        return dict(self._keys)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """Return the registration of `fileobj`. Raises KeyError when there is none."""
        return self._keys[self._find(fileobj)]


def _epoll_events(events: int) -> int:
    return (IN if events & selectors.EVENT_READ else 0) | (OUT if events & selectors.EVENT_WRITE else 0)


class ReactorLoop(asyncio.SelectorEventLoop):
    """An asyncio loop on a reactor: it tells the reactor when it has something to do itself."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        super().__init__(LoopSelector(reactor))

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        """See asyncio.loop.call_soon."""
        self._reactor.interrupted = True
        return super().call_soon(callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """See asyncio.loop.call_at; `call_later` comes here too."""
        self._reactor.interrupted = True
        return super().call_at(when, callback, *args, context=context)


def new_loop(reactor: Reactor) -> asyncio.SelectorEventLoop:
    """Return an asyncio loop that runs on `reactor`."""
    return ReactorLoop(reactor)
